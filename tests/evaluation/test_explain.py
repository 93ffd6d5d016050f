from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logit
from tlcli.evaluation.explain import heat, nearest

from tlcli.evaluation import explain
from tlcli.heads.head import Head

if TYPE_CHECKING:
    from numpy.typing import NDArray


def drawn(*shape: int, seed: int = 0) -> "NDArray[np.float32]":
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def head(classes: int, width: int = 12) -> Head:
    units = 1 if classes == 2 else classes
    return Head(drawn(width, units, seed=1), drawn(units, seed=2))


@pytest.mark.parametrize("classes", [2, 3, 7, 1000])
@pytest.mark.parametrize("label", [0, 1, -1])
def test_the_mean_of_the_heat_is_the_log_odds_of_the_label(classes: int, label: int) -> None:
    label %= classes
    maps = drawn(5, 4, 12)
    (probabilities,) = head(classes).probabilities(maps.mean(axis=(0, 1), dtype=np.float64)[None].astype(np.float32))
    found = heat(maps, head(classes), label)
    assert found.shape == (5, 4)
    assert found.mean() == pytest.approx(logit(probabilities[label]), abs=1e-5)


def test_with_two_classes_it_is_what_the_head_says_to_each_position() -> None:
    maps = drawn(3, 3, 12)
    of_positions = head(2).probabilities(maps.reshape(9, 12))
    for label in (0, 1):
        assert heat(maps, head(2), label).ravel() == pytest.approx(logit(of_positions[:, label]), abs=1e-5)
    assert np.array_equal(heat(maps, head(2), 0), -heat(maps, head(2), 1))


def test_with_more_it_is_the_tangent_of_the_log_odds() -> None:
    """Moving the image's feature towards a position's changes its log odds by what the heat says."""
    maps, classes = drawn(2, 3, 12), 5
    centre = maps.mean(axis=(0, 1), dtype=np.float64)

    def log_odds(feature: Any) -> float:
        return float(logit(head(classes).probabilities(feature[None])[0, 3]))

    found, step = heat(maps, head(classes), 3), 1e-5
    for place in np.ndindex(2, 3):
        toward = (maps[place] - centre) * step
        slope = (log_odds(centre + toward) - log_odds(centre - toward)) / (2 * step)
        assert slope == pytest.approx(found[place] - log_odds(centre), abs=1e-5)


def test_a_rival_that_is_out_of_the_question_changes_nothing() -> None:
    weights = np.concatenate([np.eye(3), np.zeros((3, 1))], axis=1).astype(np.float32)
    maps = np.abs(drawn(4, 4, 3))
    with_it = Head(weights, np.array([0, 0, 0, -50], np.float32))
    without = Head(weights[:, :3], np.zeros(3, np.float32))
    assert heat(maps, with_it, 1) == pytest.approx(heat(maps, without, 1), abs=1e-12)


def test_evidence_lies_where_the_features_are() -> None:
    maps = np.zeros((4, 6, 2), np.float32)
    maps[:, :3, 0], maps[:, 3:, 1] = 1, 1
    found = heat(maps, Head(np.array([[-2.0], [3.0]], np.float32), np.zeros(1, np.float32)), 1)
    assert (found[:, :3] == -2).all()
    assert (found[:, 3:] == 3).all()


@pytest.mark.parametrize(("n", "m", "k"), [(1, 1, 1), (7, 30, 5), (40, 200, 1), (3, 4, 9), (2, 5, 0), (0, 5, 2)])
@pytest.mark.parametrize("block", [1, 100, 1 << 24])
def test_neighbours_are_those_of_brute_force(
    n: int, m: int, k: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "_BLOCK", block)
    features, reference = drawn(n, 6), drawn(m, 6, seed=1)
    expected = 1 - cdist(features, reference, "cosine") if n else np.empty((0, m))
    order = np.argsort(-expected, axis=1, kind="stable")[:, :k]
    found = nearest(features, reference, k)
    assert np.array_equal(found.places, order)
    assert found.similarities == pytest.approx(np.take_along_axis(expected, order, axis=1), abs=1e-6)
    assert found.similarities.dtype == np.float32


def test_images_of_the_same_unit_are_no_neighbours() -> None:
    features, units = drawn(6, 4), np.array([0, 0, 0, 1, 1, 2])
    found = nearest(features, features, 4, units, units)
    for unit, row, similar in zip(units, found.places, found.similarities, strict=True):
        there = row[row >= 0]
        assert len(there) == min(4, (units != unit).sum())
        assert (units[there] != unit).all()
        assert (similar[row < 0] == -np.inf).all()
    assert nearest(features, features, 1).places.ravel().tolist() == list(range(6))


def test_of_equal_images_the_first_are_taken_and_zeros_are_like_nothing() -> None:
    reference = np.tile(np.array([[1, 0]], np.float32), (50, 1)) * np.arange(1, 51, dtype=np.float32)[:, None]
    features = np.array([[2, 0], [0, 0]], np.float32)
    found = nearest(features, reference, 3)
    assert found.places.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert found.similarities.tolist() == [[1, 1, 1], [0, 0, 0]]
