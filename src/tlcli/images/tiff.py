"""TIFF files: a description of their layout, and single bands of multi-band files.

Shapes: H height, W width, N bands of the file, B bands wanted.
"""

import io
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, TiffImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 274, 277, 278, 279, 284
PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SUB_IFDS = 317, 322, 323, 324, 325, 330
EXTRA_SAMPLES, SAMPLE_FORMAT, DNG_VERSION = 338, 339, 50706
"""Tags (TIFF 6.0, section 8 and following)."""

Tags = ImageFileDirectory_v2
_KINDS = {1: "unsigned integers", 2: "signed integers", 3: "floating-point numbers", 5: "complex", 6: "complex"}
_OTHER_COMPRESSIONS = {
    34712: "JPEG 2000", 33003: "JPEG 2000", 33005: "JPEG 2000", 34887: "LERC", 50002: "JPEG XL", 52546: "JPEG XL",
    7: "JPEG", 6: "old-style JPEG", 34892: "lossy JPEG",
}  # fmt: skip
_COLOURS = {3: "palette", 5: "CMYK", 6: "YCbCr", 8: "CIELAB", 32803: "colour filter array", 34892: "linear raw"}
_JPEGS = (6, 7)
_MANY = 64
"""Bands above which a file is refused; hyperspectral cubes have hundreds, and are no images."""


def is_tiff(data: bytes) -> bool:
    """Whether a file begins like a TIFF, BigTIFF included."""
    return data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


def read_tags(data: bytes) -> Tags:
    """The tags of the first image of a TIFF; raises almost any type if they are broken."""
    tags = Tags(data[: 16 if data[2] == 43 else 8])  # Pillow reads no big-endian BigTIFF
    file = io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    return tags


def band_count(tags: Tags) -> int:
    """N, the samples of a pixel."""
    count = tags.get(SAMPLES, len(_tuple(tags.get(BITS, (1,)))))
    return int(_tuple(count)[0])


def has_layout(tags: Tags) -> bool:
    """Whether the tags say all that an image needs: its width, height, and where its pixels are."""
    has_pixels = tags.get(STRIP_OFFSETS) or tags.get(TILE_OFFSETS)
    sizes = (tags.get(WIDTH), tags.get(HEIGHT))
    return bool(has_pixels) and all(isinstance(size, int) and size > 0 for size in sizes)


def is_camera_raw(tags: Tags, data: bytes) -> bool:
    """Whether it is a camera's raw image (NEF, ARW, DNG, CR2), whose first image is a thumbnail or undeveloped."""
    is_thumbnail = bool(int(tags.get(SUBFILE_TYPE, 0)) & 1) and SUB_IFDS in tags
    return DNG_VERSION in tags or is_thumbnail or data[8:10] == b"CR" or tags.get(PHOTOMETRIC) == 32803


def is_misread(tags: Tags, mode: str) -> bool:
    """Whether Pillow opens a file as this mode and gives wrong pixels, or fails on right ones (found by comparing every
    layout that tifffile writes): it confuses the bytes of compressed big-endian values that have a sign or 32 bits, and
    of bands stored one after the other if they have 16 bits and no compression, or are transparency beside grey or
    before other bands."""
    is_compressed = tags.get(COMPRESSION, 1) != 1
    if tags.get(PLANAR, 1) == 2 and band_count(tags) > 1:
        is_deep = 16 in _tuple(tags.get(BITS, (1,)))
        return (is_deep and not is_compressed) or mode in ("LA", "PA") or (mode == "RGBA" and band_count(tags) > 4)
    is_wide = mode == "F" or (mode == "I" and tags.get(SAMPLE_FORMAT, (1,)) != (1,))
    return is_wide and tags.prefix == b"MM" and is_compressed


def layout(tags: Tags) -> str:
    """A description of the layout: ``13 bands of 16 bits, unsigned integers, compression tiff_lzw``."""
    bits = sorted({int(one) for one in _tuple(tags.get(BITS, (1,)))})
    kinds = {_KINDS.get(one, f"sample format {one}") for one in _tuple(tags.get(SAMPLE_FORMAT, (1,)))}
    code = tags.get(COMPRESSION, 1)
    compression = _OTHER_COMPRESSIONS.get(code) or TiffImagePlugin.COMPRESSION_INFO.get(code, str(code))
    count = band_count(tags)
    parts = [
        f"{count} band{'' if count == 1 else 's'} of {' and '.join(map(str, bits))} bits",
        " and ".join(sorted(kinds)),
        f"compression {compression}",
    ]
    if colours := _COLOURS.get(tags.get(PHOTOMETRIC, 1)):
        parts.append(colours)
    return ", ".join(parts)


def has_plain_bands(tags: Tags) -> bool:
    """Whether :func:`read_bands` reads the file: every band holds levels of 8, 16 or 32 bits, all of one kind."""
    bits, kinds = set(_tuple(tags.get(BITS, (1,)))), set(_tuple(tags.get(SAMPLE_FORMAT, (1,))))
    if len(bits) != 1 or len(kinds) != 1 or (*bits, *kinds) not in _RAW or not has_layout(tags):
        return False
    count, is_chunky = band_count(tags), tags.get(PLANAR, 1) != 2
    if not 1 <= count <= _MANY or tags.get(PHOTOMETRIC, 1) not in (1, 2) or tags.get(FILL_ORDER, 1) != 1:
        return False
    code = tags.get(COMPRESSION, 1)
    return (
        code in TiffImagePlugin.COMPRESSION_INFO
        and code not in _JPEGS
        and not (is_chunky and count > 1 and tags.get(PREDICTOR, 1) == 3)
        and not (_is_swapped(tags) and tags.get(PREDICTOR, 1) != 1)
    )


_RAW: dict[tuple[int, int], Any] = {
    (8, 1): np.uint8, (8, 2): np.int8, (16, 1): np.uint16, (16, 2): np.int16, (32, 1): np.uint32, (32, 2): np.int32,
    (32, 3): np.float32,
}  # fmt: skip
"""Bits and sample format -> the type of a value."""


def read_bands(data: bytes, tags: Tags, bands: Sequence[int]) -> "NDArray[Any]":
    """Some bands of a TIFF, not turned by its orientation.

    Pillow reads no file with more bands than colours, but it reads one band of any compression. So it is given the
    same pixels under other tags: a band that is stored apart as a grey image, and bands stored pixel by pixel as a grey
    image N times as wide. This needs no other library: tifffile needs imagecodecs (20 MB) for LZW, which most
    satellite images have.

    Args:
        data: the file.
        tags: of its first image, for which :func:`has_plain_bands` is true.
        bands: numbers of the bands wanted, from 1.

    Returns:
        [H, W, B], of the file's type.

    Raises:
        OSError, SyntaxError, ValueError: the pixels are broken.
    """
    count = band_count(tags)
    if tags.get(PLANAR, 1) == 2 and count > 1:
        return np.stack([_grey(data, tags, 1, band - 1) for band in bands], axis=-1)
    wide = _grey(data, tags, count, 0)
    values = wide.reshape(wide.shape[0], -1, count)
    if count > 1 and tags.get(PREDICTOR, 1) == 2 and tags.get(COMPRESSION, 1) != 1:
        values = _summed(values, tags.get(TILE_WIDTH) if tags.get(TILE_OFFSETS) else None)
    return values[:, :, [band - 1 for band in bands]]


def _grey(data: bytes, tags: Tags, times: int, band: int) -> "NDArray[Any]":
    """The pixels of one band stored apart, or [H, W ``times``] of all bands stored pixel by pixel."""
    is_apart = times == 1
    bits, kind = (int(_tuple(tags.get(tag, (1,)))[0]) for tag in (BITS, SAMPLE_FORMAT))
    order = "<" if tags.prefix == b"II" else ">"
    wanted = np.dtype(_RAW[bits, kind])
    if _is_swapped(tags):  # Pillow would swap what libtiff has swapped: take the bytes as they are
        times, bits, wanted = times * 4, 8, wanted.newbyteorder(order)
    made: dict[int, tuple[int, ...]] = {
        WIDTH: (tags[WIDTH] * times,), HEIGHT: (tags[HEIGHT],), BITS: (bits,),
        SAMPLE_FORMAT: (kind if bits > 16 else 1,),
        COMPRESSION: (tags.get(COMPRESSION, 1),), PHOTOMETRIC: (1,), SAMPLES: (1,),
        PREDICTOR: (tags.get(PREDICTOR, 1) if is_apart else 1,),
    }  # fmt: skip
    if tags.get(TILE_OFFSETS):
        made |= {TILE_WIDTH: (tags[TILE_WIDTH] * times,), TILE_HEIGHT: (tags[TILE_HEIGHT],)}
        places = (TILE_OFFSETS, TILE_BYTES)
    else:
        made[ROWS_PER_STRIP] = (min(tags.get(ROWS_PER_STRIP, tags[HEIGHT]), tags[HEIGHT]),)
        places = (STRIP_OFFSETS, STRIP_BYTES)
    for tag in places:
        listed = _tuple(tags.get(tag, ()))
        each = len(listed) // (band_count(tags) if is_apart else 1)
        if listed:
            made[tag] = tuple(listed[band * each : (band + 1) * each])
    file = _with_tags(data, order, made)
    with Image.open(io.BytesIO(file), formats=("TIFF",)) as image:
        image.load()
        values = np.asarray(image)
    native: NDArray[Any] = values.astype(values.dtype.newbyteorder("="), copy=False)
    return np.asarray(np.ascontiguousarray(native).view(wanted), wanted.newbyteorder("="))


def _is_swapped(tags: Tags) -> bool:
    """Whether it has big-endian values of 32 bits."""
    return bool(tags.prefix == b"MM" and _tuple(tags.get(BITS, (1,)))[0] == 32)


def _with_tags(data: bytes, order: str, tags: dict[int, tuple[int, ...]]) -> bytes:
    """The bytes of a TIFF as those of a classic one that has these tags only, appended to it."""
    start = len(data) + len(data) % 2
    values_at = start + 2 + 12 * len(tags) + 4
    directory, values = struct.pack(order + "H", len(tags)), b""
    for tag, listed in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(listed)}I", *listed)
        inline = packed if len(listed) == 1 else struct.pack(order + "I", values_at + len(values))
        directory += struct.pack(order + "HHI", tag, 4, len(listed)) + inline  # 4: LONG, which fits every tag
        values += packed if len(listed) > 1 else b""
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return header + data[8:] + bytes(start - len(data)) + directory + bytes(4) + values


def _summed(values: "NDArray[Any]", tile_width: int | None) -> "NDArray[Any]":
    """The levels of differences from the pixel to the left (predictor 2), which start anew in each tile."""
    step = tile_width or values.shape[1]
    parts = [
        np.cumsum(values[:, start : start + step], axis=1, dtype=values.dtype)
        for start in range(0, values.shape[1], step)
    ]
    return np.concatenate(parts, axis=1)


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
