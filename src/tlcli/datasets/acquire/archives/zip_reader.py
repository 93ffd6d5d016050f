"""Zip files: ``zipfile`` reads the directory and decompresses; whether to believe them is decided here.

On its own it expands members that overlap (12 KB become 500 MB), cuts contents at their declared size, and decompresses
4 KB of bzip2 to 4 GB at once.
"""

import bz2
import copy
import re
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from tlcli.datasets.acquire.archives.archive import (
    CHUNK,
    DamageError,
    Member,
    MemberError,
    UnsupportedMemberError,
)


class Zip:
    """An open zip file; implements :class:`Archive`."""

    in_any_order = True

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise DamageError("its directory is unreadable") from error
        self._check_end()

    def _check_end(self) -> None:
        """Refuses files with several ends, of which other programs read another, and parts of a split archive."""
        length = self._file.seek(0, 2)
        self._file.seek(max(0, length - _END.size - 2**16))
        tail = self._file.read()
        marks = [match.start() for match in re.finditer(re.escape(_END_MARK), tail)]
        ends = [at for at in marks if at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail)]
        if not ends or ends != marks[-1:]:
            raise DamageError("it has two ends, or continues after its end")
        disk, first_disk, *counts = _END.unpack_from(tail, ends[0])[1:5]
        if {disk, first_disk} - {0, 2**16 - 1} or set(counts) - {len(self._zip.infolist()) % 2**16, 2**16 - 1}:
            raise DamageError("its directory has another number of members than its end declares")

    def members(self) -> Iterator[Member]:
        """See :class:`Archive`; in the order of their contents."""
        end = 0
        for info in sorted(self._zip.infolist(), key=lambda info: info.header_offset):
            name = _decoded_name(info)
            if 0 <= info.header_offset < end:
                raise MemberError(name, "it overlaps another member")
            end = self._content_offset(info, name) + info.compress_size
            if end > self._zip.start_dir:
                raise MemberError(name, "it overlaps the directory")
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise MemberError(name, "it is a link or a device")
            yield Member(name, not name.endswith("/"), info.file_size, info)

    def _content_offset(self, info: zipfile.ZipInfo, name: str) -> int:
        """Where the content begins, after the member's own header has been compared with the directory."""
        if not 0 <= info.header_offset < self._zip.start_dir:
            raise DamageError(f"the header of {name!r} is missing")
        self._file.seek(info.header_offset)
        header = self._file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_HEADER_MARK):
            raise DamageError(f"the header of {name!r} is missing")
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _HEADER.unpack(header)
        own_name, extra = self._file.read(name_length), self._file.read(extra_length)
        if (flags | info.flag_bits) & _ENCRYPTED:
            raise UnsupportedMemberError(name, "it is encrypted")
        if info.compress_type not in _METHODS or (flags | info.flag_bits) & _PATCH:
            raise UnsupportedMemberError(name, f"its compression method {info.compress_type} is not supported")
        later = (0, _IN_EXTRA) if flags & _SIZES_FOLLOW else ()
        in_extra = struct.pack("<2Q", info.file_size, info.compress_size) in extra
        for own, listed in ((crc, info.CRC), (packed, info.compress_size), (size, info.file_size)):
            if own != listed and own not in later and not (own == _IN_EXTRA and in_extra):
                raise MemberError(name, "its own header and the directory differ")
        if own_name != _raw_name(info) or method != info.compress_type:
            raise MemberError(name, "its own header and the directory differ")
        return int(info.header_offset + _HEADER.size + name_length + extra_length)

    def chunks(self, member: Member) -> Iterator[bytes]:
        """See :class:`Archive`."""
        if (info := member.info) is None:
            raise TypeError(member)
        unbounded = copy.copy(info)  # the end of the content and its checksum are compared here
        unbounded.file_size = sys.maxsize
        del unbounded.CRC
        packed = info.compress_type == zipfile.ZIP_BZIP2
        if packed:
            unbounded.compress_type = zipfile.ZIP_STORED
        at_once = _LZMA_CHUNK if info.compress_type == zipfile.ZIP_LZMA else CHUNK
        size = crc = 0
        with self._zip.open(unbounded) as opened, bz2.BZ2File(opened) if packed else opened as file:
            while size <= info.file_size and (chunk := file.read(at_once)):
                size, crc = size + len(chunk), zlib.crc32(chunk, crc)
                yield chunk
        if (size, crc) != (info.file_size, info.CRC):
            raise DamageError(f"the content of {member.name!r} has another size or checksum than declared")


_END, _END_MARK = struct.Struct("<4s4H2IH"), b"PK\x05\x06"
_HEADER, _HEADER_MARK = struct.Struct("<4s5H3I2H"), b"PK\x03\x04"
_UTF8, _SIZES_FOLLOW, _PATCH = 0x800, 0x8, 0x20
_ENCRYPTED = 0x2041  # in any of three ways
_IN_EXTRA = 2**32 - 1
"""In place of a size: it does not fit into 32 bits, and is in the extra field."""
_WINDOWS = 0
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_LZMA_CHUNK = 2**12
"""Bytes that are decompressed at once, with no limit for the result: of LZMA at most 28 MB."""


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")


def _decoded_name(info: zipfile.ZipInfo) -> str:
    r"""A member's name with ``/``.

    The tools of Linux and macOS write UTF-8 without its flag, which ``zipfile`` takes for cp437. Those of Windows may
    write ``\`` as a separator; in a name of an unknown code page it may be half of a character, and is left.
    """
    try:
        name = _raw_name(info).decode()
    except UnicodeDecodeError:
        return info.orig_filename
    return name.replace("\\", "/") if info.create_system == _WINDOWS else name
