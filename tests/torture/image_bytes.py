"""Image files assembled by hand that Pillow would not write: PNG, BMP, TIFF and JPEG from their parts."""

import io
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 16
"""Side of most images here, in pixels: the decoder does not resize them."""
COLOUR = (50, 60, 70)
BACKGROUND = (10, 20, 30)
"""Behind transparent pixels; unlike any colour of an image."""


def plain(mode: str = "RGB", value: Any = COLOUR, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """An image of one colour."""
    return Image.new(mode, size, value)


def quarters() -> "NDArray[np.uint8]":
    """Four quarters of different colours, uint8 [SIDE, SIDE, 3]: so that any rotation or flip is visible."""
    pixels = np.empty((SIDE, SIDE, 3), np.uint8)
    half = SIDE // 2
    for row, column, colour in ((0, 0, (200, 0, 0)), (0, 1, (0, 200, 0)), (1, 0, (0, 0, 200)), (1, 1, (200, 200, 0))):
        pixels[row * half : (row + 1) * half, column * half : (column + 1) * half] = colour
    return pixels


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The image as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# PNG

SIGNATURE = b"\x89PNG\r\n\x1a\n"
IEND = (b"IEND", b"")


def chunk(kind: bytes, data: bytes, crc: int | None = None, length: int | None = None) -> bytes:
    """A PNG chunk, optionally with a false checksum or length."""
    checksum = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data) if length is None else length) + kind + data + struct.pack(">I", checksum)


def ihdr(width: int, height: int, depth: int = 8, colours: int = 2, *rest: int) -> tuple[bytes, bytes]:
    """The header; ``rest`` is compression, filter and interlacing."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, *(rest or (0, 0, 0)))


def png_of(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks, each with the correct length and checksum."""
    return SIGNATURE + b"".join(chunk(kind, data) for kind, data in chunks)


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel for each PNG colour type."""
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png(
    depth: int, colours: int, samples: Sequence[int], extra: Sequence[tuple[bytes, bytes]] = (),
    interlaced: bool = False,
) -> bytes:  # fmt: skip
    """A PNG of SIDE x SIDE pixels, all with these samples.

    Args:
        depth: bits a sample.
        colours: the colour type.
        samples: of each pixel.
        extra: chunks before the pixels.
        interlaced: by Adam7.
    """
    bits = "".join(f"{sample:0{depth}b}" for sample in samples)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b""
    for left, top, across, down in passes:
        width, height = len(range(left, SIDE, across)), len(range(top, SIDE, down))
        row = bits * width
        row += "0" * (-len(row) % 8)
        rows += (b"\0" + int(row, 2).to_bytes(len(row) // 8, "big")) * height
    header = ihdr(SIDE, SIDE, depth, colours, 0, 0, int(interlaced))
    return png_of([header, *extra, (b"IDAT", zlib.compress(rows)), IEND])


# JPEG


def segment(marker: int, data: bytes) -> bytes:
    """A JPEG segment with its length."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """The JPEG with more segments, right after its first marker."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def without_segment(jpeg: bytes, marker: int) -> bytes:
    """The JPEG without the segments of a marker before its pixels."""
    out, start = jpeg[:2], 2
    while jpeg[start + 1] != 0xDA:
        end = start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big")
        if jpeg[start + 1] != marker:
            out += jpeg[start:end]
        start = end
    return out + (jpeg[start:] if marker != 0xDA else b"\xff\xd9")


def frame_changed(jpeg: bytes, offset: int, value: bytes, marker: int | None = None) -> bytes:
    """The JPEG with changed bytes in its frame header (SOF0): 2 is the precision, 3 the height, 5 the width."""
    start = jpeg.index(b"\xff\xc0")
    data = bytearray(jpeg)
    data[start + 2 + offset : start + 2 + offset + len(value)] = value
    if marker is not None:
        data[start + 1] = marker
    return bytes(data)


# BMP


def bmp(
    bits: int, rows: bytes, palette: bytes = b"", compression: int = 0, size: tuple[int, int] = (SIDE, SIDE),
    masks: bytes = b"", planes: int = 1, offset: int | None = None, used: int = 0,
) -> bytes:  # fmt: skip
    """A BMP with a header of 40 bytes; rows are as stored in the file."""
    begins = 14 + 40 + len(masks) + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, *size, planes, bits, compression, len(rows), 2835, 2835, used, 0)
    file = b"BM" + struct.pack("<IHHI", begins + len(rows), 0, 0, begins if offset is None else offset)
    return file + info + masks + palette + rows


# TIFF

_KINDS = {"H": 3, "I": 4, "B": 1, "Q": 16}
Tag = tuple[int, str, Sequence[int]]


def tiff(tags: Sequence[Tag], data: bytes, order: str = "<", following: int = 0, first: int | None = None) -> bytes:
    """A TIFF of one directory: header, pixels at byte 8, directory, long values.

    Args:
        tags: number, kind (H, I, B) and values; StripOffsets (273) as a rule is 8.
        data: the pixels.
        order: the byte order.
        following: the declared offset of the next directory.
        first: the declared offset of the first directory.
    """
    begins = 8 + len(data) + len(data) % 2
    body, later = struct.pack(f"{order}H", len(tags)), b""
    long_values = begins + 2 + 12 * len(tags) + 4
    for number, kind, values in sorted(tags):
        packed = struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(packed) > 4:
            offset, later = long_values + len(later), later + packed + b"\0" * (len(packed) % 2)
            packed = struct.pack(f"{order}I", offset)
        body += struct.pack(f"{order}HHI", number, _KINDS[kind], len(values)) + packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, begins if first is None else first)
    return head + data.ljust(begins - 8, b"\0") + body + struct.pack(f"{order}I", following) + later


def tiff_tags(bits: Sequence[int], photometric: int, data: bytes, **changes: Sequence[int]) -> list[Tag]:
    """The usual tags for SIDE x SIDE pixels in one strip; ``t273=...`` changes the tag 273."""
    values: dict[int, Sequence[int]] = {
        256: [SIDE], 257: [SIDE], 258: bits, 259: [1], 262: [photometric], 273: [8], 277: [len(bits)], 278: [SIDE],
        279: [len(data)],
    }  # fmt: skip
    values |= {int(name[1:]): value for name, value in changes.items()}
    return [
        (number, "I" if number in (256, 257, 273, 278, 279, 324, 325) else "H", value)
        for number, value in values.items()
        if value
    ]


def tiff_plain(
    bits: Sequence[int], photometric: int, pixel: bytes, order: str = "<", **changes: Sequence[int]
) -> bytes:
    """A TIFF whose pixels all have these bytes."""
    data = pixel * SIDE * SIDE
    return tiff(tiff_tags(bits, photometric, data, **changes), data, order)
