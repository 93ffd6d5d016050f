"""Zip files: ``zipfile`` reads the directory, decompresses and compares checksums; what it believes is checked here.

On its own it expands members that overlap (12 KB become 500 MB), cuts contents at their declared size, and decompresses
4 KB of bzip2 to 4 GB at once, so that only contents that are stored or deflated are read.
"""

import copy
import stat
import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from tlcli.datasets.acquire.archives.archive import CHUNK, Member, damaged, malicious, unsupported


class Zip:
    """An open zip file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise damaged("its directory is unreadable") from error
        self._check_end()

    def _check_end(self) -> None:
        """Refuses files that continue after their end, parts of a split archive, and incomplete directories."""
        self._file.seek(-_END.size - len(self._zip.comment), 2)
        mark, disk, first_disk, *counts = _END.unpack(self._file.read(_END.size))
        if mark != b"PK\x05\x06":
            raise damaged("it continues after its end")
        in_zip64 = 2**16 - 1
        if {disk, first_disk} - {0, in_zip64} or set(counts) - {len(self._zip.infolist()) % 2**16, in_zip64}:
            raise damaged("its directory has another number of members than its end declares")

    def members(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Yields all members in the order of their contents, each with its content, to be read at once.

        Raises:
            DataError: the archive is damaged, or holds links, devices, members that overlap and the like.
        """
        end = 0
        for info in sorted(self._zip.infolist(), key=lambda info: info.header_offset):
            name = _decoded_name(info)
            if info.flag_bits & _ENCRYPTED:
                raise unsupported(name, "it is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & _PATCH:
                raise unsupported(name, f"its compression method {info.compress_type} is not supported")
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise malicious(name, "it is a link or a device")
            if 0 <= info.header_offset < end:
                raise malicious(name, "it overlaps another member")
            end = self._content_offset(info, name) + info.compress_size
            if end > self._zip.start_dir:
                raise malicious(name, "it overlaps the directory")
            yield Member(name, not name.endswith("/"), info.file_size), self._chunks(info)

    def _content_offset(self, info: zipfile.ZipInfo, name: str) -> int:
        """Where the content begins: after the member's own header, of which only the directory's place is known."""
        if 0 <= info.header_offset < self._zip.start_dir:
            self._file.seek(info.header_offset)
            header = self._file.read(_HEADER.size)
            if header.startswith(b"PK\x03\x04"):
                _, name_length, extra_length = _HEADER.unpack(header)
                return int(info.header_offset + _HEADER.size + name_length + extra_length)
        raise damaged(f"the header of {name!r} is missing")

    def _chunks(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        one_more = copy.copy(info)
        one_more.file_size += 1  # a byte too many makes the checksum differ; else it would be cut off
        with self._zip.open(one_more) as file:
            while chunk := file.read(CHUNK):
                yield chunk


_END, _HEADER = struct.Struct("<4s4H10x"), struct.Struct("<4s22x2H")
_PATCH = 0x20
_ENCRYPTED = 0x2041  # in any of three ways
_UTF8 = 0x800
_WINDOWS = 0


def _decoded_name(info: zipfile.ZipInfo) -> str:
    r"""A member's name with ``/``.

    The tools of Linux and macOS write UTF-8 without its flag, which ``zipfile`` takes for cp437. Those of Windows may
    write ``\`` as a separator; in a name of an unknown code page it may be half of a character, and is left.
    """
    try:
        name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437").decode()
    except UnicodeDecodeError:
        return info.orig_filename
    return name.replace("\\", "/") if info.create_system == _WINDOWS else name
