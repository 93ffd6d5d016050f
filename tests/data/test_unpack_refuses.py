"""Every hostile or damaged archive is refused, and nothing is written outside."""

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tlcli.data.unpack import unpack
from tlcli.errors import DataError

Write = Callable[[Path], object]


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as opened:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.filename = info.orig_filename = name  # ZipInfo would cut it at a NUL
            opened.writestr(info, data, method)
    return path


def make_tar(path: Path, files: dict[str, bytes], compression: str = "", **kind: bytes | str) -> Path:
    with tarfile.open(path, f"w:{compression}") as opened:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for field, value in kind.items():
                setattr(info, field, value)
            opened.addfile(info, io.BytesIO(data))
    return path


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder to unpack into; afterwards nothing may lie beside it but the archive."""
    target = tmp_path / "outer" / "inner" / "target"
    target.mkdir(parents=True)
    yield target
    assert {path.name for path in tmp_path.iterdir()} <= {"outer", "archive", "cache"}
    assert [path.name for path in (tmp_path / "outer").rglob("*") if target not in path.parents] == ["inner", "target"]


def zip_link(path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(info, "../../outside")


def zip_overlap(path: Path) -> None:
    """Two entries of the directory point at the same packed bytes."""
    make_zip(path, {"a.txt": bytes(5000), "b.txt": bytes(5000)})
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = bytes(4)  # its offset: that of the first
    path.write_bytes(data)


def zip_names_differ(path: Path) -> None:
    make_zip(path, {"a.txt": b"a"})
    path.write_bytes(path.read_bytes().replace(b"a.txt", b"b.txt", 1))


def zip_encrypted(path: Path) -> None:
    make_zip(path, {"a.txt": b"a"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def zip_other_content(path: Path) -> None:
    make_zip(path, {"a.txt": b"cat" * 50}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"catcat", b"cutcat", 1))


def zip_broken_stream(path: Path) -> None:
    make_zip(path, {"a.txt": bytes(range(256)) * 8})
    data = bytearray(path.read_bytes())
    data[40:60] = b"\xff" * 20
    path.write_bytes(data)


def zip_broken_name(path: Path) -> None:
    make_zip(path, {"é.txt": b"a"})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))


def tar_negative_size(path: Path) -> None:
    make_tar(path, {"a.txt": b"a"}, pax_headers={"size": "-512"})  # type: ignore[arg-type]


def tar_endless_header(path: Path) -> None:
    """A record of extended attributes that says it is 8 GB long would be read into memory."""
    info = tarfile.TarInfo("a.txt")
    info.type, info.size = tarfile.XHDTYPE, 8 * 2**30 - 1
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(10240))


def tar_broken_header(path: Path) -> None:
    make_tar(path, {"a.txt": b"a", "b.txt": b"b"})
    data = bytearray(path.read_bytes())
    data[1024 + 10] ^= 1  # the name of the second member
    path.write_bytes(data)


def tar_without_end(path: Path) -> None:
    make_tar(path, {"a.txt": b"a", "b.txt": b"b"})
    path.write_bytes(path.read_bytes()[:1024])


def tar_gz_checksum(path: Path) -> None:
    make_tar(path, {"a.txt": bytes(1000)}, "gz")
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)


def cut(make: Callable[..., Path], *options: object) -> Write:
    def write(path: Path) -> None:
        data = make(path, {"a.txt": bytes(range(256)) * 400, "b.txt": b"b"}, *options).read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])

    return write


def with_names(make: Callable[..., Path], *names: str) -> Write:
    return lambda path: make(path, {"ok.txt": b"ok", **dict.fromkeys(names, b"bad")})


def tar_of(kind: bytes, linkname: str = "") -> Write:
    return lambda path: make_tar(path, {"member": b""}, type=kind, linkname=linkname)


HOSTILE_NAMES = {
    "absolute": (("/tmp/evil.txt",), "leads outside"),
    "parent": (("../evil.txt",), "leads outside"),
    "parent within": (("a/../../evil.txt",), "leads outside"),
    "backslash": (("..\\evil.txt",), "NUL or a backslash"),
    "drive": (("C:/evil.txt",), "leads outside"),
    "drive, relative": (("C:evil.txt",), "leads outside"),
    "no name": ((".",), "has no name"),
    "equal": (("A.txt", "a.TXT"), "another member has the same name"),
    "equal after NFC": (("\u00e9.txt", "e\u0301.txt"), "another member has the same name"),
    "equal after casefold": (("stra\u00dfe.txt", "STRASSE.txt"), "another member has the same name"),
    "file as folder": (("a", "a/b.txt"), "others lie below it"),
    "OK.txt as folder": (("OK.txt/b.txt",), "others lie below it"),
}


@pytest.mark.parametrize(("names", "reason"), HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_hostile_name_refuses_the_whole_archive(
    tmp_path: Path, place: Path, make: Callable[..., Path], names: tuple[str, ...], reason: str
) -> None:
    with_names(make, *names)(tmp_path / "archive")

    with pytest.raises(DataError, match=f"is refused, nothing was unpacked: member .*{reason}"):
        unpack(tmp_path / "archive", place)
    assert files_below(place) == {}


def test_name_cut_at_a_nul_is_refused(tmp_path: Path, place: Path) -> None:
    with pytest.raises(DataError, match=r"member 'a\.png\\x00\.exe': its name has a NUL"):
        unpack(make_zip(tmp_path / "archive", {"a.png\0.exe": b"a"}), place)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (zip_link, "member 'link': it is a link or a device"),
        (tar_of(tarfile.SYMTYPE, "../../outside"), "it is a link or a device"),
        (tar_of(tarfile.LNKTYPE, "ok.txt"), "it is a link or a device"),
        (tar_of(tarfile.CHRTYPE), "it is a link or a device"),
        (tar_of(tarfile.BLKTYPE), "it is a link or a device"),
        (tar_of(tarfile.FIFOTYPE), "it is a link or a device"),
        (zip_overlap, "member 'b.txt': it overlaps another member"),
        (zip_names_differ, "damaged: File name in directory 'a.txt' and header b'b.txt' differ"),
        (zip_encrypted, "cannot be read: .*encrypted"),
        (zip_other_content, "damaged: Bad CRC-32"),
        (zip_broken_stream, "damaged: "),
        (zip_broken_name, "damaged: .*decode"),
        (tar_negative_size, "member 'a.txt': its size is negative"),
        (tar_endless_header, "damaged: a header says 8,589,934,591 bytes"),
        (tar_broken_header, "damaged: its end is missing"),
        (tar_without_end, "damaged: its end is missing"),
        (tar_gz_checksum, "damaged: CRC check failed"),
        (cut(make_zip), "neither a zip nor a tar archive"),
        (cut(make_tar), "damaged: unexpected end of data"),
        (cut(make_tar, "gz"), "damaged: .*end-of-stream"),
        (cut(make_tar, "xz"), "damaged: .*end-of-stream"),
        (cut(make_tar, "bz2"), "damaged: .*end-of-stream|neither"),
        (lambda path: path.write_text("no archive"), "neither a zip nor a tar archive"),
        (lambda path: path.write_bytes(b""), "neither a zip nor a tar archive"),
        (lambda path: None, "There is no archive"),
    ],
)  # fmt: skip
def test_hostile_or_damaged_archive_is_refused(tmp_path: Path, place: Path, write: Write, reason: str) -> None:
    write(tmp_path / "archive")

    with pytest.raises(DataError, match=reason):
        unpack(tmp_path / "archive", place)


@pytest.mark.parametrize(("make", "options"), [(make_zip, ()), (make_tar, ("gz",)), (make_tar, ("xz",))])
def test_bomb_is_refused_before_anything_is_written(
    tmp_path: Path, place: Path, make: Callable[..., Path], options: tuple[str, ...]
) -> None:
    archive = make(tmp_path / "archive", {"zeros": bytes(2**26 + 1)}, *options)
    assert archive.stat().st_size < 2**17

    with pytest.raises(DataError, match=r"expands beyond the limits \(67,108,865 bytes\)"):
        unpack(archive, place)
    assert files_below(place) == {}


def test_member_larger_than_declared_is_cut_and_refused(tmp_path: Path, place: Path) -> None:
    archive = make_zip(tmp_path / "archive", {"zeros": bytes(10_000)})
    data = bytearray(archive.read_bytes())
    directory = data.rindex(b"PK\x01\x02")
    for offset in (22, directory + 24):  # the unpacked size in the local header and in the directory
        data[offset : offset + 4] = struct.pack("<I", 10)
    archive.write_bytes(data)

    with pytest.raises(DataError, match="damaged: Bad CRC-32"):  # zipfile stops at what was declared
        unpack(archive, place)
    assert sum(map(len, files_below(place).values())) <= 10
