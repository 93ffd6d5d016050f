"""Colour histograms: features without a network, for an honest baseline. They know nothing of positions.

Shapes: a feature is float32 [D], D = 576: square roots of the shares of pixels in 512 colour
bins (8 levels each of red, green and blue), then in 64 brightness bins, which are finer, since grey images fill 8 of
the colour bins. The products of such roots compare histograms as Hellinger's distance does, in which rare colours count
as well (Arandjelovic and Zisserman 2012, "Three things everyone should know", section 3).
"""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.blocks import one_block
from tlcli.datasets.index import LabelledImage
from tlcli.engines.threaded import ThreadedEngine
from tlcli.features.key import preparation_digest
from tlcli.features.pipeline import Extraction, extract
from tlcli.features.store import Store
from tlcli.images.augmentation import PLAIN
from tlcli.images.items import Decoder
from tlcli.images.preparation import Preparation
from tlcli.progress import SILENT, Progress
from tlcli.system.cpu import threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

HISTOGRAM_VERSION = 1
"""Part of the key: increase it when the features change."""

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


def histogram_store(preparation: Preparation, progress: Progress = SILENT) -> Store:
    """The store of the histograms of images with this preparation, shared by all backbones."""
    depends = json.dumps(["colour histogram", HISTOGRAM_VERSION, preparation_digest(preparation.untiled)])
    return Store(hashlib.sha256(depends.encode()).hexdigest(), BLOCKS, progress)


def extract_histograms(
    images: Sequence[LabelledImage], preparation: Preparation, store: Store, progress: Progress = SILENT
) -> Extraction:
    """Makes the store hold the histograms of plain images; see :func:`tlcli.features.pipeline.extract`."""
    decoder = Decoder(preparation.untiled)
    wanted = [(images, (PLAIN,))]
    return extract(wanted, decoder, store, lambda: ThreadedEngine(decoder, colour_histogram, threads()), progress)
