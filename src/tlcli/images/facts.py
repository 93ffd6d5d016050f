"""What can be said of an image file without any network: its header, its brightness, a small grey version of it.

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
from tlcli.images.resize import Preparation

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "PNG": (".png",), "WEBP": (".webp",), "GIF": (".gif",),
    "BMP": (".bmp",), "TIFF": (".tif", ".tiff"),
}  # fmt: skip
_GREY = np.array((0.299, 0.587, 0.114), np.float32)
"""ITU-R BT.601, as Pillow's own conversion."""
_MODES = {
    "P": "a palette",
    "CMYK": "CMYK colours",
    "I;16": "16 bits of grey",
    "I": "32 bits of grey",
    "F": "float grey",
}
_DARK, _BRIGHT, _FLAT = 10, 245, 2.0
"""Levels, and the standard deviation of levels below which an image shows nothing."""
_LONG = 4.0
"""Longer side by shorter one."""


@dataclass(frozen=True)
class Facts:
    """Of one file."""

    width: int
    height: int
    format: str
    """By its content, as Pillow names it"""
    mode: str
    frames: int
    bytes: int
    brightness: float
    """Mean level, 0 to 255"""
    contrast: float
    """Standard deviation of the levels"""


def facts_of(path: Path, preparation: Preparation, side: int) -> "tuple[Facts, NDArray[np.uint8]]":
    """A file's facts, and the whole of it as a small grey square, uint8 [S, S].

    Raises:
        BadImageError: it cannot be read.
    """
    small = replace(preparation, size=side, resize="squash")
    data = read(path, small)
    levels = prepare(data, small) @ _GREY  # [S, S]; first, as it refuses what is no image
    with Image.open(io.BytesIO(data), formats=preparation.formats) as image:
        facts = Facts(
            *image.size, image.format or "", image.mode, _frames(image), len(data), float(levels.mean()),
            float(levels.std()),
        )  # fmt: skip
    return facts, np.rint(levels).astype(np.uint8)


def _frames(image: Image.Image) -> int:
    """How many there are; one where those after it are broken, which no image here is read from."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001 - Pillow's plugins raise almost any type on broken files
        return 1


def oddities(path: Path, facts: Facts, size: int) -> Iterator[str]:
    """What is unusual about an image, in words.

    Args:
        path: the file.
        facts: its.
        size: side in pixels that the backbone sees.
    """
    suffix = os.path.splitext(path.name)[1].lower()  # noqa: PTH122 - Path.suffix is empty for "a."
    if facts.format in _SUFFIXES and suffix and suffix not in _SUFFIXES[facts.format]:
        yield f"{facts.format} named {suffix}"
    if facts.mode in _MODES:
        yield _MODES[facts.mode]
    if facts.frames > 1:
        yield f"{facts.frames} frames, of which the first is used"
    if min(facts.width, facts.height) * 2 < size:
        yield f"{facts.width} x {facts.height} pixels, and the network sees {size} x {size}"
    if max(facts.width, facts.height) > _LONG * min(facts.width, facts.height):
        yield f"long and thin: {facts.width} x {facts.height} pixels"
    if facts.contrast < _FLAT:
        yield f"nothing to be seen: all of it has about the level {facts.brightness:.0f}"
    elif not _DARK <= facts.brightness <= _BRIGHT:
        yield f"very {'dark' if facts.brightness < _DARK else 'bright'}: mean level {facts.brightness:.0f} of 255"
