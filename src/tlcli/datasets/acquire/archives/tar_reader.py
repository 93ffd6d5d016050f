"""Tar files: ``tarfile`` reads headers that have been checked before it sees them; contents are streamed here.

On its own ``tarfile`` of Python 3.11.7 recurses for every record in front of a header, reads a record of any size at
once, needs hours for one of many digits (CVE-2024-6232), and takes a broken header for the end. Its ``extractall`` can
be led outside, also with the data filter (CVE-2025-4517), so it is not used: no link passes here.
"""

import bz2
import gzip
import lzma
import re
import tarfile
from collections.abc import Callable, Iterator
from typing import IO, BinaryIO, cast

from tlcli.datasets.acquire.archives.archive import CHUNK, Member, damaged, malicious

_BLOCK = 512
_ZEROS = bytes(_BLOCK)


def is_tar(file: BinaryIO) -> bool:
    """Whether a file, decompressed, begins as a tar does."""
    return _is_header(_decompressed(file).read(_BLOCK))


class Tar:
    """An open tar file, compressed or not.

    ``encoding`` is that of names (default: UTF-8); bytes that are not in it become lone surrogates.
    """

    def __init__(self, file: BinaryIO, encoding: str | None = None) -> None:
        self._compressed, self._file = file, cast("IO[bytes]", file)
        self.encoding = encoding

    def members(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Reads the file from beginning to end; yields each member with its content, to be read at once or not at all.

        Raises:
            DataError: the archive is damaged, or holds links, devices and the like.
        """
        self._file = _decompressed(self._compressed)
        headers = _Headers(self._file)
        try:
            tar = tarfile.TarFile(
                fileobj=cast("BinaryIO", headers), encoding=self.encoding or "utf-8", errors="surrogateescape"
            )
            while info := tar.next():
                tar.members.clear()  # type: ignore[attr-defined] # it would keep every one
                headers.budget += _BUDGET_OF_MEMBER
                if len(tar.pax_headers) > _MAX_GLOBAL or "size" in tar.pax_headers:
                    raise damaged("it has too many attributes of all members, or a size of all members")
                if not (info.isreg() or info.isdir()):
                    raise malicious(info.name, "it is a link, a device or of an unknown type")
                if info.issparse() or info.size < 0:
                    raise malicious(info.name, "it is a sparse file, or its size is negative")
                is_file = info.isreg() and not info.name.endswith("/")
                size = info.size if info.isreg() else 0
                yield Member(info.name, is_file, size), self._chunks(info.name, size)
        except (ValueError, IndexError, RecursionError) as error:  # what tarfile makes of broken headers, or of many
            raise damaged("a header is damaged") from error
        if headers.block != _ZEROS:
            raise damaged("a header is damaged or missing")
        # Read to the very end: there the checksum of a compressed archive is compared.
        if self._file.read(_PADDING).strip(b"\0") or self._file.read(1):
            raise damaged("it continues after its end")

    def _chunks(self, name: str, left: int) -> Iterator[bytes]:
        while left:
            if not (chunk := self._file.read(min(left, CHUNK))):
                raise damaged(f"the content of {name!r} ends too early")
            left -= len(chunk)
            yield chunk


_PADDING = 2**22
"""Zeros that may follow the end, in bytes."""
_MAX_GLOBAL = 100
"""Attributes of all members, which ``tarfile`` copies for each; git writes one."""
_BUDGET, _BUDGET_OF_MEMBER = 2**24, 2**13
"""Bytes of headers and records, at the beginning and for each member; they count in no other limit."""


class _Headers:
    """The file that ``tarfile`` reads: it never asks for contents, and gets only headers and records that are sound."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.tell, self.seek = file, file.tell, file.seek
        self.budget = _BUDGET
        self.block = b""
        """The last header or record."""
        self._record_of = b""
        """The type of the header, if it announced a record that is read next."""

    def read(self, size: int) -> bytes:
        """Reads a header, a record after the header that announced it, or the last byte of a content.

        Raises:
            DataError: ``tarfile`` could not parse it, in little time and memory, to what it says.
        """
        self.budget -= size
        if self.budget < 0 or not 0 <= size <= CHUNK:
            raise damaged("its long names and attributes are too large")
        data = self._file.read(size)
        if size == 1:
            return data
        self.block = data
        if self._record_of:
            if self._record_of in _ATTRIBUTES:
                _check_attributes(data)
            self._record_of = b""
        elif data[156:157] in _RECORDS:
            self._record_of = data[156:157]
        return data


_ATTRIBUTES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
_RECORDS = (*_ATTRIBUTES, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_ATTRIBUTE = re.compile(rb"(\d{1,8}) [^=\n]{1,256}=")
_MANY_DIGITS = re.compile(rb"\d{256}")


def _check_attributes(record: bytes) -> None:
    """Compares lines ``length keyword=value`` with their lengths, which ``tarfile`` does not."""
    if b"GNU.sparse." in record:
        raise malicious("pax_header", "it is a sparse file")
    at = 0
    while at < len(record) and record[at]:
        line = _ATTRIBUTE.match(record, at)
        end = at + int(line[1]) if line else 0
        if not line or end <= line.end() or record[end - 1 : end] != b"\n":
            raise damaged("the attributes of a member are damaged")
        at = end
    if _MANY_DIGITS.search(record):
        raise damaged("the attributes of a member are damaged")


def _is_header(block: bytes) -> bool:
    try:
        return block == _ZEROS or bool(tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape"))
    except tarfile.HeaderError:
        return False


def _decompressed(file: BinaryIO) -> IO[bytes]:
    """The file from its beginning, decompressed unless its first block is a header: a name may look like a mark."""
    file.seek(0)
    first = file.read(_BLOCK)
    file.seek(0)
    mark = None if _is_header(first) else next(filter(first.startswith, _DECOMPRESSORS), None)
    return _DECOMPRESSORS[mark](file) if mark else file


def _zstd(file: BinaryIO) -> IO[bytes]:
    import zstandard  # noqa: PLC0415 - few archives are of this kind, which Python itself reads from 3.14 on

    # 128 MiB: the largest window that the format's own tool opens without being told to.
    return zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file, read_across_frames=True)


_DECOMPRESSORS: dict[bytes, Callable[[BinaryIO], IO[bytes]]] = {
    b"\x1f\x8b": lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file)),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"\x5d\0\0": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": _zstd,
}
