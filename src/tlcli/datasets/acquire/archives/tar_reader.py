"""Tar files, read without believing them.

``tarfile`` parses header blocks, and nothing else of it is used. That of Python 3.11.7 can be led outside, calls itself
for every record before a header (a few thousand end in a RecursionError), searches records for hours (CVE-2024-6232),
and keeps global fields once for each member.
"""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, cast

from tlcli.datasets.acquire.archives.archive import CHUNK, BrokenError, HostileError, Member
from tlcli.datasets.acquire.archives.unpackers import unpacking


class Tar:
    """A tar file, packed or not; read from its beginning to its end, once for the members and once for contents."""

    in_any_order = False

    def __init__(self, path: Path) -> None:
        self._path = path

    def members(self) -> Generator[Member, None, None]:
        """See :class:`Archive`; one by one, since a member must be looked at before its content is passed over."""
        with _tar_blocks(self._path) as file:
            yield from _tar_members(file)

    def contents(self, members: Sequence[Member]) -> Generator[tuple[Member, Iterator[bytes]], None, None]:
        """See :class:`Archive`."""
        wanted = {member.name: member for member in members}
        with _tar_blocks(self._path) as file:
            for member in _tar_members(file):
                if member.name not in wanted:
                    continue
                if member != wanted[member.name]:
                    raise BrokenError(f"{member.name!r} changed while it was read")
                yield member, _tar_content(member, file)


_BAD_PACKING = "its packed bytes are broken, or end too early"
_BLOCK = 512
_ZEROS = bytes(_BLOCK)


@contextmanager
def _tar_blocks(path: Path) -> Iterator[IO[bytes]]:
    """The file, unpacked if it is packed: a tar whose first name looks like a mark of a packed file is not."""
    with path.open("rb") as file, unpacking(_BAD_PACKING):
        first = file.read(_BLOCK)
        file.seek(0)
        packed = None if _is_tar_block(first) else next((p for p in _PACKED if first.startswith(p)), None)
        if packed is None:
            yield file
        else:
            with _PACKED[packed](file) as unpacked:
                yield unpacked


def _zstd(file: IO[bytes]) -> IO[bytes]:
    import zstandard  # noqa: PLC0415 - few archives are of this kind, which Python itself reads from 3.14 on

    # 128 MiB: the largest window that the format's own tool opens without being told to.
    return zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file, read_across_frames=True)


_PACKED: dict[bytes, Callable[[IO[bytes]], AbstractContextManager[IO[bytes]]]] = {
    b"\x1f\x8b": lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file)),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"\x5d\0\0": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": _zstd,
}


def is_tar(path: Path) -> bool:
    """Whether a file begins as a tar does, once it is unpacked."""
    with _tar_blocks(path) as file:
        return _is_tar_block(file.read(_BLOCK))


def _is_tar_block(block: bytes) -> bool:
    return block == _ZEROS or _parsed(block) is not None


def _parsed(block: bytes) -> tarfile.TarInfo | None:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None


def _tar_members(file: IO[bytes]) -> Iterator[Member]:
    """All members; what of a content is not read before the next member is asked for is passed over."""
    spare = _SPARE
    while True:
        told: dict[str, bytes] = {}
        header = _next_header(file)
        while header and header.type in _RECORDS:
            spare -= _BLOCK + header.size
            if not 0 <= header.size <= CHUNK:
                raise BrokenError(f"a member's names and attributes are {header.size:,} bytes")
            if spare < 0:
                raise BrokenError("its names and attributes have no end")
            fields = _RECORDS[header.type](_record(file, header.size))
            if told.keys() & fields.keys():
                raise HostileError(header.name, "it has two names or sizes")
            told |= fields
            header = _next_header(file)
        if header is None:
            break
        member = _tar_member(header, told)
        end = file.tell() + member.size + -member.size % _BLOCK
        yield member
        if file.tell() < end:
            file.seek(end - 1)
            if not file.read(1):
                raise BrokenError(f"the content of {member.name!r} ends too early")
        spare += _SPARE_A_MEMBER
    if told:
        raise BrokenError("its last member is missing")
    _check_tar_end(file)


_SPARE, _SPARE_A_MEMBER = 2**24, 2**12
"""Bytes that long names and attributes may take, which are no member's and so in no limit: 1 MB could become GBs."""


def _next_header(file: IO[bytes]) -> tarfile.TarInfo | None:
    """The next header, or nothing at the end."""
    block = file.read(_BLOCK)
    if block == _ZEROS:
        return None
    if len(block) < _BLOCK:
        raise BrokenError("its end is missing")
    if not (header := _parsed(block)):
        raise BrokenError("a header is broken")
    return header


def _record(file: IO[bytes], size: int) -> bytes:
    record = file.read(size + -size % _BLOCK)
    if len(record) < size:
        raise BrokenError("its end is missing")
    return record[:size]


def _pax_fields(record: bytes) -> dict[str, bytes]:
    """Those of the fields that matter here: the member's path and size, and whether it has holes."""
    fields = {}
    at = 0
    while at < len(record) and record[at]:
        blank = record.find(b" ", at, at + 9)
        digits = record[at:blank]
        end = at + int(digits) if blank > 0 and digits.isdigit() else 0
        keyword, equals, value = record[blank + 1 : end - 1].partition(b"=")
        if not (keyword and equals) or record[end - 1 : end] != b"\n":
            raise BrokenError("a header's attributes are broken")
        if keyword in (b"path", b"size"):
            fields[keyword.decode()] = value
        elif keyword.startswith(b"GNU.sparse."):
            fields["holes"] = value
        at = end
    return fields


def _global_fields(record: bytes) -> dict[str, bytes]:
    """Nothing; a path or a size for all members would be none."""
    if fields := _pax_fields(record):
        raise HostileError("pax_global_header", f"it sets the {' and '.join(fields)} of all members")
    return {}


_RECORDS: dict[bytes, Callable[[bytes], dict[str, bytes]]] = {
    tarfile.XHDTYPE: _pax_fields,
    tarfile.SOLARIS_XHDTYPE: _pax_fields,
    tarfile.XGLTYPE: _global_fields,
    tarfile.GNUTYPE_LONGNAME: lambda record: {"path": record.partition(b"\0")[0]},
    tarfile.GNUTYPE_LONGLINK: lambda _: {},
}
"""What stands before a member's header, and what it tells of the member."""


def _tar_member(header: tarfile.TarInfo, told: dict[str, bytes]) -> Member:
    name = told["path"].decode("utf-8", "surrogateescape") if "path" in told else header.name
    if "holes" in told or header.type == tarfile.GNUTYPE_SPARSE:
        raise HostileError(name, "it is a file with holes")
    if header.issym() or header.islnk() or header.isdev():
        raise HostileError(name, "it is a link or a device")
    if header.isdir():
        return Member(name, False, 0)
    if not header.isreg():
        raise HostileError(name, f"it is of an unknown kind ({header.type.decode('latin-1')!r})")
    size = _told_size(name, header.size, told["size"]) if "size" in told else header.size
    if size < 0:
        raise HostileError(name, "its size is negative")
    is_file = not name.endswith("/")
    if size and not is_file:
        raise HostileError(name, "it is a folder with content")
    return Member(name, is_file, size)


def _told_size(name: str, own: int, told: bytes) -> int:
    """The size that stands before a header, where it is for what the header has no room for: 8 GiB and more."""
    if not told.removeprefix(b"-").isdigit() or len(told) > 20:
        raise BrokenError(f"the size of {name!r} is no number")
    size = int(told)
    if 0 <= size < 2**33 and own not in (0, size):
        raise HostileError(name, "it has two sizes")
    return size


def _tar_content(member: Member, file: IO[bytes]) -> Iterator[bytes]:
    left = member.size
    while left:
        with unpacking(_BAD_PACKING):
            chunk = file.read(min(left, CHUNK))
        if not chunk:
            raise BrokenError(f"the content of {member.name!r} ends too early")
        left -= len(chunk)
        yield chunk


def _check_tar_end(file: IO[bytes]) -> None:
    """Only padding may follow, 64 MiB at most; the check sum of a packed archive is compared at the very end."""
    for _ in range(64):
        chunk = file.read(CHUNK)
        if not chunk:
            return
        if chunk.count(0) != len(chunk):
            break
    raise BrokenError("it goes on after its end")
