"""Everything that depends on the number of classes."""

import numpy as np
import pytest

from tlcli.features.rows import Rows
from tlcli.heads.task import Task

BINARY, MULTICLASS = Task(("cat", "dog")), Task(("cat", "dog", "bird"))


def test_two_classes_share_a_sigmoid_unit() -> None:
    assert (BINARY.kind, BINARY.units, BINARY.activation, BINARY.loss) == (
        "binary", 1, "sigmoid", "binary_crossentropy",
    )  # fmt: skip
    assert list(BINARY.roc_classes) == [1]


def test_more_classes_have_a_softmax_unit_each() -> None:
    assert (MULTICLASS.kind, MULTICLASS.units, MULTICLASS.activation, MULTICLASS.loss) == (
        "multiclass", 3, "softmax", "sparse_categorical_crossentropy",
    )  # fmt: skip
    assert list(MULTICLASS.roc_classes) == [0, 1, 2]


@pytest.mark.parametrize("task", [BINARY, MULTICLASS])
def test_a_task_is_known_by_its_rows_and_by_its_units(task: Task) -> None:
    rows = Rows.of(np.zeros((6, 1), np.float32), np.arange(6) % task.count)
    assert (Task.of(rows).kind, Task.of(rows).count) == (task.kind, task.count)
    assert Task.of_units(task.units).count == task.count


def test_labels_become_numbers() -> None:
    assert MULTICLASS.numbers(["bird", "cat", "bird"]).tolist() == [2, 0, 2]
    assert BINARY.numbers([]).tolist() == []


@pytest.mark.parametrize("task", [BINARY, MULTICLASS])
def test_the_predicted_class_has_the_highest_probability(task: Task) -> None:
    logits = np.random.default_rng(0).normal(size=(50, task.units))
    assert np.array_equal(task.predicted(logits), task.probabilities(logits).argmax(axis=1))


@pytest.mark.parametrize("task", [BINARY, MULTICLASS])
def test_cross_entropy_is_that_of_the_probabilities_and_its_gradient_the_difference_quotient(task: Task) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(20, 1, task.units)).astype(np.float32)
    labels = random.integers(0, task.count, 20)
    losses, gradient = task.cross_entropy(logits, labels)
    of_truth = task.probabilities(logits[:, 0].astype(np.float64))[np.arange(20), labels]
    assert losses[:, 0] == pytest.approx(-np.log(of_truth), rel=1e-5)
    step = np.float32(1e-2)
    for unit in range(task.units):
        moved = np.eye(task.units, dtype=np.float32)[unit] * step
        up, down = (task.cross_entropy(logits + sign * moved, labels)[0][:, 0] for sign in (1, -1))
        assert gradient[:, 0, unit] == pytest.approx((up - down) / (2 * step), abs=1e-3)


def test_losses_of_extreme_logits_stay_finite_and_exact() -> None:
    for logits, loss in (([[-200.0]], 200.0), ([[200.0]], 0.0)):
        losses, gradient = BINARY.cross_entropy(np.array([logits], np.float32), np.array([1]))
        assert losses.tolist() == [[loss]]
        assert gradient[0, 0, 0] == pytest.approx(-1.0 if loss else 0.0)
    losses, gradient = MULTICLASS.cross_entropy(np.array([[[500.0, -500.0, 0.0]]], np.float32), np.array([1]))
    assert losses.tolist() == [[1000.0]]
    assert gradient.ravel().tolist() == [1.0, -1.0, 0.0]
