"""Statistics of an image file that need no backbone: its header, brightness, contrast, and a small greyscale version.

Shapes: S is the side of the small image in pixels.
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tlcli.images.decode import prepare, read
from tlcli.images.formats import SUFFIXES
from tlcli.images.preparation import Preparation

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
_MAX_ASPECT_RATIO = 4.0


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
    small = replace(preparation, size=side, resize="squash")
    data = read(path, small)
    levels = prepare(data, small) @ _LUMA  # [S, S]; first, as it refuses what is not an image
    with Image.open(io.BytesIO(data), formats=preparation.formats) as image:
        statistics = ImageStatistics(
            *image.size, image.format or "", image.mode, _frames(image), len(data), float(levels.mean()),
            float(levels.std()),
        )  # fmt: skip
    return statistics, np.rint(levels).astype(np.uint8)


def _frames(image: Image.Image) -> int:
    """The number of frames; 1 if those after the first are broken, as only the first is used."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001 - Pillow's plugins raise almost any type on broken files
        return 1


def oddities(path: Path, statistics: ImageStatistics, size: int) -> Iterator[str]:
    """Yields what is unusual about an image, each as a short phrase.

    Args:
        path: the file.
        statistics: of the file.
        size: side in pixels of the backbone's input.
    """
    width, height = statistics.width, statistics.height
    suffix = os.path.splitext(path.name)[1].lower()  # noqa: PTH122 - Path.suffix is empty for "a."
    if suffix and suffix not in SUFFIXES.get(statistics.format, (suffix,)):
        yield f"{statistics.format} file named {suffix}"
    if statistics.mode in _MODES:
        yield _MODES[statistics.mode]
    if statistics.frames > 1:
        yield f"{statistics.frames} frames, of which the first is used"
    if min(width, height) * 2 < size:
        yield f"small: {width} x {height} pixels, enlarged to {size} x {size}"
    if max(width, height) > _MAX_ASPECT_RATIO * min(width, height):
        yield f"elongated: {width} x {height} pixels"
    if statistics.contrast < _MIN_CONTRAST:
        yield f"blank: all levels are about {statistics.brightness:.0f}"
    elif not _DARK <= statistics.brightness <= _BRIGHT:
        name = "dark" if statistics.brightness < _DARK else "bright"
        yield f"very {name}: mean level {statistics.brightness:.0f} of 255"
