import json
import math
from dataclasses import astuple
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from sklearn import metrics as reference

from tlcli.evaluation.calibration import expected_calibration_error
from tlcli.evaluation.intervals import wilson
from tlcli.evaluation.metrics import SCORES, balanced_accuracy, roc_auc
from tlcli.evaluation.split_metrics import ClassMetrics, Metrics, from_json, measure, per_class
from tlcli.heads.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

TASK = Task(("alien", "predator"))
LABELS = np.array([0, 0, 0, 1, 1])
# Predicted 0, 0, 1, 1, 0: three of five are right.
PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.55, 0.45]])


def three_classes(n: int = 200) -> "tuple[NDArray[np.int64], NDArray[np.float64]]":
    random = np.random.default_rng(5)
    labels = random.choice(3, n, p=[0.6, 0.3, 0.1])
    logits = random.normal(0, 1, (n, 3)) + 1.2 * np.eye(3)[labels]
    odds = np.exp(logits)
    return labels, odds / odds.sum(axis=1, keepdims=True)


def test_every_metric_of_a_small_split_is_the_one_counted_by_hand() -> None:
    found = measure(LABELS, PROBABILITIES, TASK)
    assert found.n == 5
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.accuracy_ci95 == wilson(3, 5)
    assert found.confusion_matrix == ((2, 1), (1, 1))
    assert found.labels == ("alien", "predator")
    assert found.scores["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found.scores["log_loss"] == pytest.approx(-math.log(0.9 * 0.6 * 0.3 * 0.8 * 0.45) / 5)
    # of the six pairs (class 0, class 1) five have the higher probability on the side of class 1
    assert found.scores["roc_auc"] == pytest.approx(5 / 6)
    assert astuple(found.per_class["alien"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3), 3)
    assert found.per_class["predator"] == ClassMetrics(1 / 2, 1 / 2, 1 / 2, 2)


def test_metrics_are_read_from_json_as_they_were_written() -> None:
    found = measure(LABELS, PROBABILITIES, TASK)
    written = json.loads(json.dumps(found.as_json()))
    assert {score.name for score in SCORES} <= set(written)
    assert TypeAdapter(Metrics).validate_python(from_json(written)) == found
    with pytest.raises(ValidationError):
        TypeAdapter(Metrics).validate_python(from_json({**written, "accuracy": math.nan}))


def test_images_that_belong_together_widen_the_interval() -> None:
    labels, probabilities = three_classes()
    alone, grouped = (
        measure(labels, probabilities, Task(("a", "b", "c")), units) for units in (None, np.arange(200) // 10)
    )
    assert grouped.accuracy == alone.accuracy
    assert np.ptp(grouped.accuracy_ci95) > np.ptp(alone.accuracy_ci95)


def test_three_classes_agree_with_scikit_learn() -> None:
    labels, probabilities = three_classes()
    predicted = probabilities.argmax(axis=1)
    found = measure(labels, probabilities, Task(("a", "b", "c")))
    assert found.accuracy == reference.accuracy_score(labels, predicted)
    assert found.scores["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
    assert found.scores["log_loss"] == pytest.approx(-np.log(probabilities[np.arange(200), labels]).mean())
    areas = [reference.roc_auc_score(labels == label, probabilities[:, label]) for label in range(3)]
    assert found.scores["roc_auc"] == pytest.approx(np.mean(areas))
    for number, name in enumerate("abc"):
        row = found.per_class[name]
        assert row.recall == pytest.approx((predicted[labels == number] == number).mean())
        assert row.precision == pytest.approx((labels[predicted == number] == number).mean())
        assert row.f1 == pytest.approx(reference.f1_score(labels == number, predicted == number))
        assert row.support == (labels == number).sum()


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c"]])
def test_a_class_without_images_leaves_the_area_undefined_and_the_rest_measured(names: list[str]) -> None:
    classes = len(names)
    probabilities = np.full((4, classes), 0.1)
    probabilities[:, 0] = 1 - 0.1 * (classes - 1)
    found = measure(np.zeros(4, np.int64), probabilities, Task(tuple(names)))
    assert found.scores["roc_auc"] is None
    assert found.accuracy == 1
    assert found.scores["balanced_accuracy"] == 1
    assert found.per_class[names[-1]] == ClassMetrics(None, None, None, 0)
    assert found.never_measured == names[1:]
    assert len(found.confusion_matrix) == classes


def test_the_precision_of_a_class_never_predicted_is_undefined() -> None:
    rows = per_class(np.array([0, 1]), np.array([0, 0]), Task(("a", "b")))
    assert rows["b"] == ClassMetrics(None, 0, 0, 1)
    assert astuple(rows["a"]) == (0.5, 1, pytest.approx(2 / 3), 1)


def test_balanced_accuracy_leaves_out_classes_that_do_not_occur() -> None:
    predicted = np.eye(2)[[0, 0, 0, 1]]
    assert balanced_accuracy(np.zeros(4, np.int64), predicted, TASK) == pytest.approx(0.75)


def test_the_area_of_two_classes_is_that_of_the_second() -> None:
    labels, probabilities = np.array([0, 1, 1]), np.array([[0.4, 0.6], [0.3, 0.7], [0.5, 0.5]])
    assert roc_auc(labels, probabilities, TASK) == pytest.approx(0.5)


def test_areas_of_many_classes_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(240) % 60
    probabilities = random.dirichlet(np.ones(60), 240).round(3)  # with ties
    task = Task(tuple(map(str, range(60))))
    each = [reference.roc_auc_score(labels == number, probabilities[:, number]) for number in range(60)]
    assert roc_auc(labels, probabilities, task) == pytest.approx(np.mean(each), abs=1e-12)
    assert roc_auc(labels[labels > 0], probabilities[labels > 0], task) is None


def test_calibration_error_is_the_mean_gap_weighted_by_the_bins() -> None:
    # Confidence 0.9 (bin 13) three times, of which two right; 0.6 (bin 9) once and right.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.6, 0.4]])
    labels = np.array([0, 0, 0, 0])
    assert expected_calibration_error(labels, probabilities) == pytest.approx(
        3 / 4 * abs(2 / 3 - 0.9) + 1 / 4 * abs(1 - 0.6)
    )


def test_gaps_of_opposite_sign_cancel_within_a_bin_and_not_between_bins() -> None:
    within = expected_calibration_error(np.array([0, 1]), np.array([[0.95, 0.05], [0.95, 0.05]]))
    assert within == pytest.approx(abs(0.5 - 0.95))
    between = expected_calibration_error(np.array([0, 1]), np.array([[0.6, 0.4], [0.95, 0.05]]))
    assert between == pytest.approx((0.4 + 0.95) / 2)


def test_full_confidence_falls_into_the_last_bin() -> None:
    assert expected_calibration_error(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]])) == 0
    assert expected_calibration_error(np.array([1, 0]), np.array([[1.0, 0.0], [0.0, 1.0]])) == 1
