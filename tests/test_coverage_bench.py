"""bench/coverage.py and bench/calibration.py: the values that they take for true are true."""

from collections.abc import Callable

import numpy as np
import pytest

import calibration
import coverage
from tlcli.evaluation.calibration import expected_calibration_error
from tlcli.evaluation.split_metrics import measure
from tlcli.features.rows import Rows
from tlcli.heads.head import Head


def test_the_true_accuracy_of_a_head_is_that_of_very_many_images() -> None:
    random = np.random.default_rng(0)
    weights = (random.normal(size=(coverage.WIDTH, 1)) + 3 * coverage.middle()[:, None]).astype(np.float32)
    head = Head(weights, np.array([0.7], np.float32))
    many = coverage.clouds(random, 100_000)
    right = head.probabilities(many.features()).argmax(axis=1) == many.labels
    assert coverage.true_accuracy(head) == pytest.approx(right.mean(), abs=0.005)


@pytest.mark.parametrize("most", [1, 6])
def test_the_true_metrics_are_those_of_very_many_images(most: int) -> None:
    labels, probabilities, unit = coverage.scored(np.random.default_rng(9), 30_000, most)
    assert np.bincount(unit).max() == most
    found = measure(labels, probabilities, coverage.THREE)
    values = {"accuracy": found.accuracy, **found.scores}
    expected = [values[name] for name in coverage.THREE.metrics]
    assert coverage.true_metrics(most) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("experiment", [coverage.shares, coverage.pairs, coverage.paths])
def test_an_experiment_is_the_same_with_the_same_seed(experiment: Callable[[int], dict[str, bool]]) -> None:
    assert experiment(3) == experiment(3)


def test_an_interval_contains_its_ends() -> None:
    assert coverage.inside(0.5, (0.5, 0.6))
    assert coverage.inside(0.6, (0.5, 0.6))
    assert not coverage.inside(0.61, (0.5, 0.6))


def test_images_are_split_into_three() -> None:
    rows = Rows.of(np.arange(200, dtype=np.float32)[:, None], np.arange(200) % 2)
    parts = calibration.split(rows, 1)
    assert [len(part) for part in parts] == [130, 30, 40]
    assert sorted(np.concatenate([part.features()[:, 0] for part in parts])) == list(range(200))


def test_the_floor_is_the_calibration_error_by_chance_alone() -> None:
    random = np.random.default_rng(0)
    second = random.random(400)
    probabilities = np.stack([1 - second, second], axis=1)
    errors = [
        expected_calibration_error((random.random(400) < second).astype(np.int64), probabilities) for _ in range(100)
    ]
    assert calibration.floor(probabilities, random) == pytest.approx(np.mean(errors), abs=0.01)


def test_a_row_has_means_changes_and_how_often_it_falls() -> None:
    row = calibration.summary(np.array([[1.0, 0.02, 0.05, 0.3, 0.04, 0.29], [1.2, 0.02, 0.03, 0.5, 0.04, 0.48]]))
    assert (row["temperature"], row["ece"], row["ece_after"]) == (1.1, 0.04, 0.04)
    assert (row["ece_change"], row["ece_falls"], row["log_loss_falls"]) == (0, 0.5, 1)
    assert row["log_loss_change"] == pytest.approx(-0.015)
    assert row["ece_change_se"] == pytest.approx(0.01)
