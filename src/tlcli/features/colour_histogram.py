"""What colours an image has, and nothing of where: features without a network, for an honest baseline.

Shapes: S is the side in pixels; a feature is float32 [D], D = 576: roots of the shares of pixels in 512 boxes of colour
(8 levels each of red, green and blue), then in 64 steps of brightness, finer, since grey images fill 8 of the boxes.
The products of such roots compare histograms as Hellinger's distance does: rare colours count, too (Arandjelovic and
Zisserman 2012, "Three things everyone should know", section 3).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from tlcli.features.key import preparation_digest
from tlcli.features.store import Store
from tlcli.images.preparation import Preparation
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLOURS_VERSION = 1
"""Part of the key: raise it when the features change."""

_BOXES, _STEPS = 512, 64
WIDTH = _BOXES + _STEPS
"""D"""


class Colours:
    """Counts colours; takes and gives images as an engine does (:class:`tlcli.engines.interface.Engine`)."""

    def features(self, images: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
        """Each uint8 [S, S, 3] -> float32 [D], in order."""
        return map(colours, images)


def colours(image: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    """uint8 [S, S, 3] -> float32 [D]: two histograms, each of length 1 by its squares."""
    red, green, blue = np.ascontiguousarray(image.reshape(-1, 3).T)  # [S S] each; strided ones take twice as long
    boxes = (red >> 5).astype(np.uint16) << 6 | (green >> 5).astype(np.uint16) << 3 | blue >> 5
    # Brightness by ITU-R BT.601's weights, in 256ths: at most 255 * 256.
    brightness = red * np.uint16(77) + green * np.uint16(150) + blue * np.uint16(29)
    counts = [np.bincount(boxes, minlength=_BOXES), np.bincount(brightness >> 10, minlength=_STEPS)]
    return np.sqrt(np.concatenate(counts) / len(red)).astype(np.float32)


def colour_store(preparation: Preparation, progress: Progress = SILENT) -> Store:
    """Where the colours of images that are prepared like this are kept: once for all backbones."""
    depends = json.dumps(["colours", COLOURS_VERSION, preparation_digest(preparation)])
    return Store(hashlib.sha256(depends.encode()).hexdigest(), WIDTH, progress)
