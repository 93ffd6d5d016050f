"""Prediction sets contain the class of new images as often as stated."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tlcli.evaluation.prediction_sets import LEVELS, in_set, prediction_sets, threshold_of


def drawn(images: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and overconfident probabilities of four classes."""
    random = np.random.default_rng(seed)
    labels = random.integers(4, size=images)
    logits = random.normal(size=(images, 4))
    logits[np.arange(images), labels] += 1.5
    odds = np.exp(2 * logits)
    return labels, odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("coverage", LEVELS)
def test_new_images_are_covered_as_often_as_stated(coverage: float) -> None:
    reached = []
    for seed in range(60):
        threshold = threshold_of(*drawn(400, seed), coverage)
        assert threshold is not None
        labels, probabilities = drawn(400, 1000 + seed)
        reached.append(in_set(probabilities, threshold)[np.arange(400), labels].mean())
    assert abs(np.mean(reached) - coverage) < 0.012


def test_the_threshold_is_the_rank_that_the_guarantee_needs() -> None:
    labels, probabilities = np.zeros(19, np.int64), np.stack([np.arange(1, 20) / 20, 1 - np.arange(1, 20) / 20], axis=1)
    assert threshold_of(labels, probabilities, 0.95) == pytest.approx(1 / 20)
    assert threshold_of(labels, probabilities, 0.9) == pytest.approx(2 / 20)
    assert threshold_of(labels[1:], probabilities[1:], 0.95) is None


def test_the_most_probable_class_is_always_in_the_set() -> None:
    assert in_set(np.array([[0.4, 0.35, 0.25]]), 0.9).tolist() == [[True, False, False]]


def test_sets_are_measured_on_the_test_images() -> None:
    found = prediction_sets(*drawn(400, 1), 0.9, drawn(400, 2))
    assert found is not None
    assert found.test_coverage == pytest.approx(0.9, abs=0.05)
    assert 1 <= found.mean_size <= 4
    assert prediction_sets(*drawn(9, 1), 0.95) is None
