from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from tlcli.features.rows import Rows
from tlcli.heads.calibration import calibrated, fit_temperature, with_temperature
from tlcli.heads.fit_record import Fit, HeldOut, Step
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
def test_overconfidence_and_underconfidence_are_corrected(distortion: float, classes: int) -> None:
    labels, probabilities = honest(20_000, classes)
    distorted = with_temperature(probabilities, 1 / distortion)
    found = fit_temperature(labels, distorted)
    assert found == pytest.approx(distortion, rel=0.05)
    corrected = with_temperature(distorted, found)
    assert corrected == pytest.approx(probabilities, abs=0.02)
    assert log_loss(labels, corrected) <= log_loss(labels, distorted)


def test_of_many_images_it_is_the_temperature_of_the_lowest_loss() -> None:
    labels, probabilities = honest(5000, 3)
    found = fit_temperature(labels, probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True))
    losses = {t: log_loss(labels, with_temperature(probabilities, t / 3)) for t in (found * 0.95, found, found * 1.05)}
    assert min(losses, key=lambda t: losses[t]) == found


@pytest.mark.parametrize("n", [1, 2, 10, 30])
def test_a_few_correct_predictions_give_no_full_confidence(n: int) -> None:
    probabilities = np.tile([0.8, 0.2], (n, 1))
    found = fit_temperature(np.zeros(n, np.int64), probabilities)
    assert 0.5 < found < 1
    assert 0.8 < with_temperature(probabilities, found)[0, 0] < 0.96


def test_a_few_wrong_predictions_do_not_take_all_confidence() -> None:
    probabilities = np.tile([0.9, 0.1], (3, 1))
    assert 1 < fit_temperature(np.ones(3, np.int64), probabilities) < 2


def test_certain_predictions_stay_finite() -> None:
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


def test_temperature_changes_no_prediction() -> None:
    _, probabilities = honest(100, 5)
    for temperature in (0.3, 4.0):
        changed = with_temperature(probabilities, temperature)
        assert changed.sum(axis=1) == pytest.approx(np.ones(100))
        assert (changed.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_it_is_fitted_on_validation_rows_and_on_plain_rows_that_were_held_out() -> None:
    random = np.random.default_rng(0)
    head = Head(random.normal(size=(4, 1)).astype(np.float32), np.zeros(1, np.float32))
    validation = Rows.of(random.normal(size=(30, 4)).astype(np.float32), random.integers(0, 2, 30))
    labels, probabilities = honest(20, 2)
    held = HeldOut(np.arange(20)[::-1], labels, probabilities)  # of 10 images in 2 views
    step = Step(1, 0.5, 0.8, 0.5, 0.8, C=1.0)
    both = calibrated(Fit("logistic_regression", head, (step,), step, held), validation, 10)
    expected = fit_temperature(
        np.concatenate([validation.labels, labels[10:]]),
        np.concatenate([head.predict(validation), probabilities[10:]]),
    )
    assert both.head.temperature == expected
    alone = calibrated(Fit("minibatch", head, (step,), step), validation, 10)
    assert alone.head.temperature == fit_temperature(validation.labels, head.predict(validation))
