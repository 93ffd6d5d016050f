"""Mixing the images of a batch in pairs: mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019).

Both work on feature maps as on images (manifold mixup: Verma et al. 2019).
Shapes: n rows, U output units.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Batch(NamedTuple):
    """Rows that are trained on in one step."""

    maps: "NDArray[np.float32]"
    """[n, h, w, C]: feature maps, or images"""
    early: "NDArray[np.float32]"
    """[n, E], features that are computed before the maps"""
    targets: "NDArray[np.float32]"
    """[n, U]"""
    weights: "NDArray[np.float32]"
    """[n]"""


def mixed(batch: Batch, mixup: float, cutmix: float, random: "np.random.Generator") -> Batch:
    """A batch in which every row is mixed with another. Its loss is the mean of both targets' losses, each with its
    own weight, in the shares of the images.

    Args:
        batch: at least one row.
        mixup: of Beta(mixup, mixup), the distribution of a row's own share; 0 leaves it out.
        cutmix: the same for the area that is kept; where both are above 0, each is applied to half of the batches.
        random: draws the pairs and the shares.
    """
    if not mixup and not cutmix:
        return batch
    cuts = bool(cutmix) and (not mixup or random.random() < 0.5)
    alpha = cutmix if cuts else mixup
    share, partner = random.beta(alpha, alpha), random.permutation(len(batch.maps))
    maps = batch.maps
    if cuts:
        height, width = maps.shape[1:3]
        top, along = _span(height, math.sqrt(1 - share), random.random())
        left, across = _span(width, math.sqrt(1 - share), random.random())
        maps = maps.copy()
        place = (slice(None), slice(top, top + along), slice(left, left + across))
        maps[place] = batch.maps[partner][place]
        share = 1 - along * across / (height * width)
    else:
        maps = _blend(maps, partner, share)
    weights = _blend(batch.weights, partner, share)
    own = (share * batch.weights / np.maximum(weights, np.finfo(np.float32).tiny))[:, None]  # of the loss
    targets = (own * batch.targets + (1 - own) * batch.targets[partner]).astype(np.float32)
    return Batch(maps, _blend(batch.early, partner, share), targets, weights)


def _blend(part: "NDArray[np.float32]", partner: "NDArray[np.int64]", share: float) -> "NDArray[np.float32]":
    return (share * part + (1 - share) * part[partner]).astype(part.dtype)


def _span(side: int, share: float, place: float) -> tuple[int, int]:
    """Start and length of a part of a side; ``place`` is from 0 to 1."""
    length = min(side, round(side * share))
    return round(place * (side - length)), length
