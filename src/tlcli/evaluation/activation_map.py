"""Class activation maps: which positions of an image speak for a class (Zhou et al. 2016, "Learning Deep Features for
Discriminative Localization"), summed over the layers that the head takes.

Shapes: T tiles; h, w positions of a layer's map, C its channels; G, H positions of the result; U output units.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.blocks import Blocks
from tlcli.engines.feature_maps import FeatureMaps
from tlcli.heads.head import Head
from tlcli.images.tiles import TileBox

if TYPE_CHECKING:
    from numpy.typing import NDArray


def activation_map(
    maps: FeatureMaps, head: Head, inputs: Blocks, label: int, boxes: Sequence[TileBox] = ()
) -> "NDArray[np.float64]":
    """The evidence for a class at each position: above 0 it speaks for the class, below 0 against it.

    The log odds ln(p / (1 - p)) of the class are a sum over blocks and positions, linearised where there are more than
    two classes (:meth:`~tlcli.heads.task.Task.log_odds`): of an average every position contributes its own value, of a
    maximum the position that has it. Each layer's contributions are spread over the positions of the finest layer
    (:func:`spread`) and summed; what belongs to no position, the bias, is shared among all. Of
    several tiles each has its place on the map; where they overlap, their contributions add up.

    Args:
        maps: the image's feature maps.
        head: the classifier.
        inputs: the blocks that it takes, in the order of its weights.
        label: number of the class.
        boxes: where the tiles lie on their canvas; not needed of one tile.

    Returns:
        [G, H], in units of log odds (natural logarithm). The mean over positions is exactly the image's own log odds of
        the class before calibration.
    """
    features = maps.blocks.take(maps.features(), inputs)
    direction, constant = head.task.log_odds(head.logits(features[None])[0], label)
    weights = head.weights.astype(np.float64) @ direction  # [D]
    shapes = [maps.tiles[0][block.map_name].shape[:2] for block in inputs.all]
    finest = max(height for height, _ in shapes), max(width for _, width in shapes)
    if len(maps.tiles) == 1:
        boxes = [(0, 0, finest[1], finest[0])]
    down = [(top, bottom) for _, top, _, bottom in boxes]
    across = [(left, right) for left, _, right, _ in boxes]
    # A position of the result is no larger than one of the finest layer, so that each of those has a place.
    grid = _positions(down, finest[0]), _positions(across, finest[1])
    places = list(zip(_on_grid(down, grid[0]), _on_grid(across, grid[1]), strict=True))
    total = np.full(grid, constant + float(head.bias @ direction))
    for block, place in zip(inputs.all, inputs.slices, strict=True):
        for positions, tile in zip(maps.positions(block), places, strict=True):
            total += spread(positions @ weights[place], grid, tile) / len(maps.tiles)
    return total


Span = tuple[float, float]
"""Begin and end of a tile along an axis."""


def _positions(spans: Sequence[Span], finest: int) -> int:
    """How many positions of the result lie along an axis of the canvas."""
    begin, end = spans[0]
    return math.ceil(max(end for _, end in spans) * finest / (end - begin))


def _on_grid(spans: Sequence[Span], positions: int) -> list[Span]:
    """Spans on the canvas, in positions of the result."""
    length = max(end for _, end in spans)
    return [(begin * positions / length, end * positions / length) for begin, end in spans]


def spread(
    values: "NDArray[np.floating]", grid: tuple[int, int], tile: tuple[Span, Span] | None = None
) -> "NDArray[np.float64]":
    """Values at the positions of a coarse map [h, w] -> on a finer grid [G, H], with the same mean: each is spread over
    its surroundings by linear interpolation.

    Args:
        values: of the map.
        grid: G and H.
        tile: the part of the grid that the map covers, down and across; None is all of it.
    """
    spans = tile or ((0, grid[0]), (0, grid[1]))
    rows, columns = (_weights(coarse, fine, span) for coarse, fine, span in zip(values.shape, grid, spans, strict=True))
    return np.asarray(rows @ values @ columns.T)


def _weights(coarse: int, fine: int, span: Span) -> "NDArray[np.float64]":
    """[fine, coarse]: how much of a coarse position's value each fine position gets; columns sum to fine / coarse."""
    begin, end = span
    centres = (np.arange(fine) + 0.5 - begin) * coarse / (end - begin) - 0.5  # of the fine positions, in coarse ones
    tents = np.maximum(0, 1 - np.abs(centres[:, None].clip(0, coarse - 1) - np.arange(coarse)))
    tents[(centres < -0.5) | (centres > coarse - 0.5)] = 0  # outside the tile
    return np.asarray(tents * (fine / coarse / tents.sum(axis=0)))
