"""Class activation maps: which positions of an image speak for a class (Zhou et al. 2016, "Learning Deep Features for
Discriminative Localization"), summed over the layers that the head takes.

Shapes: T tiles; h, w positions of a layer's map, C its channels; G, H positions of the result; U output units.
"""

from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.blocks import Blocks
from tlcli.engines.feature_maps import FeatureMaps
from tlcli.heads.head import Head

if TYPE_CHECKING:
    from numpy.typing import NDArray


def activation_map(maps: FeatureMaps, head: Head, inputs: Blocks, label: int) -> "NDArray[np.float64]":
    """The evidence for a class at each position: above 0 it speaks for the class, below 0 against it.

    The log odds ln(p / (1 - p)) of the class are a sum over blocks and positions, linearised where there are more than
    two classes (:meth:`~tlcli.heads.task.Task.log_odds`): of an average every position contributes its own value, of a
    maximum the position that has it. Each layer's contributions are spread over the positions of the finest layer
    (:func:`spread`) and summed; what belongs to no position, the bias, is shared among all.

    Args:
        maps: the image's feature maps.
        head: the classifier.
        inputs: the blocks that it takes, in the order of its weights.
        label: number of the class.

    Returns:
        [G, H], in units of log odds (natural logarithm). The mean over positions is exactly the image's own log odds of
        the class before calibration.
    """
    features = maps.blocks.take(maps.features(), inputs)
    direction, constant = head.task.log_odds(head.logits(features[None])[0], label)
    weights = head.weights.astype(np.float64) @ direction  # [D]
    shapes = [maps.tiles[0][block.map_name].shape[:2] for block in inputs.all]
    grid = max(height for height, _ in shapes), max(width for _, width in shapes)
    total = np.full(grid, constant + float(head.bias @ direction))
    for block, place in zip(inputs.all, inputs.slices, strict=True):
        (positions,) = maps.positions(block)
        total += spread(positions @ weights[place], grid)
    return total


def spread(values: "NDArray[np.floating]", grid: tuple[int, int]) -> "NDArray[np.float64]":
    """Values at the positions of a coarse map [h, w] -> on a finer grid [G, H], with the same mean: each is spread over
    its surroundings by linear interpolation."""
    rows, columns = (_weights(coarse, fine) for coarse, fine in zip(values.shape, grid, strict=True))
    return np.asarray(rows @ values @ columns.T)


def _weights(coarse: int, fine: int) -> "NDArray[np.float64]":
    """[fine, coarse]: how much of a coarse position's value each fine position gets; columns sum to fine / coarse."""
    centres = (np.arange(fine) + 0.5) * coarse / fine - 0.5  # of the fine positions, in coarse ones
    tents = np.maximum(0, 1 - np.abs(centres[:, None].clip(0, coarse - 1) - np.arange(coarse)))
    return np.asarray(tents * (fine / coarse / tents.sum(axis=0)))
