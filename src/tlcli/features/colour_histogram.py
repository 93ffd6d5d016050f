"""Colour histograms: features without a network, for an honest baseline. They know nothing of positions.

Shapes: a feature is float32 [D], D = 576: square roots of the shares of pixels in 512 colour
bins (8 levels each of red, green and blue), then in 64 brightness bins, which are finer, since grey images fill 8 of
the colour bins. The products of such roots compare histograms as Hellinger's distance does, in which rare colours count
as well (Arandjelovic and Zisserman 2012, "Three things everyone should know", section 3).
"""

from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.blocks import one_block
from tlcli.features.pixel_features import PixelFeatures

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLOURS, _BRIGHTNESS = 512, 64
BLOCKS = one_block(_COLOURS + _BRIGHTNESS)
"""Of the store: one, D wide."""


def colour_histogram(image: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    """uint8 [H, W, 3] -> float32 [D]: two histograms, each with an L2 norm of 1."""
    red, green, blue = np.ascontiguousarray(image.reshape(-1, 3).T)  # [H W] each; strided ones take twice as long
    colours = (red >> 5).astype(np.uint16) << 6 | (green >> 5).astype(np.uint16) << 3 | blue >> 5
    # Brightness with the weights of ITU-R BT.601, in 256ths: at most 255 * 256.
    brightness = red * np.uint16(77) + green * np.uint16(150) + blue * np.uint16(29)
    counts = [np.bincount(colours, minlength=_COLOURS), np.bincount(brightness >> 10, minlength=_BRIGHTNESS)]
    return np.sqrt(np.concatenate(counts) / len(red)).astype(np.float32)


COLOURS = PixelFeatures("colour histogram", 1, BLOCKS, colour_histogram)
"""Colour histograms as they are kept."""
