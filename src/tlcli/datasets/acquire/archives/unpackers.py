"""Decompressors that never give more than was asked for, so that a bomb costs no memory."""

import bz2
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from tlcli.datasets.acquire.archives.archive import BrokenError


class _Unpacker(Protocol):
    """What the decompressors of bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Inflater:
    """zlib's decompressor, made like the others: what it has not used yet, it keeps."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


def _lzma_unpacker(info: zipfile.ZipInfo, file: IO[bytes]) -> _Unpacker:
    """Reads what is in front of the packed bytes. The dictionary need not be larger than what it is for."""
    head = file.read(9)
    if len(head) < 9 or head[2:4] != b"\x05\x00":
        raise lzma.LZMAError("no header")
    coded, window = struct.unpack("<BI", head[4:])
    bits = {"lc": coded % 9, "lp": coded // 9 % 5, "pb": coded // 45}
    size = max(4096, min(window, info.file_size))
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": size, **bits}])


UNPACKERS: dict[int, Callable[[zipfile.ZipInfo, IO[bytes]], _Unpacker]] = {
    zipfile.ZIP_DEFLATED: lambda *_: _Inflater(),
    zipfile.ZIP_BZIP2: lambda *_: bz2.BZ2Decompressor(),
    zipfile.ZIP_LZMA: _lzma_unpacker,
}


@contextmanager
def unpacking(reason: str) -> Iterator[None]:
    """Turns what decompressors raise, each in its own words, into a BrokenError."""
    try:
        yield
    except _unpackers_errors() as error:
        raise BrokenError(reason) from error
    except OSError as error:
        if error.errno is None:  # gzip's and bzip2's own
            raise BrokenError(reason) from error
        raise


def _unpackers_errors() -> tuple[type[Exception], ...]:
    import zstandard  # noqa: PLC0415 - 8 ms that few commands need

    return zlib.error, lzma.LZMAError, EOFError, zstandard.ZstdError
