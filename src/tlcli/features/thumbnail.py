"""Small thumbnails as features: what absolute positions and brightness alone tell of an image.

Shapes: a feature is float32 [D], D = 768: 16 x 16 pixels of red, green and blue.
"""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tlcli.backbones.blocks import one_block
from tlcli.features.pixel_features import PixelFeatures

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 16
"""In pixels. With 500 images, more pixels than these only add noise to fit."""


def thumbnail(image: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    """uint8 [H, W, 3] -> float32 [D], 0 to 1: each value is the mean of its part of the image."""
    small = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).reshape(-1) / np.float32(255)


PIXELS = PixelFeatures("thumbnail", 1, one_block(SIDE * SIDE * 3), thumbnail)
"""Thumbnails as they are kept."""
