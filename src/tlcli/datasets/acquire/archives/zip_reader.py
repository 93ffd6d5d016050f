"""Zip files, read without believing them.

``zipfile`` reads the directory, and nothing else of it is used: it expands overlapping members without limit, and bzip2
and LZMA a whole MiB of packed bytes at once.
"""

import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import IO

from tlcli.datasets.acquire.archives.archive import CHUNK, BrokenError, HostileError, Member
from tlcli.datasets.acquire.archives.unpackers import UNPACKERS, unpacking


class Zip:
    """A zip file. Its parts may be read by several threads at once."""

    in_any_order = True

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with zipfile.ZipFile(path) as opened_zip:
                self._infos, self._end = opened_zip.infolist(), opened_zip.start_dir
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise BrokenError("its directory cannot be read") from error
        with path.open("rb") as file:
            _check_end_record(file, len(self._infos), self._end)
        self._begins: dict[int, int] = {}  # where a member's packed bytes begin, by the place of its header

    def members(self) -> Generator[Member, None, None]:
        """See :class:`Archive`. Members that share packed bytes are a bomb: 12 KB become 500 MB."""
        end, last = 0, ""
        with self._path.open("rb", buffering=0) as file:
            for info in sorted(self._infos, key=lambda info: info.header_offset):
                if not 0 <= info.header_offset < self._end:
                    raise BrokenError(f"the header of {info.orig_filename!r} is missing")
                if info.header_offset < end:
                    raise HostileError(info.orig_filename, "it overlaps another member")
                begin = _checked_header(info, file)
                end, last = begin + info.compress_size, info.orig_filename
                self._begins[info.header_offset] = begin
        if end > self._end:
            raise HostileError(last, "it overlaps the directory")
        for info in self._infos:
            name = _zip_name(info)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise HostileError(name, "it is a link or a device")
            is_file = not name.endswith("/")
            if info.file_size and not is_file:
                raise HostileError(name, "it is a folder with content")
            yield Member(name, is_file, info.file_size, info)

    def contents(self, members: Sequence[Member]) -> Generator[tuple[Member, Iterator[bytes]], None, None]:
        """See :class:`Archive`."""
        with self._path.open("rb", buffering=0) as file:
            for member in members:
                if member.source is None:
                    raise TypeError(member)
                file.seek(self._begins[member.source.header_offset])
                unpacked = _stored if member.source.compress_type == zipfile.ZIP_STORED else _unpacked
                yield member, _compared(member.source, unpacked(member.source, file))


def is_zip(path: Path) -> bool:
    """Whether a file ends as a zip does; it can have other data in front."""
    with path.open("rb") as file:
        return bool(_end_records(file)[1])


_END_RECORD = struct.Struct("<4x4H2IH")
_ZIP64_SHORT, _ZIP64_LONG = 2**16 - 1, 2**32 - 1
"""Numbers that say: the true one is elsewhere."""


def _end_records(file: IO[bytes]) -> tuple[bytes, list[int]]:
    """The part of a file where a zip's end record can be, and the places in it of all that look like one."""
    length = file.seek(0, 2)
    file.seek(max(0, length - _END_RECORD.size - 2**16))
    tail = file.read()
    places = []
    at = tail.find(b"PK\x05\x06")
    while 0 <= at <= len(tail) - _END_RECORD.size:
        places.append(at)
        at = tail.find(b"PK\x05\x06", at + 1)
    return tail, places


def _check_end_record(file: IO[bytes], entries: int, directory: int) -> None:
    """Compares the record at a zip's end, of which zipfile believes the last thing that looks like one.

    Args:
        file: the zip.
        entries: how many the directory has.
        directory: where it begins.

    Raises:
        BrokenError: other readers would see another archive.
    """
    tail, places = _end_records(file)
    ends = {at: at + _END_RECORD.size + _END_RECORD.unpack_from(tail, at)[-1] for at in places}
    fitting = [at for at in places if ends[at] == len(tail)]
    if len(fitting) > 1:
        raise BrokenError("it has two ends")
    if not fitting or fitting != places[-1:]:
        raise BrokenError("it goes on after its end")
    at = fitting[0]
    disk, first_disk, here, everywhere, size, _, _ = _END_RECORD.unpack_from(tail, at)
    if {disk, first_disk} - {0, _ZIP64_SHORT} or here != everywhere:
        raise BrokenError("it is one part of several")
    if everywhere not in (entries % 2**16, _ZIP64_SHORT):
        raise BrokenError(f"it has {entries:,} members where its end says {everywhere:,}")
    zip64 = 76 if tail[max(0, at - 20) : at].startswith(b"PK\x06\x07") else 0
    if size not in (file.tell() - len(tail) + at - zip64 - directory, _ZIP64_LONG):
        raise BrokenError("it has two directories")


def _zip_name(info: zipfile.ZipInfo) -> str:
    """A member's name: Linux' and macOS' own tools write UTF-8 without saying so, which zipfile takes for cp437.

    It also cuts names at a NUL byte and turns the system's separator into "/", but for ``orig_filename``.
    """
    try:
        return _raw_name(info).decode()
    except UnicodeDecodeError:
        return info.orig_filename


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")


_UTF8 = 0x800
_ENCRYPTED = 0x2041  # in any of three ways
_PATCH = 0x20


def _checked_header(info: zipfile.ZipInfo, file: IO[bytes]) -> int:
    """Where the packed bytes begin, after the member's own header has been found to say what the directory says.

    Raises:
        HostileError, BrokenError: it does not, or cannot be read here.
    """
    file.seek(info.header_offset)
    head = file.read(30)
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise BrokenError(f"the header of {info.orig_filename!r} is missing")
    _, flags, method, _, crc, packed, size, name_length, extra_length = struct.unpack("<HHHIIIIHH", head[4:])
    if (flags | info.flag_bits) & _ENCRYPTED:
        raise HostileError(info.orig_filename, "it is encrypted; unpack the archive yourself, and give its folder")
    name, extra = file.read(name_length), file.read(extra_length)
    if name != _raw_name(info):
        raise HostileError(info.orig_filename, f"its own header calls it {name.decode('utf-8', 'replace')!r}")
    size, packed = _zip64_sizes(extra, size, packed)
    later = flags & 8  # sizes and check sum follow the bytes; they are in the directory
    told = [(crc, info.CRC), (packed, info.compress_size), (size, info.file_size)]
    if method != info.compress_type or any(
        own != listed and not (later and own in (0, _ZIP64_LONG)) for own, listed in told
    ):
        raise HostileError(info.orig_filename, "its own header and the archive's directory differ")
    if method not in (zipfile.ZIP_STORED, *UNPACKERS) or (flags | info.flag_bits) & _PATCH:
        raise HostileError(info.orig_filename, f"it is packed in a way that is not read here (number {method})")
    return int(info.header_offset + 30 + name_length + extra_length)


def _zip64_sizes(extra: bytes, size: int, packed: int) -> tuple[int, int]:
    """The sizes; those that do not fit into a header's 32 bits are in its extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1 and length >= 8:
            larger = struct.unpack_from(f"<{min(length // 8, 2)}Q", extra, at + 4)
            return larger[0] if size == _ZIP64_LONG else size, larger[-1] if packed == _ZIP64_LONG else packed
        at += 4 + length
    return size, packed


def _stored(info: zipfile.ZipInfo, file: IO[bytes]) -> Iterator[bytes]:
    left = info.compress_size
    while chunk := file.read(min(left, CHUNK)):
        left -= len(chunk)
        yield chunk


def _unpacked(info: zipfile.ZipInfo, file: IO[bytes]) -> Iterator[bytes]:
    """A member's content in pieces of at most a MiB: zipfile takes a third longer, and memory for a bomb."""
    end = file.tell() + info.compress_size
    with unpacking(f"the content of {info.orig_filename!r} is broken"):
        unpacker = UNPACKERS[info.compress_type](info, file)
        left = end - file.tell()
        while not unpacker.eof and left >= 0:
            packed = file.read(min(left, CHUNK)) if unpacker.needs_input else b""
            left -= len(packed)
            chunk = unpacker.decompress(packed, CHUNK)
            if not (packed or chunk):
                break  # LZMA needs no mark at its end; whether all is there, the size tells
            yield chunk
    if left or unpacker.unused_data:
        raise BrokenError(f"the content of {info.orig_filename!r} goes on after its end")


def _compared(info: zipfile.ZipInfo, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks; size and check sum must be those of the directory."""
    size = crc = 0
    for chunk in chunks:
        size += len(chunk)
        if size > info.file_size:
            raise BrokenError(f"{info.orig_filename!r} is larger than it says")
        crc = zlib.crc32(chunk, crc)
        yield chunk
    if size != info.file_size:
        raise BrokenError(f"{info.orig_filename!r} is smaller than it says")
    if crc != info.CRC:
        raise BrokenError(f"the check sum of {info.orig_filename!r} is wrong")
