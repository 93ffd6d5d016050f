"""Good archives come out whole, whoever made them, within the limits."""

import bz2
import gzip
import hashlib
import io
import lzma
import random
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from tests.datasets.acquire.hostile_archives import (
    DEFLATE,
    LARGE,
    NOISE,
    TAR_END,
    Entry,
    Said,
    deflated,
    header,
    member,
    pax,
    record,
    tar_of,
    zip64_end,
    zip64_extra,
    zip_of,
)

from tlcli.datasets.acquire.archives.archive import DamagedError, RefusedError
from tlcli.datasets.acquire.archives.checks import UnpackLimits
from tlcli.datasets.acquire.archives.unpack import is_archive, unpack
from tlcli.errors import DataError

FILES = {"train/cat/1.txt": b"one", "train/dog/2.txt": b"two" * 1000, "README": b"", "über/ß.txt": b"three"}
Make = Callable[..., Path]
METHODS = {"stored": zipfile.ZIP_STORED, "deflate": zipfile.ZIP_DEFLATED}
FORMATS = {"PAX": tarfile.PAX_FORMAT, "GNU": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zst": zstandard.compress,
}


class Stream(io.BytesIO):
    """What zipfile takes for a pipe: sizes and check sums follow the contents."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError

    def seek(self, offset: int, whence: int = 0) -> int:
        raise OSError


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return path


def tar_bytes(files: dict[str, bytes], tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as opened:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            opened.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def make_tar(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(tar_bytes(files))
    return path


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder to unpack into."""
    target = tmp_path / "target"
    target.mkdir()
    return target


@pytest.fixture
def unpacked(tmp_path: Path, place: Path) -> Callable[[bytes], dict[str, bytes]]:
    """``unpacked(archive)``: the files that come out."""

    def unpack_bytes(archive: bytes) -> dict[str, bytes]:
        (tmp_path / "archive").write_bytes(archive)
        unpack(tmp_path / "archive", place)
        return files_below(place)

    return unpack_bytes


Unpacked = Callable[[bytes], dict[str, bytes]]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
def test_zip_comes_out_whole(unpacked: Unpacked, method: int, stream: bool) -> None:
    buffer = Stream() if stream else io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened:
        for name, data in {**FILES, "empty folder/": b""}.items():
            opened.writestr(name, data)

    assert unpacked(buffer.getvalue()) == FILES


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
def test_zip_with_large_numbers_comes_out_whole(unpacked: Unpacked, stream: bool) -> None:
    buffer = Stream() if stream else io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened, opened.open("a", "w", force_zip64=True) as file:
        file.write(b"content")

    assert unpacked(buffer.getvalue()) == {"a": b"content"}


def test_zip_with_all_numbers_in_the_large_fields_comes_out_whole(unpacked: Unpacked) -> None:
    own = Said(size=LARGE, packed=LARGE, extra=b"\x55\x54\5\0\3abcd" + zip64_extra(7, 7))
    listed = Said(size=LARGE, packed=LARGE, offset=LARGE, extra=zip64_extra(7, 7, 0))
    entry = Entry(own=own, listed=listed)
    data, line = len(entry.data()), len(entry.line(0))
    end = {"here": 2**16 - 1, "all": 2**16 - 1, "size": LARGE, "offset": LARGE}

    assert unpacked(zip_of(entry, before_end=zip64_end(1, line, data), end=end)) == {"a.txt": b"content"}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_zip_with_files_as_large_as_what_is_read_at_once_comes_out_whole(
    tmp_path: Path, place: Path, method: int
) -> None:
    files = {f"{extra}.bin": bytes(2**20 + extra) for extra in (-1, 0, 1, 5, 64, 65)} | {"noise.bin": NOISE * 4}

    unpack(make_zip(tmp_path / "archive", files, method), place)

    assert files_below(place) == files


@pytest.mark.parametrize(
    ("raw", "flags", "name"),
    [
        ("für.txt".encode(), 0x800, "für.txt"),
        ("für.txt".encode("cp437"), 0, "für.txt"),
        ("für.txt".encode(), 0, "für.txt"),  # as Linux' zip and macOS write it
        (b"ab:c*?.txt", 0, "ab:c*?.txt"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_zip_names_come_out_as_they_were(unpacked: Unpacked, raw: bytes, flags: int, name: str) -> None:
    assert unpacked(zip_of(Entry(raw, flags=flags))) == {name: b"content"}


def test_backslash_separates_in_zip_made_on_windows(unpacked: Unpacked) -> None:
    entries = Entry(b"train\\", b"", system=0), Entry("train\\für\\1.txt".encode(), system=0)

    assert unpacked(zip_of(*entries)) == {"train/für/1.txt": b"content"}


def test_backslash_of_another_system_separates_only_where_no_slash_does(unpacked: Unpacked) -> None:
    assert unpacked(zip_of(Entry(b"a\\b.txt"), Entry(b"a\\c.txt"))) == {"a/b.txt": b"content", "a/c.txt": b"content"}
    with pytest.raises(RefusedError):
        unpacked(zip_of(Entry(b"a\\b.txt"), Entry(b"a/c.txt")))


def test_second_byte_of_a_character_is_no_backslash(unpacked: Unpacked) -> None:
    entries = (Entry(f"表\\{name}.txt".encode("cp932"), system=0) for name in ("ソ", "いぬ"))

    assert unpacked(zip_of(*entries)) == {"表/ソ.txt": b"content", "表/いぬ.txt": b"content"}


def test_zip_behind_a_program_comes_out_whole(unpacked: Unpacked) -> None:
    assert unpacked(b"#!/bin/sh\nexit 1\n" + zip_of(Entry(), comment=b"a comment")) == {"a.txt": b"content"}


def test_zip_that_holds_a_zip_comes_out_whole(unpacked: Unpacked) -> None:
    inner = zip_of(Entry())

    assert unpacked(zip_of(Entry(b"inner.zip", inner), comment=b"a comment")) == {"inner.zip": inner}


@pytest.mark.parametrize(
    "entry",
    [
        Entry(own=Said(extra=b"\x75\x70\5\0\1abcd"), listed=Said(extra=b"UT\5\0\1abcd")),
        Entry(method=DEFLATE, flags=8, own=Said(crc=0, size=0, packed=0)),
        Entry(method=DEFLATE, packed=b"\x00\x07\x00\xf8\xffcontent" + deflated(b"")),
        Entry(method=DEFLATE, packed=deflated(b"content") + b"more"),
        Entry(mode=0o100644),
    ],
    ids=[
        "extra fields",
        "sizes that follow",
        "deflate in two blocks",
        "deflate and more",
        "mode",
    ],
)
def test_zip_of_other_makers_comes_out_whole(unpacked: Unpacked, entry: Entry) -> None:
    assert unpacked(zip_of(Entry(b"a/", b"", mode=0o40755), entry)) == {"a.txt": b"content"}


@pytest.mark.parametrize(
    "own",
    {
        "check sum": Said(crc=1),
        "size": Said(size=8),
        "packed size": Said(packed=6),
        "method": Said(method=DEFLATE),
        "size (zip64)": Said(size=LARGE, packed=LARGE, extra=zip64_extra(2**62, 7)),
        "packed size (zip64)": Said(size=LARGE, packed=LARGE, extra=zip64_extra(7, 2**62)),
        "size, though sizes follow the content": Said(size=8, flags=8),
        "whether sizes follow the content": Said(crc=0, size=0, packed=0),
        "encryption": Said(flags=1),
    }.values(),
)
def test_zip_whose_headers_say_something_else_is_read_as_its_directory_says(unpacked: Unpacked, own: Said) -> None:
    assert unpacked(zip_of(Entry(own=own), Entry(b"b.txt"))) == {"a.txt": b"content", "b.txt": b"content"}


def test_of_a_zip_in_the_comment_of_another_the_last_is_read(unpacked: Unpacked) -> None:
    assert unpacked(zip_of(Entry(), comment=zip_of(Entry(b"last.txt")))) == {"last.txt": b"content"}


@pytest.mark.skipif(not shutil.which("zip"), reason="Info-ZIP's zip is not there")
@pytest.mark.parametrize("options", ["-qr", "-qr -0", "-qr -fz", "-qrD", "-qr -"])
def test_zip_by_info_zip_comes_out_whole(tmp_path: Path, unpacked: Unpacked, options: str) -> None:
    for name, data in FILES.items():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(data)
    arguments = options.split() if options.endswith(" -") else [*options.split(), str(tmp_path / "made.zip")]
    done = subprocess.run(["zip", *arguments, "."], cwd=tmp_path / "source", capture_output=True, check=True)

    assert unpacked(done.stdout or (tmp_path / "made.zip").read_bytes()) == FILES


@pytest.mark.parametrize("tar_format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_tar_comes_out_whole(unpacked: Unpacked, pack: Callable[[bytes], bytes], tar_format: int) -> None:
    files = {**FILES, "./" + "long/" * 40 + "name.txt": b"four", "large.bin": NOISE}
    if tar_format == tarfile.USTAR_FORMAT:
        files = {name.replace("long/" * 40, "long/" * 20): data for name, data in files.items()}

    archive = pack(tar_bytes({"./": b"", "empty folder/": b"", **files}, tar_format))

    assert unpacked(archive) == {name.removeprefix("./"): data for name, data in files.items()}


@pytest.mark.skipif(not shutil.which("tar"), reason="tar is not there")
@pytest.mark.parametrize("options", ["-c", "-cz", "-c --format=ustar", "-c --format=pax", "-c --format=v7"])
def test_tar_by_tar_comes_out_whole(tmp_path: Path, unpacked: Unpacked, options: str) -> None:
    for name, data in FILES.items():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(data)
    done = subprocess.run(["tar", *options.split(), "."], cwd=tmp_path / "source", capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this tar cannot: {done.stderr.decode()}")

    assert unpacked(done.stdout) == FILES


CONTENT = {"a.txt": b"content"}
LONG = "folder/" * 30 + "a.txt"


@pytest.mark.parametrize(
    ("archive", "files"),
    [
        (tar_of(pax({"comment": "a commit"}, b"g"), member()), CONTENT),
        (tar_of(record(b"L", LONG.encode() + b"\0"), member()), {LONG: b"content"}),
        (tar_of(record(b"K", b"x" * 200 + b"\0"), record(b"L", LONG.encode() + b"\0"), member()), {LONG: b"content"}),
        (tar_of(pax({"path": LONG, "mtime": "1", "SCHILY.xattr.x": "=\n ="}, b"X"), member()), {LONG: b"content"}),
        (tar_of(pax({"size": "7"}), member()), CONTENT),
        (tar_of(pax({"size": "7"}), header() + b"content".ljust(512, b"\0")), CONTENT),
        (tar_of(pax({"size": "7"}) * 2, header() + b"content".ljust(512, b"\0")), CONTENT),
        (tar_of(record(b"L", LONG.encode() + b"\0"), pax({"mtime": "1.5"}), member()), {LONG: b"content"}),
        (tar_of(header("a/", b"\0"), member("a/b.txt", kind=b"\0")), {"a/b.txt": b"content"}),
        (tar_of(member(kind=tarfile.CONTTYPE)), CONTENT),
        (member() + TAR_END[:512], CONTENT),
        (tar_of(member()) + bytes(2**20), CONTENT),
        (tar_of(member("BZh9.txt", b""), member()), {"BZh9.txt": b"", **CONTENT}),
        (gzip.compress(tar_of(member())[:700]) + gzip.compress(tar_of(member())[700:]) + bytes(100), CONTENT),
        (bz2.compress(tar_of(member())[:700]) + bz2.compress(tar_of(member())[700:]), CONTENT),
        (lzma.compress(tar_of(member())[:700]) + lzma.compress(tar_of(member())[700:]), CONTENT),
        (zstandard.compress(tar_of(member())[:700]) + zstandard.compress(tar_of(member())[700:]), CONTENT),
    ],
    ids=[
        "git's global comment", "long name (GNU)", "long name and target (GNU)", "long name (Solaris)", "size twice",
        "size in attributes only", "size in two records of attributes",
        "long name and attributes", "old files and folders", "contiguous file",
        "one block at the end", "a MiB of padding", "name like a mark of bzip2", "gz in two parts",
        "bz2 in two parts", "xz in two parts", "zst in two parts",
    ],
)  # fmt: skip
def test_tar_of_other_makers_comes_out_whole(unpacked: Unpacked, archive: bytes, files: dict[str, bytes]) -> None:
    assert unpacked(archive) == files


def test_tar_that_ends_in_a_zip_is_a_tar(unpacked: Unpacked) -> None:
    files = {"a.txt": b"a", "z.zip": zip_of(Entry(b"inner.txt"))}

    assert unpacked(tar_bytes(files)) == files


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_digests_of_all_files_are_given(tmp_path: Path, place: Path, make: Make) -> None:
    digests = unpack(make(tmp_path / "archive", FILES), place)

    assert digests == {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
    assert list(digests) == list(FILES)


def test_digests_of_many_files_are_given(tmp_path: Path, place: Path) -> None:
    files = {f"{number % 7}/{number}.txt": b"%d" % number for number in range(1000)}

    digests = unpack(make_zip(tmp_path / "archive", files), place, ("3",))

    assert digests == {
        f"{number}.txt": hashlib.sha256(b"%d" % number).hexdigest() for number in range(1000) if number % 7 == 3
    }


@pytest.mark.parametrize(
    ("subdirs", "expected"),
    [
        (("train",), {"cat/1.txt", "dog/2.txt"}),
        (("not/there", "train/cat/"), {"1.txt"}),
        (("not/there", ""), set(FILES)),
        (("README", ""), set(FILES)),  # a file is no folder
    ],
)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_subdirs_take_the_first_folder_that_is_there(
    tmp_path: Path, place: Path, make: Make, subdirs: tuple[str, ...], expected: set[str]
) -> None:
    digests = unpack(make(tmp_path / "archive", FILES), place, subdirs)

    assert set(files_below(place)) == set(digests) == expected


def test_absent_subdir_is_reported_with_the_directories_that_exist(tmp_path: Path, place: Path) -> None:
    archive = make_zip(tmp_path / "archive", FILES)

    with pytest.raises(DataError) as caught:
        unpack(archive, place, ("images", "images"))
    assert caught.value.code == "data.archive_subdir_not_found"
    assert "train, über, train/cat, train/dog" in caught.value.message
    assert files_below(place) == {}


@pytest.mark.parametrize("limits", [UnpackLimits(members=3), UnpackLimits(total_bytes=3007)])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_limits_are_kept(tmp_path: Path, place: Path, make: Make, limits: UnpackLimits) -> None:
    archive = make(tmp_path / "archive", FILES)

    with pytest.raises(DataError) as caught:
        unpack(archive, place, limits=limits)
    assert caught.value.code == "data.archive_too_large"
    assert not isinstance(caught.value, RefusedError)  # other limits allow it
    assert files_below(place) == {}
    unpack(archive, place, limits=UnpackLimits(members=4, total_bytes=3008))
    assert files_below(place) == FILES


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_two_archives_fit_into_one_folder(tmp_path: Path, place: Path, make: Make) -> None:
    unpack(make(tmp_path / "one", {"train/1.txt": b"one"}), place)
    unpack(make(tmp_path / "two", {"train/2.txt": b"two", "test/1.txt": b"three"}), place)

    assert files_below(place) == {"train/1.txt": b"one", "train/2.txt": b"two", "test/1.txt": b"three"}


@pytest.mark.parametrize("name", ["a/b.txt", "a/b.txt/c.txt", "a/b.txt/c/d.txt", "a"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_file_of_another_archive_stays_as_it_is(tmp_path: Path, place: Path, make: Make, name: str) -> None:
    unpack(make(tmp_path / "one", {"a/b.txt": b"one"}), place)

    with pytest.raises(RefusedError) as caught:
        unpack(make(tmp_path / "two", {name: b"two"}), place)
    assert caught.value.code == "data.archive_unsupported"
    assert files_below(place) == {"a/b.txt": b"one"}


@pytest.mark.skipif(sys.platform != "linux", reason="other disks count characters, not bytes")
def test_name_that_is_too_long_for_the_disk_is_refused(tmp_path: Path, place: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        unpack(make_zip(tmp_path / "archive", {"a/" + "é" * 150: b"a"}), place)
    assert caught.value.code == "data.archive_unsupported"
    assert "é" * 150 in caught.value.message


def test_damage_and_malice_are_told_apart(tmp_path: Path, place: Path) -> None:
    with pytest.raises(DamagedError):
        unpack(make_archive(tmp_path, tar_of(member())[:700]), place)
    with pytest.raises(RefusedError):
        unpack(make_archive(tmp_path, tar_of(member("../a.txt"))), place)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (zip_of(Entry()), True),
        (gzip.compress(tar_of(member())), True),
        (tar_of(member("../a.txt")), True),
        (zip_of(Entry())[:-9], False),
        (gzip.compress(tar_of(member()))[:15], False),
        (b"path,label\n", False),
    ],
    ids=["zip", "tar.gz", "a malicious tar", "a cut zip", "a cut tar.gz", "a table"],
)
def test_archives_are_recognised_by_their_content(tmp_path: Path, data: bytes, expected: bool) -> None:
    assert is_archive(make_archive(tmp_path, data)) is expected


def test_nothing_is_no_archive(tmp_path: Path) -> None:
    assert not is_archive(tmp_path / "absent.zip")


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_ends_in_files_or_one_error(tmp_path: Path, seed: int) -> None:
    """Changed bytes lead to no other exception than a DataError, and to nothing outside."""
    chance = random.Random(seed)
    files = {"train/1.txt": b"one" * 99, "long/" * 40 + "2.txt": b"two", "über.txt": b"", "z/": b""}
    zipped = make_zip(tmp_path / "whole", files, chance.choice([*METHODS.values()])).read_bytes()
    for number in range(75):
        data = bytearray(zipped if number % 2 else tar_bytes(files, chance.choice([*FORMATS.values()])))
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.choice([0, 255, 0x2F, 0x2E, chance.randrange(256)])
        folder = tmp_path / str(number)
        (folder / "target").mkdir(parents=True)
        with suppress(DataError):
            unpack(make_archive(folder, bytes(data)), folder / "target")
        assert {path.name for path in folder.iterdir()} == {"archive", "target"}


def make_archive(folder: Path, data: bytes) -> Path:
    (folder / "archive").write_bytes(data)
    return folder / "archive"
