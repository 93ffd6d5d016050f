"""A heat map over its image: orange for evidence of the class, faint blue for evidence against it.

Shapes: H and W are the image's height and width in pixels; h and w are positions of the heat map.
"""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tlcli.model.prediction import NoMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_MAP: dict[NoMap, str] = {
    "kernel": "the head is not linear (head.fit: kernel)",
    "class_token": "a class token belongs to no part of the image",
    "no_positions": "the network gives no feature maps",
}
"""Why a model has no heat map."""

# Of middle lightness, seen on black and on white; colour-blind people tell them apart (Okabe & Ito 2008).
_FOR, _AGAINST = np.array((255, 106, 0), np.float64), np.array((0, 120, 230), np.float64)
_FOR_COVER, _AGAINST_COVER = 0.78, 0.4
"""How much of the image the strongest heat covers."""
_GREY = 0.75
"""How far the image is desaturated, so that colour means heat."""
_RELIEF = (0.7, 1.1)
"""A colour's lightness over black and over white, so that the image stays visible under the strongest heat."""

_EXTREME = 99.0
"""Per cent of the positions that are no stronger than full colour: a few extreme ones do not make the others pale."""


def scale(heat: "NDArray[np.floating]") -> float:
    """The absolute value that has full colour: few positions have larger ones."""
    return float(np.percentile(np.abs(heat), _EXTREME)) or float(np.abs(heat).max()) or 1.0


def overlay(pixels: "NDArray[np.uint8]", heat: "NDArray[np.floating]") -> Image.Image:
    """The image with its heat map: full colour is the image's own :func:`scale`, and beyond it; 0 is uncoloured.

    Args:
        pixels: the prepared image, uint8 [H, W, 3].
        heat: evidence for the class at each position, [h, w]; interpolated between their centres (bicubic).

    Returns:
        An RGB image of the same size.
    """
    height, width = pixels.shape[:2]
    coarse = Image.fromarray(np.clip(heat / scale(heat), -1, 1).astype(np.float32))
    relevance = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    return Image.fromarray(coloured(pixels, np.clip(relevance, -1, 1)))


def coloured(pixels: "NDArray[np.uint8]", relevance: "NDArray[np.floating]") -> "NDArray[np.uint8]":
    """Colours every pixel, uint8 [H, W, 3], by its relevance [H, W], 1 (for) to -1 (against)."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float64)[..., np.newaxis]  # [H, W, 1]
    pale = pixels + (grey - pixels) * _GREY
    amount = np.abs(relevance)[..., np.newaxis]
    speaks_for = relevance[..., np.newaxis] > 0
    colour = np.where(speaks_for, _FOR, _AGAINST) * (_RELIEF[0] + (_RELIEF[1] - _RELIEF[0]) * grey / 255)
    blended = pale + (colour - pale) * amount * np.where(speaks_for, _FOR_COVER, _AGAINST_COVER)
    return np.asarray(np.rint(np.clip(blended, 0, 255)), np.uint8)
