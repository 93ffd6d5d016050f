"""The values of an image as its file has them, before they become levels of 8 bits: for image.levels and image.bands.

Shapes: H height, W width, C channels.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from tlcli.images import tiff

if TYPE_CHECKING:
    from numpy.typing import NDArray

Levels = tuple[float, float]
"""The values that become 0 and 255."""
_PNG_16 = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}
"""How Pillow takes the upper bytes of a 16-bit colour PNG -> how it would take the lower ones."""
_PERCENTILES = (0.1, 99.9)
_ROWS = 256
_SAMPLED = 1_000_000
"""Values of an image of which percentiles are taken at most."""


class NoSuchBandError(ValueError):
    """``image.bands`` names a band that the image lacks."""


@dataclass(frozen=True)
class FileValues:
    """The channels of an image."""

    values: "NDArray[Any]"
    """[H, W, C], C 1 or 3, of the file's type."""
    alpha: "NDArray[np.uint8] | None" = None
    """[H, W], opacity."""
    is_inverted: bool = False
    """The smallest value is white."""


def is_deep(image: Image.Image) -> bool:
    """Whether an opened image has values of more than 8 bits, so that :data:`Levels` apply to it."""
    return image.mode.startswith("I;16") or image.mode in ("I", "F") or _is_deep_colour(image)


def _is_deep_colour(image: Image.Image) -> bool:
    if image.format == "TIFF":
        return set(getattr(image, "tag_v2", {}).get(tiff.BITS, ())) == {16} and image.mode in ("RGB", "RGBA")
    return isinstance(image, PngImagePlugin.PngImageFile) and bool(image.tile) and image.tile[0].args in _PNG_16


def values_of(image: Image.Image, data: bytes, bands: Sequence[int] | None) -> FileValues:
    """The values of an opened image whose pixels are not loaded yet.

    Args:
        image: from ``data``.
        data: the bytes of the file.
        bands: numbers of the channels wanted, from 1; None takes the colours, or the first band.

    Raises:
        NoSuchBandError: the image has no such band.
        Exception: of almost any type, the pixels are broken.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile) and tiff.has_plain_bands(image.tag_v2):
        return tiff_values(data, image.tag_v2, bands)
    channels: NDArray[Any] | None = _deep_png(image, data)
    if channels is None:
        transparent = image.info.get("transparency")
        image.load()
        if image.mode not in ("L", "LA", "RGB", "RGBA", "I", "F") and not image.mode.startswith("I;16"):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        channels = np.asarray(image)
        channels = channels.astype(channels.dtype.newbyteorder("="), copy=False)
    else:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as again:  # its level in 16 bits
            transparent = again.info.get("transparency")
    if channels.ndim == 2:
        channels = channels[:, :, None]
    is_inverted = channels.dtype != np.uint8 and getattr(image, "tag_v2", {}).get(tiff.PHOTOMETRIC) == 0
    if bands is not None:
        _check(channels.shape[2], bands)
        return FileValues(channels[:, :, [band - 1 for band in bands]], is_inverted=is_inverted)
    count = 3 if channels.shape[2] >= 3 else 1
    alpha = None
    if channels.shape[2] in (2, 4):
        alpha = _top_byte(channels[:, :, -1])
    elif isinstance(transparent, int | tuple):
        alpha = np.where((channels == np.asarray(transparent)).all(axis=2), 0, 255).astype(np.uint8)
    return FileValues(channels[:, :, :count], alpha, is_inverted)


def tiff_values(data: bytes, tags: tiff.Tags, bands: Sequence[int] | None) -> FileValues:
    """The values of a TIFF for which :func:`tlcli.images.tiff.has_plain_bands` is true; see :func:`values_of`."""
    count = tiff.band_count(tags)
    if bands is not None:
        _check(count, bands)
        return FileValues(tiff.read_bands(data, tags, bands))
    has_colours = tags.get(tiff.PHOTOMETRIC) == 2 and count >= 3
    wanted = [1, 2, 3] if has_colours else [1]
    extra = tags.get(tiff.EXTRA_SAMPLES, (2,) if count == 4 and has_colours else (0,))
    opaque = len(wanted) + 1 if count > len(wanted) and (extra if isinstance(extra, int) else extra[0]) else 0
    if not opaque:
        return FileValues(tiff.read_bands(data, tags, wanted))
    found = tiff.read_bands(data, tags, [*wanted, opaque])
    values, alpha = found[:, :, :-1], found[:, :, -1]
    if extra in (1, (1,)):  # premultiplied
        full = np.iinfo(found.dtype).max
        values = np.minimum(values.astype(np.uint64) * full // np.maximum(alpha, 1)[:, :, None], full)
        values = values.astype(found.dtype)
    return FileValues(values, _top_byte(alpha))


def _top_byte(values: "NDArray[Any]") -> "NDArray[np.uint8]":
    return (values >> 8 * (values.itemsize - 1)).astype(np.uint8)


def _deep_png(image: Image.Image, data: bytes) -> "NDArray[np.uint16] | None":
    """[H, W, C], 16 bits of each colour of a PNG; None if it is none. Pillow gives the upper bytes, or the lower."""
    if not isinstance(image, PngImagePlugin.PngImageFile) or not _is_deep_colour(image):
        return None
    with Image.open(io.BytesIO(data), formats=("PNG",)) as lower:
        lower.tile = [tile._replace(args=_PNG_16[str(tile.args)]) for tile in lower.tile]
        lower.load()
        image.load()
        return np.asarray(np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower), np.uint16)


def _check(count: int, bands: Sequence[int]) -> None:
    if max(bands) > count:
        raise NoSuchBandError(f"it has {count} band{'' if count == 1 else 's'}, and image.bands names {max(bands)}")


def to_8_bits(values: "NDArray[Any]", levels: Levels | None) -> "NDArray[np.uint8]":
    """Scales values linearly to 0..255 and clips them.

    Args:
        values: of any shape; 8-bit ones are returned as they are.
        levels: the values that become 0 and 255. None takes 0..65535 for 16 bits without sign, and the smallest and
            largest value for other types.

    Raises:
        ValueError: a value is not finite.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16 and levels is None:
        levels = (0, 65535)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("it holds values that are not finite")
    low, high = levels or (float(values.min()), float(values.max()))
    if values.dtype == np.uint16:  # a table takes a fifth of the time
        return np.asarray(_scaled(np.arange(65536), low, high, np.floor)[values])
    found = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):  # numbers of 64 bits for all pixels at once would need gigabytes
        found[start : start + _ROWS] = _scaled(values[start : start + _ROWS], low, high, np.rint)
    return found


def _scaled(values: "NDArray[Any]", low: float, high: float, rounded: Any) -> "NDArray[np.uint8]":
    if low == high:
        return np.zeros(values.shape, np.uint8)
    levels = (np.clip(values.astype(np.float64), low, high) - low) * 255 / (high - low)
    return np.asarray(rounded(levels), np.uint8)


def usual_range(values: "NDArray[Any]") -> Levels:
    """The range of an image's values without the 0.1 % smallest and largest (hot pixels, for example)."""
    flat = values.reshape(-1)
    low, high = np.percentile(flat[:: 1 + len(flat) // _SAMPLED], _PERCENTILES)
    return float(low), float(high)
