"""Evidence of images that are cut into tiles: exact, and at its place on the canvas."""

import numpy as np
import pytest
from scipy.special import logit

from tlcli.backbones.blocks import Blocks, blocks_of
from tlcli.engines.feature_maps import FeatureMaps
from tlcli.evaluation.activation_map import activation_map
from tlcli.heads.head import Head
from tlcli.heads.task import Task
from tlcli.images.tiles import Size, TileBox, tile_boxes

TILE = (40, 64)
BLOCKS = blocks_of((3,), 5)
"""A layer of 10 x 16 positions, and a last one of 3 x 4."""


def maps_of(boxes: list[TileBox], seed: int = 0) -> FeatureMaps:
    random = np.random.default_rng(seed)
    return FeatureMaps(
        BLOCKS,
        tuple(
            {
                "stage1": random.normal(size=(10, 16, 3)).astype(np.float32),
                "last": random.normal(size=(3, 4, 5)).astype(np.float32),
            }
            for _ in boxes
        ),
    )


def head_of(classes: int, inputs: Blocks) -> Head:
    random, units = np.random.default_rng(1), Task(tuple(map(str, range(classes)))).units
    return Head(random.normal(size=(inputs.width, units)).astype(np.float32), np.ones(units, np.float32))


@pytest.mark.parametrize("canvas", [(40, 64), (41, 64), (75, 120), (200, 199), (90, 512)])
@pytest.mark.parametrize(
    "inputs", [BLOCKS, BLOCKS.last, BLOCKS.named(["stage1.max"])], ids=lambda one: "+".join(one.names)
)
@pytest.mark.parametrize("classes", [2, 5])
def test_the_mean_over_positions_is_the_log_odds(canvas: Size, inputs: Blocks, classes: int) -> None:
    boxes = tile_boxes(canvas, TILE)
    maps, head = maps_of(boxes), head_of(classes, inputs)
    (probabilities,) = head.probabilities(BLOCKS.take(BLOCKS.rounded(maps.features())[None], inputs))
    for label in range(classes):
        found = activation_map(maps, head, inputs, label, boxes)
        assert found.mean() == pytest.approx(logit(probabilities[label]), abs=1e-4)


def test_features_of_tiles_are_combined_by_hand() -> None:
    maps = maps_of(tile_boxes((75, 120), TILE))
    each = [FeatureMaps(BLOCKS, (tile,)).features() for tile in maps.tiles]
    assert maps.features() == pytest.approx(BLOCKS.over_tiles(each), abs=1e-5)


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("number", [0, 5, 11])
def test_evidence_is_where_its_tile_lies(pooling: str, number: int) -> None:
    canvas = (110, 232)
    boxes = tile_boxes(canvas, TILE)
    tiles = tuple({"stage1": np.zeros((10, 16, 3), np.float32), "last": np.zeros((3, 4, 5), np.float32)} for _ in boxes)
    tiles[number]["stage1"][7, 3, 1] = 1
    inputs = BLOCKS.named([f"stage1.{pooling}"])
    head = Head(np.ones((3, 1), np.float32), np.zeros(1, np.float32))
    found = activation_map(FeatureMaps(BLOCKS, tiles), head, inputs, 1, boxes)
    row, column = np.unravel_index(found.argmax(), found.shape)
    left, top, _, _ = boxes[number]
    y, x = (row + 0.5) * canvas[0] / found.shape[0], (column + 0.5) * canvas[1] / found.shape[1]
    assert (y, x) == pytest.approx((top + 7.5 * 4, left + 3.5 * 4), abs=4)
