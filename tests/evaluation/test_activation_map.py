from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.special import logit

from tlcli.backbones.blocks import LAST, Blocks, Pooling, blocks_of, one_block
from tlcli.engines.feature_maps import FeatureMaps, Normalization
from tlcli.evaluation.activation_map import activation_map, spread
from tlcli.heads.head import Head
from tlcli.heads.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray


def drawn(*shape: int, seed: int = 0) -> "NDArray[np.float32]":
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def of_last(last: "NDArray[np.float32]") -> FeatureMaps:
    """The map [h, w, D] of a network of one layer."""
    return FeatureMaps(one_block(last.shape[2]), ({LAST: last},))


def head(classes: int, width: int = 12) -> Head:
    units = Task(tuple(str(number) for number in range(classes))).units
    return Head(drawn(width, units, seed=1), drawn(units, seed=2))


@pytest.mark.parametrize("classes", [2, 3, 7, 1000])
@pytest.mark.parametrize("label", [0, 1, -1])
def test_the_mean_is_the_log_odds_of_the_label(classes: int, label: int) -> None:
    label %= classes
    maps = drawn(5, 4, 12)
    (probabilities,) = head(classes).probabilities(maps.mean(axis=(0, 1), dtype=np.float64)[None].astype(np.float32))
    found = activation_map(of_last(maps), head(classes), one_block(maps.shape[2]), label)
    assert found.shape == (5, 4)
    assert found.mean() == pytest.approx(logit(probabilities[label]), abs=1e-5)


def test_with_two_classes_it_is_the_log_odds_of_each_position() -> None:
    maps = drawn(3, 3, 12)
    of_positions = head(2).probabilities(maps.reshape(9, 12))
    for label in (0, 1):
        assert activation_map(of_last(maps), head(2), one_block(maps.shape[2]), label).ravel() == pytest.approx(
            logit(of_positions[:, label]), abs=1e-5
        )
    assert np.array_equal(
        activation_map(of_last(maps), head(2), one_block(maps.shape[2]), 0),
        -activation_map(of_last(maps), head(2), one_block(maps.shape[2]), 1),
    )


def test_with_more_it_is_the_tangent_of_the_log_odds() -> None:
    """Moving the image's feature towards a position's changes its log odds by the value of the map."""
    maps, classes = drawn(2, 3, 12), 5
    centre = maps.mean(axis=(0, 1), dtype=np.float64)

    def log_odds(feature: Any) -> float:
        return float(logit(head(classes).probabilities(feature[None])[0, 3]))

    found, step = activation_map(of_last(maps), head(classes), one_block(maps.shape[2]), 3), 1e-5
    for place in np.ndindex(2, 3):
        toward = (maps[place] - centre) * step
        slope = (log_odds(centre + toward) - log_odds(centre - toward)) / (2 * step)
        assert slope == pytest.approx(found[place] - log_odds(centre), abs=1e-5)


def test_a_rival_without_probability_changes_nothing() -> None:
    weights = np.concatenate([np.eye(3), np.zeros((3, 1))], axis=1).astype(np.float32)
    maps = np.abs(drawn(4, 4, 3))
    with_it = Head(weights, np.array([0, 0, 0, -50], np.float32))
    without = Head(weights[:, :3], np.zeros(3, np.float32))
    assert activation_map(of_last(maps), with_it, one_block(maps.shape[2]), 1) == pytest.approx(
        activation_map(of_last(maps), without, one_block(maps.shape[2]), 1), abs=1e-12
    )


def test_evidence_is_where_the_features_are() -> None:
    maps = np.zeros((4, 6, 2), np.float32)
    maps[:, :3, 0], maps[:, 3:, 1] = 1, 1
    found = activation_map(
        of_last(maps), Head(np.array([[-2.0], [3.0]], np.float32), np.zeros(1, np.float32)), one_block(2), 1
    )
    assert (found[:, :3] == -2).all()
    assert (found[:, 3:] == 3).all()


# Layers

LAYERS = blocks_of((6, 8), 12)
POOLINGS: list[tuple[Pooling, ...]] = [("avg",), ("max",), ("avg", "max")]


def of_layers(normalization: Normalization | None = None) -> FeatureMaps:
    """Maps of other sizes in every layer, as a network of strides has them; the sizes of one do not divide another's."""
    shapes = {"stage1": (11, 8, 6), "stage2": (5, 4, 8), "last": (3, 2, 12)}
    tile = {layer: drawn(*shape, seed=number) for number, (layer, shape) in enumerate(shapes.items())}
    return FeatureMaps(LAYERS, (tile,), normalization)


@pytest.mark.parametrize("layers", [("last",), ("stage1", "last"), LAYERS.layers], ids=len)
@pytest.mark.parametrize("poolings", POOLINGS, ids="_".join)
@pytest.mark.parametrize("classes", [2, 5])
def test_the_mean_over_all_layers_is_the_log_odds(
    classes: int, poolings: tuple[Pooling, ...], layers: tuple[str, ...]
) -> None:
    norm = Normalization(drawn(12, seed=7), drawn(12, seed=8), 1e-6)
    inputs = LAYERS.select(layers, poolings)
    fitted = head(classes, inputs.width)
    for maps in (of_layers(), of_layers(norm)):
        (probabilities,) = fitted.probabilities(LAYERS.take(maps.features(), inputs)[None])
        for label in range(classes):
            found = activation_map(maps, fitted, inputs, label)
            assert found.shape == maps.tiles[0][layers[0]].shape[:2]  # of the finest layer
            assert found.mean() == pytest.approx(logit(probabilities[label]), abs=1e-4)


def test_evidence_of_a_maximum_is_where_it_is_in_its_layer() -> None:
    blocks = blocks_of((1,), 1)
    early, last = np.zeros((8, 8, 1), np.float32), np.zeros((2, 2, 1), np.float32)
    early[6, 1] = last[0, 1] = 4
    maps = FeatureMaps(blocks, ({"stage1": early, LAST: last},))
    weights = np.ones((1, 1), np.float32)

    def found(inputs: Blocks) -> "NDArray[np.float64]":
        return activation_map(maps, Head(weights, np.zeros(1, np.float32)), inputs, 1)

    of_early = found(blocks.named(["stage1.max"]))
    assert of_early[6, 1] == of_early.sum() == 64 * 4
    of_last = found(blocks.named(["last.max"]))
    assert of_last.shape == (2, 2)
    assert of_last[0, 1] == of_last.sum() == 4 * 4


@pytest.mark.parametrize("grid", [(6, 8), (7, 9), (3, 4), (13, 4), (112, 113)])
def test_spreading_keeps_the_mean_and_the_sign(grid: tuple[int, int]) -> None:
    values = drawn(3, 4)
    found = spread(values, grid)
    assert found.shape == grid
    assert found.mean() == pytest.approx(values.mean(), abs=1e-6)
    assert (spread(np.abs(values), grid) >= 0).all()


def test_spreading_keeps_places() -> None:
    values = np.zeros((4, 4), np.float32)
    values[1, 2] = 1
    found = spread(values, (16, 12))
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert (row // 4, column // 3) == (1, 2)
    assert np.array_equal(spread(values, (4, 4)), values)
