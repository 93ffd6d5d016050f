import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.special import softmax

from tlcli.evaluation.calibration import coverage_curve, expected_calibration_error, reliability
from tlcli.evaluation.intervals import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray


def honest(n: int, classes: int, seed: int = 0) -> "tuple[NDArray[np.int64], NDArray[np.float64]]":
    """Labels drawn by the probabilities themselves."""
    random = np.random.default_rng(seed)
    probabilities = softmax(random.normal(0, 2, (n, classes)), axis=1)
    labels = (probabilities.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return labels, probabilities


def test_bins_are_counted_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.91, 0.09], [0.1, 0.9], [0.6, 0.4], [1.0, 0.0]])
    found = reliability(np.array([0, 0, 0, 0, 0]), probabilities)
    assert [(b.low, b.high, b.n) for b in found] == [(9 / 15, 10 / 15, 1), (13 / 15, 14 / 15, 3), (14 / 15, 1, 1)]
    assert found[1].confidence == pytest.approx((0.9 + 0.91 + 0.9) / 3)
    assert found[1].accuracy == pytest.approx(2 / 3)
    assert found[1].accuracy_ci95 == wilson(2, 3)
    assert json.loads(json.dumps([asdict(b) for b in found]))[0]["n"] == 1


def test_bins_hold_all_images_and_their_gaps_are_the_calibration_error() -> None:
    labels, probabilities = honest(1000, 3)
    bins = reliability(labels, probabilities)
    assert sum(b.n for b in bins) == 1000
    assert all(b.low <= b.confidence <= b.high for b in bins)
    gaps = sum(b.n * abs(b.accuracy - b.confidence) for b in bins) / 1000
    assert expected_calibration_error(labels, probabilities) == pytest.approx(gaps)
    assert gaps < 0.05


def test_the_most_confident_images_come_first() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.8, 0.2]])
    labels = np.array([0, 0, 1, 0, 1])  # by confidence: right at 0.9, right and wrong at 0.8, wrong at 0.7, right
    found = [(p.share, p.accuracy, p.threshold) for p in coverage_curve(labels, probabilities)]
    assert found == [(0.2, 1, 0.9), (0.6, 2 / 3, 0.8), (0.8, 0.5, 0.7), (1, 0.6, 0.6)]


def test_many_images_give_at_most_100_points_each_true() -> None:
    labels, probabilities = honest(5000, 3)
    found = coverage_curve(labels, probabilities)
    assert len(found) == 100
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    for point in found:
        kept = confidence >= point.threshold
        assert point.share == pytest.approx(kept.mean())
        assert point.accuracy == pytest.approx(right[kept].mean())
    assert found[-1].share == 1
