import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from tlcli.evaluation.calibration import (
    coverage_curve,
    expected_calibration_error,
    fit_temperature,
    reliability,
    with_temperature,
)  # fmt: skip
from tlcli.evaluation.intervals import wilson
from tlcli.heads.head import Head

if TYPE_CHECKING:
    from numpy.typing import NDArray


def honest(n: int, classes: int, seed: int = 0) -> "tuple[NDArray[np.int64], NDArray[np.float64]]":
    """Labels drawn by the probabilities themselves."""
    random = np.random.default_rng(seed)
    probabilities = softmax(random.normal(0, 2, (n, classes)), axis=1)
    labels = (probabilities.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return labels, probabilities


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("distortion", [0.4, 1.0, 2.5])
def test_a_head_too_sure_or_not_sure_enough_is_mended(distortion: float, classes: int) -> None:
    labels, probabilities = honest(20_000, classes)
    distorted = with_temperature(probabilities, 1 / distortion)
    found = fit_temperature(labels, distorted)
    assert found == pytest.approx(distortion, rel=0.05)
    mended = with_temperature(distorted, found)
    assert mended == pytest.approx(probabilities, abs=0.02)
    assert log_loss(labels, mended) <= log_loss(labels, distorted)


def test_of_many_images_it_is_the_temperature_of_the_lowest_loss() -> None:
    labels, probabilities = honest(5000, 3)
    found = fit_temperature(labels, probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True))
    losses = {t: log_loss(labels, with_temperature(probabilities, t / 3)) for t in (found * 0.95, found, found * 1.05)}
    assert min(losses, key=lambda t: losses[t]) == found


@pytest.mark.parametrize("n", [1, 2, 10, 30])
def test_a_few_right_answers_make_nothing_certain(n: int) -> None:
    probabilities = np.tile([0.8, 0.2], (n, 1))
    found = fit_temperature(np.zeros(n, np.int64), probabilities)
    assert 0.5 < found < 1
    assert 0.8 < with_temperature(probabilities, found)[0, 0] < 0.96


def test_a_few_wrong_answers_do_not_take_all_confidence() -> None:
    probabilities = np.tile([0.9, 0.1], (3, 1))
    assert 1 < fit_temperature(np.ones(3, np.int64), probabilities) < 2


def test_certain_answers_stay_finite() -> None:
    right = fit_temperature(np.array([0, 1]), np.eye(2))
    assert right == pytest.approx(1, abs=1e-3)
    wrong = fit_temperature(np.array([1, 0]), np.eye(2))
    assert wrong == pytest.approx(20, rel=1e-3)
    assert np.isfinite(with_temperature(np.eye(2), wrong)).all()


def test_a_head_with_the_temperature_gives_the_same_probabilities() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(50, 4)).astype(np.float32)
    for units in (1, 3):
        weights, bias = random.normal(size=(4, units)).astype(np.float32), np.ones(units, np.float32)
        plain, tempered = Head(weights, bias), Head(weights, bias, 1.7)
        expected = with_temperature(plain.probabilities(features), 1.7)
        assert tempered.probabilities(features) == pytest.approx(expected, rel=1e-12)


def test_temperature_changes_no_answer() -> None:
    _, probabilities = honest(100, 5)
    for temperature in (0.3, 4.0):
        changed = with_temperature(probabilities, temperature)
        assert changed.sum(axis=1) == pytest.approx(np.ones(100))
        assert (changed.argmax(axis=1) == probabilities.argmax(axis=1)).all()


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
