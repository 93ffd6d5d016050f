from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.special import logit

from tlcli.evaluation.activation_map import activation_map
from tlcli.heads.head import Head
from tlcli.heads.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray


def drawn(*shape: int, seed: int = 0) -> "NDArray[np.float32]":
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def head(classes: int, width: int = 12) -> Head:
    units = Task(tuple(str(number) for number in range(classes))).units
    return Head(drawn(width, units, seed=1), drawn(units, seed=2))


@pytest.mark.parametrize("classes", [2, 3, 7, 1000])
@pytest.mark.parametrize("label", [0, 1, -1])
def test_the_mean_is_the_log_odds_of_the_label(classes: int, label: int) -> None:
    label %= classes
    maps = drawn(5, 4, 12)
    (probabilities,) = head(classes).probabilities(maps.mean(axis=(0, 1), dtype=np.float64)[None].astype(np.float32))
    found = activation_map(maps, head(classes), label)
    assert found.shape == (5, 4)
    assert found.mean() == pytest.approx(logit(probabilities[label]), abs=1e-5)


def test_with_two_classes_it_is_the_log_odds_of_each_position() -> None:
    maps = drawn(3, 3, 12)
    of_positions = head(2).probabilities(maps.reshape(9, 12))
    for label in (0, 1):
        assert activation_map(maps, head(2), label).ravel() == pytest.approx(logit(of_positions[:, label]), abs=1e-5)
    assert np.array_equal(activation_map(maps, head(2), 0), -activation_map(maps, head(2), 1))


def test_with_more_it_is_the_tangent_of_the_log_odds() -> None:
    """Moving the image's feature towards a position's changes its log odds by the value of the map."""
    maps, classes = drawn(2, 3, 12), 5
    centre = maps.mean(axis=(0, 1), dtype=np.float64)

    def log_odds(feature: Any) -> float:
        return float(logit(head(classes).probabilities(feature[None])[0, 3]))

    found, step = activation_map(maps, head(classes), 3), 1e-5
    for place in np.ndindex(2, 3):
        toward = (maps[place] - centre) * step
        slope = (log_odds(centre + toward) - log_odds(centre - toward)) / (2 * step)
        assert slope == pytest.approx(found[place] - log_odds(centre), abs=1e-5)


def test_a_rival_without_probability_changes_nothing() -> None:
    weights = np.concatenate([np.eye(3), np.zeros((3, 1))], axis=1).astype(np.float32)
    maps = np.abs(drawn(4, 4, 3))
    with_it = Head(weights, np.array([0, 0, 0, -50], np.float32))
    without = Head(weights[:, :3], np.zeros(3, np.float32))
    assert activation_map(maps, with_it, 1) == pytest.approx(activation_map(maps, without, 1), abs=1e-12)


def test_evidence_is_where_the_features_are() -> None:
    maps = np.zeros((4, 6, 2), np.float32)
    maps[:, :3, 0], maps[:, 3:, 1] = 1, 1
    found = activation_map(maps, Head(np.array([[-2.0], [3.0]], np.float32), np.zeros(1, np.float32)), 1)
    assert (found[:, :3] == -2).all()
    assert (found[:, 3:] == 3).all()
