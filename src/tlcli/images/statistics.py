"""Statistics of an image file that need no backbone: its header, brightness, contrast, and a small greyscale version.

Shapes: S is the side of the small image in pixels.
"""

import contextlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, TiffImagePlugin

from tlcli.images import tiff
from tlcli.images.decode import BadImageError, open_image, prepare, read, upright_size
from tlcli.images.formats import SUFFIXES
from tlcli.images.levels import deep_values
from tlcli.images.preparation import Preparation
from tlcli.images.tiles import Size
from tlcli.images.values import usual_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LUMA = np.array((0.299, 0.587, 0.114), np.float32)
"""ITU-R BT.601, as in Pillow's own conversion."""
_MODES = {
    "P": "palette image",
    "CMYK": "CMYK colours",
    "I;16": "16-bit greyscale",
    "I": "32-bit integer greyscale",
    "F": "32-bit float greyscale",
}
_DARK, _BRIGHT, _MIN_CONTRAST = 10, 245, 2.0
"""Mean levels, and the standard deviation of levels below which an image shows nothing."""
_PLAIN, _PLAIN_IF_DRAWN, _DRAWN_LEVELS = 0.85, 0.75, 90
"""Share of one level from which an image shows next to nothing, or a text; and, for the smaller share, the number of
levels below which it is drawn. Of 4,962 images of four data sets one is so, and all of 40 cards with a text."""
_MAX_ASPECT_RATIO = 4.0
_SHALLOW = (255, 1023, 4095, 16383)
"""Largest values of 8, 10, 12 and 14 bits."""
_TRANSLUCENT = 0.5
_SAMPLE = 16


@dataclass(frozen=True)
class ImageStatistics:
    """Statistics of one image file."""

    width: int
    height: int
    format: str
    """Pillow's name of the format, decided by content."""
    mode: str
    """Pillow's mode, such as RGB or I;16."""
    frames: int
    bytes: int
    brightness: float
    """Mean level, 0 to 255."""
    contrast: float
    """Standard deviation of the levels."""
    bands: int = 0
    """Of a TIFF: samples of a pixel; 0 of other formats."""
    value_type: str = ""
    """NumPy's name of the values' type where they have more than 8 bits, such as uint16."""
    value_range: tuple[float, float] | None = None
    """The smallest and largest of these values, without 0.1 % at either end."""
    translucent: float = 0.0
    """Share of the pixels that are neither opaque nor transparent."""
    vanishes: bool = False
    """All that is opaque has the colour that is put behind transparent pixels."""
    is_plain: bool = False
    """Nearly all of it has one level: the card "no image available", for example."""


def image_statistics(path: Path, preparation: Preparation, side: int) -> "tuple[ImageStatistics, NDArray[np.uint8]]":
    """Reads an image file once for its statistics and a small version of it.

    Args:
        path: the file.
        preparation: formats and limits; size and resizing are replaced.
        side: S.

    Returns:
        The statistics, and the whole image squashed to a greyscale square, uint8 [S, S].

    Raises:
        BadImageError: see :func:`tlcli.images.decode.prepare`.
    """
    small = replace(preparation, size=(side, side), resize="squash", tiles=None)
    data = read(path, small)
    levels = prepare(data, small) @ _LUMA  # [S, S]; first, as it refuses what is not an image
    brightness, contrast = float(levels.mean()), float(levels.std())
    image = open_image(data, small)
    if image is None:  # a TIFF of which only single bands are read
        tags = tiff.read_tags(data)
        size: tuple[int, int] = (tags[tiff.WIDTH], tags[tiff.HEIGHT])
        statistics = ImageStatistics(
            *size, "TIFF", f"{tiff.band_count(tags)} bands", 1, len(data), brightness, contrast, tiff.band_count(tags)
        )
    else:
        with image:
            bands = tiff.band_count(image.tag_v2) if isinstance(image, TiffImagePlugin.TiffImageFile) else 0
            statistics = ImageStatistics(
                *upright_size(image),
                image.format or "",
                image.mode,
                _frames(image),
                len(data),
                brightness,
                contrast,
                bands,
            )
    values = deep_values(data, small)
    if values is not None:
        statistics = replace(statistics, value_type=values.dtype.name, value_range=usual_range(values))
    if image is not None and (statistics.contrast < _MIN_CONTRAST or statistics.mode in ("RGBA", "LA", "PA")):
        statistics = replace(statistics, **_transparency(data, small, statistics.contrast))
    small_levels = np.rint(levels).astype(np.uint8)
    return replace(statistics, is_plain=_is_plain(small_levels)), small_levels


def _is_plain(levels: "NDArray[np.uint8]") -> bool:
    counts = np.bincount(levels.ravel(), minlength=256)
    most = int(counts.argmax())
    share = counts[max(0, most - 1) : most + 2].sum() / levels.size  # JPEG moves levels by one
    return bool(share >= _PLAIN or (share >= _PLAIN_IF_DRAWN and (counts > 0).sum() < _DRAWN_LEVELS))


def _transparency(data: bytes, preparation: Preparation, contrast: float) -> dict[str, Any]:
    """What a transparent image loses on the background."""
    with Image.open(io.BytesIO(data), formats=[name for name in preparation.formats if name != "HEIC"]) as image:
        if preparation.bands is not None or not image.has_transparency_data:
            return {}
        opacity = np.asarray(image.convert("RGBA").getchannel("A"))
    translucent = float(((opacity > 0) & (opacity < 255)).mean())
    return {"translucent": translucent, "vanishes": contrast < _MIN_CONTRAST and bool(opacity.std() > 0)}


def _frames(image: Image.Image) -> int:
    """The number of frames; 1 if those after the first are broken, as only the first is used."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001 - Pillow's plugins raise almost any type on broken files
        return 1


def _bands_used(mode: str) -> int:
    """How many bands of a TIFF Pillow's mode holds; 0 where every band counts or only single bands are read."""
    return 1 if mode in ("L", "I", "F") or mode.startswith("I;16") else 3 if mode == "RGB" else 0


def suggestions(statistics: Iterable[ImageStatistics], preparation: Preparation) -> Iterator[str]:
    """Yields settings that these images probably need, one sentence each.

    Args:
        statistics: of some or all images of a data set.
        preparation: the one that the images are read with.
    """
    every = list(statistics)
    if preparation.levels is None:
        yield from _suggested_levels(every)
    if preparation.bands is None:
        yield from _suggested_bands(every)
    if vanishing := sum(one.vanishes for one in every):
        other = "0,0,0" if sum(preparation.background) > 3 * 127 else "255,255,255"
        yield (
            f"{vanishing:,} transparent images vanish, as what is opaque in them has the colour of image.background. "
            f"Another: --set 'image.background=[{other}]'"
        )


def _suggested_levels(every: Sequence[ImageStatistics]) -> Iterator[str]:
    shallow = [one.value_range[1] for one in every if one.value_type == "uint16" and one.value_range]
    if shallow and (largest := max(shallow)) <= _SHALLOW[-1]:
        top = next(level for level in _SHALLOW if largest <= level)
        yield (
            f"{len(shallow):,} images have 16-bit values of at most {largest:,.0f}, and become nearly black, as 65,535 "
            f"is white. Probably: --set 'image.levels=[0,{top}]'"
        )
    if own := sum(one.value_type not in ("", "uint16") for one in every):
        yield (
            f"{own:,} images of 32 bits or floats are each stretched to their own range, which makes dark and bright "
            "ones alike. One range for all: --set image.levels=data"
        )


def _suggested_bands(every: Sequence[ImageStatistics]) -> Iterator[str]:
    if unused := [one.bands for one in every if one.bands > _bands_used(one.mode) > 0]:
        yield (
            f"{len(unused):,} images have up to {max(unused)} bands, of which not all are used. To choose red, green "
            "and blue: --set 'image.bands=[3,2,1]'"
        )
    if spectral := sum(one.format == "TIFF" and one.translucent > _TRANSLUCENT for one in every):
        yield (
            f"{spectral:,} TIFF images have a fourth band that is marked as transparency and is probably none (near "
            "infrared, for example). To leave it out: --set 'image.bands=[1,2,3]'"
        )


def suggestions_from_sample(paths: Sequence[Path], preparation: Preparation) -> list[str]:
    """:func:`suggestions` from at most 16 images, evenly spaced; none is made of JPEGs, which are not read."""
    paths = [path for path in paths if path.suffix.lower() not in SUFFIXES["JPEG"]]
    found = []
    for path in paths[:: max(1, len(paths) // _SAMPLE)][:_SAMPLE]:
        with contextlib.suppress(BadImageError):  # whoever decodes all of them reports it
            found.append(image_statistics(path, preparation, 32)[0])
    return [f"Of a sample of {len(found)}: {one}" for one in suggestions(found, preparation)]


def oddities(path: Path, statistics: ImageStatistics, size: Size) -> Iterator[str]:
    """Yields what is unusual about an image, each as a short phrase.

    Args:
        path: the file.
        statistics: of the file.
        size: height and width in pixels of the backbone's input.
    """
    width, height = statistics.width, statistics.height
    high, wide = size
    suffix = os.path.splitext(path.name)[1].lower()  # noqa: PTH122 - Path.suffix is empty for "a."
    if suffix and suffix not in SUFFIXES.get(statistics.format, (suffix,)):
        yield f"{statistics.format} file named {suffix}"
    if statistics.mode in _MODES:
        yield _MODES[statistics.mode]
    if statistics.bands > (used := _bands_used(statistics.mode)) > 0:
        yield f"{statistics.bands} bands, of which {'the first is' if used == 1 else f'the first {used} are'} used"
    if statistics.vanishes:
        yield "transparent: all that is opaque has the colour of the background"
    if statistics.frames > 1:
        yield f"{statistics.frames} frames, of which the first is used"
    if width * 2 < wide or height * 2 < high:
        yield f"small: {width} x {height} pixels, enlarged to {wide} x {high}"
    if max(width * high, height * wide) > _MAX_ASPECT_RATIO * min(width * high, height * wide):
        yield f"elongated: {width} x {height} pixels"
    yield from _odd_levels(statistics)


def _odd_levels(statistics: ImageStatistics) -> Iterator[str]:
    if statistics.contrast < _MIN_CONTRAST:
        yield f"blank: all levels are about {statistics.brightness:.0f}"
    elif not _DARK <= statistics.brightness <= _BRIGHT:
        name = "dark" if statistics.brightness < _DARK else "bright"
        yield f"very {name}: mean level {statistics.brightness:.0f} of 255"
    if statistics.is_plain and statistics.contrast >= _MIN_CONTRAST:
        yield "nearly all of one level: a placeholder, or a drawing"
