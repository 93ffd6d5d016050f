"""The feature maps of an image, and the features that each position of them would give alone.

Pooling is a mean over positions, or takes each channel's largest value from one of them: so a linear head's logit is a
sum over layers and positions (class activation mapping, Zhou et al. 2016, for all layers).

Shapes: T tiles of an image; h, w positions of a layer's map and C its channels; R rows; W all blocks together.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.blocks import LAST, Block, Blocks, Pooling

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Normalization:
    """The layer normalisation that some networks (ConvNeXt) apply after pooling."""

    gamma: "NDArray[np.float32]"
    """[D]"""
    beta: "NDArray[np.float32]"
    """[D]"""
    epsilon: float
    """Added to the variance."""

    @classmethod
    def from_json(cls, text: str) -> "Normalization | None":
        """Reads :data:`tlcli.backbones.conversion.NORMALIZATION_FILE`; None if the network has none."""
        if (fields := json.loads(text)) is None:
            return None
        return cls(np.array(fields["gamma"], np.float32), np.array(fields["beta"], np.float32), fields["epsilon"])

    def distribute(self, pooled: "NDArray[np.float32]", rows: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Rows [R, D] whose mean is the pooled feature [D] -> rows whose mean is that feature, normalised.

        Centring, gamma and beta are linear. The standard deviation is not: every row is divided by that of the pooled
        feature, which rules for relevance hold constant (Ali et al. 2022, "XAI for Transformers", section 4.2).
        """
        deviation = np.sqrt(pooled.var(dtype=np.float64) + self.epsilon)
        centred = rows - rows.mean(axis=1, keepdims=True)
        return np.asarray(centred * (self.gamma / deviation).astype(np.float32) + self.beta)


def shares_of_maximum(layer: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Where each channel of a feature map [h, w, C] is largest: its share of the maximum at each position, times the
    number of positions, so that the mean over them is 1. Positions with equal values share alike."""
    largest = layer == layer.max(axis=(0, 1))
    return np.asarray(largest * (largest[..., 0].size / largest.sum(axis=(0, 1))), np.float32)


def features_by_position(
    last: "NDArray[np.float32]", pooling: Pooling, normalization: Normalization | None = None
) -> "NDArray[np.float32]":
    """The features that each position would give alone; their mean over positions is the image's feature.

    Args:
        last: a feature map, [h, w, D].
        pooling: with ``max``, a position has the channels that are largest there (:func:`shares_of_maximum`).
        normalization: applied to the pooled feature.

    Returns:
        float32 [h, w, D].
    """
    if pooling == "max":
        last = last * shares_of_maximum(last)
    rows = last.reshape(-1, last.shape[2])
    if normalization is not None:
        rows = normalization.distribute(rows.mean(axis=0, dtype=np.float64).astype(np.float32), rows)
    return rows.reshape(last.shape)


@dataclass(frozen=True)
class FeatureMaps:
    """The feature maps of one image."""

    blocks: Blocks
    """What they are pooled to."""
    tiles: "tuple[Mapping[str, NDArray[np.float32]], ...]"
    """Of each tile the maps by their names (:attr:`~tlcli.backbones.blocks.Block.map_name`), [h, w, C]. An image
    that is not divided is one tile."""
    normalization: Normalization | None = None
    """Behind the pooling of the last layer."""

    def positions(self, block: Block) -> "list[NDArray[np.float32]]":
        """Of each tile the features that its positions would give alone in this block, [h, w, C]; their mean over
        positions and tiles is the image's feature."""
        norm = self.normalization if block.layer == LAST else None
        found = [features_by_position(tile[block.map_name], block.pooling, norm) for tile in self.tiles]
        if block.pooling == "max" and len(found) > 1:
            of_tiles = np.stack([one.mean(axis=(0, 1)) for one in found])  # [T, C]
            shares = shares_of_maximum(of_tiles[:, np.newaxis])[:, 0]
            found = [one * share for one, share in zip(found, shares, strict=True)]
        return found

    def shares(self, block: Block) -> "list[NDArray[np.float32]]":
        """Of each tile where the channels of a maximum come from (:func:`shares_of_maximum`), [h, w, C]; their mean
        over positions and tiles is 1."""
        layers = [tile[block.map_name] for tile in self.tiles]
        of_tiles = np.stack([one.max(axis=(0, 1)) for one in layers])[:, np.newaxis]  # [T, 1, C]
        return [shares_of_maximum(one) * share for one, share in zip(layers, shares_of_maximum(of_tiles), strict=True)]

    def features(self) -> "NDArray[np.float32]":
        """The features that they are pooled to, float32 [W]."""
        means = [np.mean([one.mean(axis=(0, 1), dtype=np.float64) for one in self.positions(block)], axis=0)
                 for block in self.blocks.all]  # fmt: skip
        return np.concatenate(means).astype(np.float32)
