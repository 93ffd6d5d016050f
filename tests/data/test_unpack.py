"""Good archives come out whole, within the limits."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tlcli.data.unpack import Limits, unpack
from tlcli.errors import DataError

FILES = {"train/cat/1.txt": b"one", "train/dog/2.txt": b"two" * 1000, "README": b"", "über/ß.txt": b"three"}
Make = Callable[..., Path]


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return path


def make_tar(path: Path, files: dict[str, bytes], compression: str = "", tar_format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, f"w:{compression}", format=tar_format) as opened:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            opened.addfile(info, io.BytesIO(data))
    return path


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder to unpack into."""
    target = tmp_path / "target"
    target.mkdir()
    return target


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_comes_out_whole(tmp_path: Path, place: Path, method: int) -> None:
    unpack(make_zip(tmp_path / "archive", {**FILES, "empty folder/": b""}, method), place)

    assert files_below(place) == FILES


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("compression", ["", "gz", "xz", "bz2"])
def test_tar_comes_out_whole(tmp_path: Path, place: Path, compression: str, tar_format: int) -> None:
    files = {**FILES, "./" + "long/" * 40 + "name.txt": b"four"}

    unpack(make_tar(tmp_path / "archive", {"./": b"", **files}, compression, tar_format), place)

    assert files_below(place) == {name.removeprefix("./"): data for name, data in files.items()}


def test_tar_that_ends_in_a_zip_is_a_tar(tmp_path: Path, place: Path) -> None:
    inner = make_zip(tmp_path / "archive", {"inner.txt": b"inner"}).read_bytes()

    unpack(make_tar(tmp_path / "archive", {"a.txt": b"a", "z.zip": inner}), place)

    assert files_below(place) == {"a.txt": b"a", "z.zip": inner}


@pytest.mark.parametrize(
    ("subdirs", "expected"),
    [
        (("train",), {"cat/1.txt", "dog/2.txt"}),
        (("not/there", "train/cat/"), {"1.txt"}),
        (("not/there",), set(FILES)),
        (("README",), set(FILES)),  # a file is no folder
    ],
)
def test_subdirs_take_the_first_folder_that_is_there(
    tmp_path: Path, place: Path, subdirs: tuple[str, ...], expected: set[str]
) -> None:
    unpack(make_zip(tmp_path / "archive", FILES), place, subdirs)

    assert set(files_below(place)) == expected


@pytest.mark.parametrize(("limits", "reason"), [
    (Limits(members=3), "has more than 3 members"),
    (Limits(total_bytes=3007), r"expands beyond the limits \(3,008 bytes\)"),
])  # fmt: skip
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_limits_are_kept(tmp_path: Path, place: Path, make: Make, limits: Limits, reason: str) -> None:
    archive = make(tmp_path / "archive", FILES)

    with pytest.raises(DataError, match=reason):
        unpack(archive, place, limits=limits)
    assert files_below(place) == {}
    unpack(archive, place, limits=Limits(members=4, total_bytes=3008))
    assert files_below(place) == FILES
