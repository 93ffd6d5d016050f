"""Levels that Pillow leaves as a file has them: transparent ones of PNGs, grey deeper than 8 bits, white that is 0."""

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, PngImagePlugin

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TRANSPARENT, _INVERTED, _TOP = "transparency", "tlcli: white is 0", "tlcli: highest level"
_TIMES = {"L;2": 85, "L;4": 17}
"""By what Pillow multiplies the levels of a PNG of 2 or 4 bits."""
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
"""Tags of TIFF, and a value of the last."""


def note_levels(image: Image.Image) -> None:
    """Notes in ``image.info`` what :func:`grey_over` and Pillow's conversions must know; to be called before the pixels
    are read.

    A PNG's transparent level (tRNS) stands there as in the file, while Pillow scales the pixels to 8 bits: either
    nothing or another level would be transparent. Of 16 bits a colour only the upper 8 are left to compare.
    """
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        image.info[_INVERTED] = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
        image.info[_TOP] = 4095 if tags.get(_BITS) == (12,) else 65535
    told: Any = image.info.get(_TRANSPARENT)
    if not isinstance(image, PngImagePlugin.PngImageFile) or not image.tile or told is None:
        return
    stored = image.tile[0].args  # how a pixel lies in the file
    if stored in _TIMES and isinstance(told, int):
        image.info[_TRANSPARENT] = told * _TIMES[stored]
    elif stored == "RGB;16B" and isinstance(told, tuple):
        image.info[_TRANSPARENT] = tuple(level >> 8 for level in told)


def grey_over(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """16 (TIFF: also 12) bits of grey as RGB, over the background where the level is the transparent one."""
    levels = np.asarray(image).astype(np.uint32)
    # convert("RGB") clips 16-bit grey at 255 instead of scaling it: mean error 206 of 255 levels.
    shown = _grey((levels * 255 // image.info.get(_TOP, 65535)).astype(np.uint8), image)
    told = image.info.get(_TRANSPARENT)
    if isinstance(told, int):
        shown.paste(background, mask=Image.fromarray((levels == told).astype(np.uint8) * 255))
    return shown


def stretched(image: Image.Image) -> Image.Image:
    """An image of 32 bits of grey, integers or floats, as RGB: its darkest and brightest become 0 and 255, as these
    state no range.

    Raises:
        ValueError: a value is not finite.
    """
    levels = np.asarray(image, dtype=np.float64)
    if not np.isfinite(levels).all():
        raise ValueError("it holds values that are not finite")
    low, high = levels.min(), levels.max()
    scaled = (levels - low) * (255 / (high - low) if high > low else 0)
    return _grey(np.rint(scaled).astype(np.uint8), image)


def _grey(levels: "NDArray[np.uint8]", image: Image.Image) -> Image.Image:
    return Image.fromarray(255 - levels if image.info.get(_INVERTED) else levels).convert("RGB")
