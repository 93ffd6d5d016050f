"""Gates: names with dots, classes of odd names, undefined metrics, ends of intervals."""

import numpy as np
import pytest

from tlcli.errors import UsageError
from tlcli.evaluation.gates import Gate, GateResult, check_classes, check_gates, merged, parse_gates
from tlcli.evaluation.intervals import wilson
from tlcli.evaluation.resampled_intervals import metric_intervals
from tlcli.evaluation.split_metrics import measure
from tlcli.heads.task import Task

NAMES = ("a", "b.lower", "c=d e")
TRUTH = np.array([0] * 10 + [1] * 10)
PREDICTED = np.array([0] * 8 + [1] * 2 + [1] * 9 + [0])


def results(*given: str, names: tuple[str, ...] = NAMES) -> tuple[GateResult, ...]:
    """Of 20 images of two of three classes."""
    probabilities = np.full((20, 3), 0.1)
    probabilities[np.arange(20), PREDICTED] = 0.8
    task, units = Task(names), np.arange(20)
    metrics = measure(TRUTH, probabilities, task)
    return check_gates(parse_gates(given), metrics, TRUTH, probabilities, task, units)


def test_a_number_is_the_accuracy_and_the_last_equals_sign_divides() -> None:
    assert parse_gates(["0.9", "accuracy.lower=0.88", "recall.a=b=1", " recall.x y = 0.5 "]) == (
        Gate("accuracy", 0.9), Gate("accuracy.lower", 0.88), Gate("recall.a=b", 1.0), Gate("recall.x y", 0.5),
    )  # fmt: skip


def test_values_are_those_of_the_metrics_and_ends_those_of_their_intervals() -> None:
    found = {one.name: one.value for one in results(
        "0.9", "accuracy.lower=0.1", "balanced_accuracy=0.1", "recall.a=0.8", "recall.a.lower=0.1",
        "precision.a.lower=0.1", "f1.a=0.1",
    )}  # fmt: skip
    assert found["accuracy"] == 17 / 20
    assert found["accuracy.lower"] == wilson(17, 20)[0]
    assert found["balanced_accuracy"] == pytest.approx(0.85)
    assert found["recall.a"] == 0.8
    assert found["recall.a.lower"] == wilson(8, 10)[0]
    assert found["precision.a.lower"] == wilson(8, 9)[0]
    assert found["f1.a"] == pytest.approx(2 * 8 / (10 + 9))


def test_a_limit_that_is_just_reached_passes() -> None:
    assert [one.passed for one in results("0.85", "0.8501", "recall.a=0.8")] == [True, False, True]


def test_ends_of_the_other_metrics_are_those_of_the_report() -> None:
    probabilities = np.full((20, 3), 0.1)
    probabilities[np.arange(20), PREDICTED] = 0.8
    task, units = Task(NAMES), np.arange(20)
    expected = metric_intervals(TRUTH, probabilities, task, units)
    balanced, area = results("balanced_accuracy.lower=0", "roc_auc.lower=0")
    assert expected["balanced_accuracy"] is not None
    assert balanced.value == expected["balanced_accuracy"][0]
    assert (area.value, area.passed) == (None, False)  # a class has no images


def test_what_is_undefined_does_not_pass_even_a_limit_of_0() -> None:
    assert [(one.value, one.passed) for one in results("recall.c=d e=0", "recall.c=d e.lower=0", "roc_auc=0")] == [
        (None, False)
    ] * 3


def test_a_class_may_be_called_like_the_end_of_an_interval() -> None:
    plain, lower = results("recall.b.lower=0.1", "recall.b.lower.lower=0.1")
    assert (plain.value, lower.value) == (0.9, wilson(9, 10)[0])
    with pytest.raises(UsageError) as error:
        check_classes(parse_gates(["recall.b=1"]), NAMES)
    assert error.value.code == "usage.unknown_gate_class"


def test_names_in_another_unicode_form_are_the_same() -> None:
    check_classes(parse_gates(["recall.Ka\u0308fer=1"]), ("K\u00e4fer", "b"))


def test_the_command_line_replaces_gates_of_one_name() -> None:
    given = parse_gates(["0.5", "recall.a=1"])
    assert merged({"accuracy": 0.9, "f1.a": 0.1}, given) == (Gate("f1.a", 0.1), *given)
