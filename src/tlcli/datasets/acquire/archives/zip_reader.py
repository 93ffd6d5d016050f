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

from tlcli.datasets.acquire.archives.archive import CHUNK, Member, damaged, in_parts, malicious, unsupported
from tlcli.datasets.acquire.archives.name_encoding import encoding_note, find_encoding, unicode_path, wrong_encoding


class Zip:
    """An open zip file."""

    def __init__(self, file: BinaryIO, encoding: str | None = None) -> None:
        """Reads its directory.

        Args:
            file: the archive.
            encoding: of names that are not marked as UTF-8; None guesses it.

        Raises:
            DataError: the directory is damaged.
        """
        self._file, self._encoding, self._has_slashes = file, encoding, True
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
        if {disk, first_disk} - {0, in_zip64}:
            raise in_parts()
        if set(counts) - {len(self._zip.infolist()) % 2**16, in_zip64}:
            raise damaged("its directory has another number of members than its end declares")

    def read_names(self) -> tuple[str, ...]:
        """Finds out how names are written; returns what is not as the format has it.

        Raises:
            DataError: the names could be in several encodings, or are not in the one that was given.
        """
        infos, notes = self._zip.infolist(), []
        unmarked = [(raw, info.create_system == _WINDOWS) for info in infos if (raw := _unmarked(info)) is not None]
        if unmarked:
            names = {raw for raw, _ in unmarked}
            given = self._encoding
            self._encoding = given or find_encoding(names, on_windows=all(windows for _, windows in unmarked))
            if self._encoding != "utf-8":
                notes.append(encoding_note(self._encoding, is_guess=given is None))
        self._has_slashes = any("/" in self._decoded(info) for info in infos)
        if any("\\" in self._decoded(info) and self._separates(info) for info in infos):
            notes.append("backslashes in its names separate folders")
        return tuple(notes)

    def _separates(self, info: zipfile.ZipInfo) -> bool:
        r"""Whether ``\`` separates: other systems have it in names, but hardly in an archive without any ``/``."""
        return info.create_system == _WINDOWS or not self._has_slashes

    def _decoded(self, info: zipfile.ZipInfo) -> str:
        """A member's name as the archive has it."""
        if (raw := _unmarked(info)) is None:
            marked = info.flag_bits & _UTF8 or info.orig_filename.isascii()
            return info.orig_filename if marked else unicode_path(info.extra, _raw(info)) or info.orig_filename
        try:
            return raw.decode(self._encoding or "utf-8")
        except UnicodeDecodeError as error:
            raise wrong_encoding(raw, str(self._encoding)) from error

    def members(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Yields all members in the order of their contents, each with its content, to be read at once.

        Raises:
            DataError: the archive is damaged, or holds links, devices, members that overlap and the like.
        """
        end = 0
        for info in sorted(self._zip.infolist(), key=lambda info: info.header_offset):
            name = self._decoded(info)
            name = name.replace("\\", "/") if self._separates(info) else name
            if info.flag_bits & _ENCRYPTED:
                raise unsupported(name, "it is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & _PATCH:
                method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
                raise unsupported(name, f"it is compressed with {method}, and read are members stored or deflated")
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
_METHODS = {
    1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 98: "PPMd",
    99: "AES",
}  # fmt: skip


def _raw(info: zipfile.ZipInfo) -> bytes:
    """The bytes of a name without the mark of UTF-8, which ``zipfile`` takes for cp437."""
    return info.orig_filename.encode("cp437")


def _unmarked(info: zipfile.ZipInfo) -> bytes | None:
    """The bytes of a name whose encoding the archive does not say; None where it does, or where it does not matter."""
    if info.flag_bits & _UTF8 or info.orig_filename.isascii():
        return None
    raw = _raw(info)
    return raw if unicode_path(info.extra, raw) is None else None
