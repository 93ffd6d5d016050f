"""Levels that Pillow does not scale to 8 bits: 12-, 16- and 32-bit or inverted greyscale, and transparent levels."""

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, PngImagePlugin

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TRANSPARENT, _INVERTED, _MAX_LEVEL = "transparency", "tlcli: white is 0", "tlcli: maximum level"
"""Keys of ``image.info``; the first is Pillow's."""
_PNG_SCALE = {"L;2": 85, "L;4": 17}
"""The factor by which Pillow multiplies the levels of a 2- or 4-bit PNG."""
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
"""Two TIFF tags, and a value of the second."""


def record_levels(image: Image.Image) -> None:
    """Records in ``image.info`` what :func:`deep_grey_to_rgb` and Pillow's conversions need. Call it before the pixels
    are loaded.

    A PNG's transparent level (tRNS) is given in the file's bit depth, while Pillow scales the pixels to 8 bits: the
    wrong level, or none, would be transparent. Of 16-bit colour only the upper 8 bits remain to compare.
    """
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        image.info[_INVERTED] = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
        image.info[_MAX_LEVEL] = 4095 if tags.get(_BITS_PER_SAMPLE) == (12,) else 65535
    transparent: Any = image.info.get(_TRANSPARENT)
    if not isinstance(image, PngImagePlugin.PngImageFile) or not image.tile or transparent is None:
        return
    raw_mode = image.tile[0].args  # how a pixel is stored in the file
    if raw_mode in _PNG_SCALE and isinstance(transparent, int):
        image.info[_TRANSPARENT] = transparent * _PNG_SCALE[raw_mode]
    elif raw_mode == "RGB;16B" and isinstance(transparent, tuple):
        image.info[_TRANSPARENT] = tuple(level >> 8 for level in transparent)


def deep_grey_to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """16-bit (in TIFF also 12-bit) greyscale as RGB, with the background where the level is the transparent one."""
    levels = np.asarray(image).astype(np.uint32)
    # convert("RGB") clips 16-bit greyscale at 255 instead of scaling it: a mean error of 206 of 255 levels.
    rgb = _to_rgb((levels * 255 // image.info.get(_MAX_LEVEL, 65535)).astype(np.uint8), image)
    transparent = image.info.get(_TRANSPARENT)
    if isinstance(transparent, int):
        rgb.paste(background, mask=Image.fromarray((levels == transparent).astype(np.uint8) * 255))
    return rgb


def stretch_to_rgb(image: Image.Image) -> Image.Image:
    """32-bit greyscale (integers or floats) as RGB. These files state no range, so the darkest value becomes 0 and the
    brightest 255.

    Raises:
        ValueError: a value is not finite.
    """
    levels = np.asarray(image, dtype=np.float64)
    if not np.isfinite(levels).all():
        raise ValueError("it holds values that are not finite")
    low, high = levels.min(), levels.max()
    scaled = (levels - low) * (255 / (high - low) if high > low else 0)
    return _to_rgb(np.rint(scaled).astype(np.uint8), image)


def _to_rgb(levels: "NDArray[np.uint8]", image: Image.Image) -> Image.Image:
    return Image.fromarray(255 - levels if image.info.get(_INVERTED) else levels).convert("RGB")
