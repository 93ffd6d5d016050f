from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.special import logit

from tlcli.backbones.blocks import Block, Blocks, one_block
from tlcli.engines.feature_maps import FeatureMaps
from tlcli.evaluation.activation_map import FINEST, activation_map, spread
from tlcli.heads.head import Head
from tlcli.heads.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

ONE = one_block(12)
SEVERAL = Blocks(
    (Block("stage1", "avg", 3), Block("stage1", "max", 3), Block("stage2", "max", 5), Block("last", "avg", 4))
)  # fmt: skip


def drawn(*shape: int, seed: int = 0) -> "NDArray[np.float32]":
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def of_last(last: "NDArray[np.float32]") -> FeatureMaps:
    return FeatureMaps(one_block(last.shape[2]), ({"last": last},))


def several(first: tuple[int, int] = (12, 9), second: tuple[int, int] = (5, 4)) -> FeatureMaps:
    maps = {"stage1": drawn(*first, 3, seed=3), "stage2": drawn(*second, 5, seed=4), "last": drawn(2, 2, 4, seed=5)}
    return FeatureMaps(SEVERAL, (maps,))


def head(classes: int, width: int = 12) -> Head:
    units = Task(tuple(str(number) for number in range(classes))).units
    return Head(drawn(width, units, seed=1), drawn(units, seed=2))


@pytest.mark.parametrize("classes", [2, 3, 7, 1000])
@pytest.mark.parametrize("label", [0, 1, -1])
def test_the_mean_is_the_log_odds_of_the_label(classes: int, label: int) -> None:
    label %= classes
    maps = drawn(5, 4, 12)
    (probabilities,) = head(classes).probabilities(maps.mean(axis=(0, 1), dtype=np.float64)[None].astype(np.float32))
    found = activation_map(of_last(maps), head(classes), ONE, label)
    assert found.shape == (30, 28)
    assert found.mean() == pytest.approx(logit(probabilities[label]), abs=1e-5)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("second", [(5, 4), (6, 3)])
@pytest.mark.parametrize("names", [SEVERAL.names, ("stage1.max",), ("stage2.max", "last.avg"), ("stage1.avg",)])
def test_the_mean_is_the_log_odds_with_several_layers(
    classes: int, second: tuple[int, int], names: tuple[str, ...]
) -> None:
    maps, inputs = several(second=second), SEVERAL.named(names)
    fitted = head(classes, inputs.width)
    fitted = replace(fitted, typical=drawn(inputs.width, seed=8))
    features = SEVERAL.take(SEVERAL.rounded(maps.features()), inputs)  # as the store has them
    (probabilities,) = fitted.probabilities(features[None])
    for label in range(classes):
        found = activation_map(maps, fitted, inputs, label)
        assert found.mean() == pytest.approx(logit(probabilities[label]), abs=1e-5)
    layers = [maps.tiles[0][layer].shape[:2] for layer in inputs.layers]
    assert all(side % finest == 0 and side >= FINEST for side, finest in zip(found.shape, max(layers), strict=True))


def of_maxima(typical: float) -> "NDArray[np.float64]":
    """Two channels: 5 at (1, 2), weight 1; 1 at (3, 0), weight -2."""
    layer = np.zeros((4, 4, 2), np.float32)
    layer[1, 2, 0], layer[3, 0, 1] = 5, 1
    maps = FeatureMaps(Blocks((Block("last", "max", 2),)), ({"last": layer},))
    head = Head(np.array([[1.0], [-2.0]], np.float32), np.zeros(1, np.float32), typical=np.full(2, typical, np.float32))
    return activation_map(maps, head, maps.blocks, 1)


def test_a_maximum_counts_where_it_is() -> None:
    found = of_maxima(0)
    assert found.mean() == pytest.approx(5 - 2)
    by_position = found.reshape(4, 7, 4, 7).mean(axis=(1, 3))
    assert np.unravel_index(by_position.argmax(), (4, 4)) == (1, 2)
    assert np.unravel_index(by_position.argmin(), (4, 4)) == (3, 0)


def test_a_maximum_counts_by_what_it_is_more_than_usual_and_what_is_lacking_is_nowhere() -> None:
    found = of_maxima(2)
    assert found.mean() == pytest.approx(5 - 2)
    place = np.zeros((4, 4))
    place[1, 2] = 16 * (5 - 2)
    assert found == pytest.approx(spread(place, (28, 28)) + (2 - 2))
    assert np.ptp(of_maxima(6)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("coarse", [(1, 1), (2, 3), (7, 7)])
@pytest.mark.parametrize("fine", [(7, 7), (14, 9), (56, 112)])
def test_spreading_keeps_the_mean_and_the_place(coarse: tuple[int, int], fine: tuple[int, int]) -> None:
    values = drawn(*coarse).astype(np.float64)
    found = spread(values, fine)
    assert found.shape == fine
    assert found.mean() == pytest.approx(values.mean(), abs=1e-12)
    assert spread(np.ones(coarse), fine) == pytest.approx(1, abs=1e-2)
    one = np.zeros(coarse)
    one[0, -1] = 1
    heat = spread(one, fine)
    assert heat[0, -1] == pytest.approx(heat.max(), rel=1e-3)
    assert heat.max() < 0.5 * np.prod(coarse) or coarse == (1, 1)  # no dot


def test_with_two_classes_it_is_the_log_odds_of_each_position_spread() -> None:
    maps = drawn(3, 3, 12)
    of_positions = head(2).probabilities(maps.reshape(9, 12))
    for label in (0, 1):
        found = activation_map(of_last(maps), head(2), ONE, label)
        assert found == pytest.approx(spread(logit(of_positions[:, label]).reshape(3, 3), found.shape), abs=1e-5)
    other = activation_map(of_last(maps), head(2), ONE, 0)
    assert other == pytest.approx(-activation_map(of_last(maps), head(2), ONE, 1))


def test_with_more_it_is_the_tangent_of_the_log_odds() -> None:
    """Moving the image's feature towards a position's changes its log odds by the value of the map."""
    maps, classes = drawn(2, 3, 12), 5
    centre = maps.mean(axis=(0, 1), dtype=np.float64)

    def log_odds(feature: Any) -> float:
        return float(logit(head(classes).probabilities(feature[None])[0, 3]))

    slopes, step = np.zeros((2, 3)), 1e-5
    for place in np.ndindex(2, 3):
        toward = (maps[place] - centre) * step
        slopes[place] = (log_odds(centre + toward) - log_odds(centre - toward)) / (2 * step)
    found = activation_map(of_last(maps), head(classes), ONE, 3)
    assert found == pytest.approx(spread(slopes + log_odds(centre), found.shape), abs=1e-4)


def test_a_rival_without_probability_changes_nothing() -> None:
    weights = np.concatenate([np.eye(3), np.zeros((3, 1))], axis=1).astype(np.float32)
    maps = of_last(np.abs(drawn(4, 4, 3)))
    with_it = activation_map(maps, Head(weights, np.array([0, 0, 0, -50], np.float32)), maps.blocks, 1)
    without = activation_map(maps, Head(weights[:, :3], np.zeros(3, np.float32)), maps.blocks, 1)
    assert with_it == pytest.approx(without, abs=1e-12)


def test_evidence_is_where_the_features_are() -> None:
    maps = np.zeros((4, 6, 2), np.float32)
    maps[:, :3, 0], maps[:, 3:, 1] = 1, 1
    fitted = Head(np.array([[-2.0], [3.0]], np.float32), np.zeros(1, np.float32))
    found = activation_map(of_last(maps), fitted, one_block(2), 1)
    sixth = found.shape[1] // 6
    assert found[:, :sixth] == pytest.approx(-2, abs=0.3)
    assert found[:, -sixth:] == pytest.approx(3, abs=0.3)
    assert np.ptp(found, axis=0) == pytest.approx(0, abs=1e-5)
