"""Scores of two classifiers on the same images, with standard errors."""

import numpy as np
import pytest

from tlcli.evaluation.objectives import Objective
from tlcli.evaluation.paired_scores import paired_score


def sure(labels: np.ndarray) -> np.ndarray:
    """Probabilities [n, 2] of these classes."""
    return np.where(np.eye(2)[labels] > 0, 0.9, 0.1)


def test_errors_of_an_accuracy_are_those_of_shares() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(2000) % 2
    before, after = (np.where(random.random(2000) < share, labels, 1 - labels) for share in (0.8, 0.85))
    found = paired_score(Objective.parse("accuracy"), labels, np.arange(2000), sure(before), sure(after))
    gained = (after == labels).astype(int) - (before == labels)
    assert found.score == np.mean(after == labels)
    assert found.gain == pytest.approx(gained.mean())
    assert found.score_error == pytest.approx((found.score * (1 - found.score) / 2000) ** 0.5, rel=0.1)
    assert found.gain_error == pytest.approx(gained.std() / 2000**0.5, rel=0.1)


def test_images_of_one_unit_count_as_one() -> None:
    labels = np.repeat(np.arange(100) % 2, 9)
    right = np.repeat(np.random.default_rng(1).random(100) < 0.7, 9)
    answers, others = np.where(right, labels, 1 - labels), 1 - labels
    units = np.repeat(np.arange(100), 9)
    objective = Objective.parse("balanced_accuracy")
    alone = paired_score(objective, labels, np.arange(900), sure(others), sure(answers))
    together = paired_score(objective, labels, units, sure(others), sure(answers))
    assert together.gain == alone.gain
    assert together.gain_error == pytest.approx(3 * alone.gain_error, rel=0.15)


def test_a_better_log_loss_is_a_gain_and_an_undefined_resample_is_left_out() -> None:
    labels = np.array([0, 0, 0, 0, 1])
    flat, good = np.full((5, 2), 0.5), sure(labels)
    loss = paired_score(Objective.parse("log_loss"), labels, np.arange(5), flat, good)
    assert loss.gain > 0 > loss.score
    area = paired_score(Objective.parse("roc_auc"), labels, np.arange(5), flat, good)
    assert area.gain == 0.5
    assert np.isfinite(area.gain_error)
