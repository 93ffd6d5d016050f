"""Class activation maps: which parts of an image speak for a class (Zhou et al. 2016, "Learning Deep Features for
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

FINEST = 28
"""Into how many parts a side of the network's input is divided at least: no position of a coarse layer is drawn as a
square, and none of a fine layer as a dot (bench/explanations.py compares)."""


def activation_map(
    maps: FeatureMaps, head: Head, inputs: Blocks, label: int, boxes: Sequence[TileBox] = ()
) -> "NDArray[np.float64]":
    """The evidence for a class in each part of an image: above 0 it speaks for the class, below 0 against it.

    The log odds ln(p / (1 - p)) of the class are a sum over blocks and positions, linearised where there are more than
    two classes (:meth:`~tlcli.heads.task.Task.log_odds`):

    - of an average every position contributes its own value;
    - of a maximum the position that has it contributes by how much it exceeds the maximum of a typical training image
      (``head.typical``): that it stands out is there. What a typical image has, too, and what the image lacks of it,
      has no place.

    A position stands for the part of the image that its layer sees there, so its contribution is spread by a Gaussian
    of the distance between its layer's positions (:func:`spread`). What has no place is shared among all, as is the
    bias. Of several tiles each has its place on the map; where they overlap, their contributions add up.

    Args:
        maps: the image's feature maps.
        head: the classifier.
        inputs: the blocks that it takes, in the order of its weights.
        label: number of the class.
        boxes: where the tiles lie on their canvas; not needed of one tile.

    Returns:
        [G, H], in units of log odds (natural logarithm). The mean over positions is exactly the log odds of the class
        before calibration that the head gives for the image's features, rounded as they are stored.
    """
    features = maps.blocks.take(maps.blocks.rounded(maps.features()), inputs)
    logits = head.logits(features[None])[0]
    direction, constant = head.task.log_odds(logits, label)
    weights = head.weights.astype(np.float64) @ direction  # [D]
    typical = np.zeros(len(weights)) if head.typical is None else head.typical
    excess = np.maximum(features - typical, 0) * weights  # [D]
    grid, places = _grid(maps, inputs, boxes)
    total = np.zeros(grid)
    for block, place in zip(inputs.all, inputs.slices, strict=True):
        if block.pooling == "max":
            contributions = [shares @ excess[place] for shares in maps.shares(block)]
        else:
            contributions = [positions @ weights[place] for positions in maps.positions(block)]
        for values, tile in zip(contributions, places, strict=True):
            total += spread(values, grid, tile) / len(maps.tiles)
    return np.asarray(total - total.mean() + (constant + float(logits @ direction)))


Span = tuple[float, float]
"""Begin and end of a tile along an axis."""


def _grid(
    maps: FeatureMaps, inputs: Blocks, boxes: Sequence[TileBox]
) -> tuple[tuple[int, int], list[tuple[Span, Span]]]:
    """G and H, and where each tile lies on that grid."""
    shapes = [maps.tiles[0][block.map_name].shape[:2] for block in inputs.all]
    finest = _finest(max(height for height, _ in shapes)), _finest(max(width for _, width in shapes))
    if len(maps.tiles) == 1:
        boxes = [(0, 0, finest[1], finest[0])]
    down = [(top, bottom) for _, top, _, bottom in boxes]
    across = [(left, right) for left, _, right, _ in boxes]
    # A position of the result is no larger than one of the finest layer, so that each of those has a place.
    grid = _positions(down, finest[0]), _positions(across, finest[1])
    return grid, list(zip(_on_grid(down, grid[0]), _on_grid(across, grid[1]), strict=True))


def _finest(positions: int) -> int:
    """Positions of the result along a side of a tile whose finest layer has so many: a multiple of them."""
    return positions * math.ceil(FINEST / positions)


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
    """Values at the positions of a map [h, w] -> on a finer grid [G, H], with the same mean: each is spread over its
    surroundings by a Gaussian whose standard deviation is the distance between positions, and 1 / :data:`FINEST` of the
    map at least. The map's borders reflect, so that equal values stay equal.

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
    at = (np.arange(fine) + 0.5 - begin) / (end - begin)  # centres of the fine positions: 0 to 1 within the tile
    centres = (np.arange(coarse) + 0.5) / coarse
    sigma = max(1 / coarse, 1 / FINEST)
    mirrored = [2 * times + sign * centres for times in range(-2, 3) for sign in (1, -1)]
    bells = np.sum([np.exp(-0.5 * ((at[:, None] - each) / sigma) ** 2) for each in mirrored], axis=0)
    bells[(at < 0) | (at > 1)] = 0  # outside the tile
    return np.asarray(bells * (fine / coarse / bells.sum(axis=0)))
