from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn import metrics as reference

from tlcli.evaluation.metric_intervals import metric_intervals, metrics_of
from tlcli.evaluation.metrics import Metrics, measure
from tlcli.heads.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray


THREE = Task(("a", "b", "c"))


def task(classes: int) -> Task:
    return Task(tuple(str(number) for number in range(classes)))


def scored(n: int = 300, classes: int = 3, seed: int = 5) -> "tuple[NDArray[np.int64], NDArray[np.float64]]":
    random = np.random.default_rng(seed)
    labels = random.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    odds = np.exp(random.normal(0, 1, (n, classes)).round(1) + 1.2 * np.eye(classes)[labels])  # rounded: with ties
    return labels, odds / odds.sum(axis=1, keepdims=True)


def value_of(metrics: Metrics, name: str) -> float:
    """The value of a metric that is defined."""
    value = {"accuracy": metrics.accuracy, **metrics.scores}[name]
    assert value is not None
    return value


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_of_the_images_themselves_it_measures_what_metrics_do(classes: int) -> None:
    labels, probabilities = scored(classes=classes)
    expected = measure(labels, probabilities, task(classes))
    (found,) = metrics_of(labels, probabilities, task(classes))(np.ones((1, len(labels))))
    assert found == pytest.approx([value_of(expected, name) for name in task(classes).metrics])


def test_images_drawn_several_times_count_as_often() -> None:
    labels, probabilities = scored()
    weights = np.random.default_rng(0).integers(0, 4, (5, 300)).astype(float)
    found = metrics_of(labels, probabilities, THREE)(weights)
    for row, counts in zip(found, weights.astype(int), strict=True):
        expected = measure(np.repeat(labels, counts), np.repeat(probabilities, counts, axis=0), THREE)
        assert row[:3] == pytest.approx(
            [value_of(expected, name) for name in ("accuracy", "balanced_accuracy", "log_loss")]
        )
        assert row[3] == pytest.approx(expected.scores["roc_auc"], abs=0.003)  # placements are those of all images


def test_the_area_of_resamples_varies_as_the_area_itself_does() -> None:
    labels, probabilities = scored(n=120, classes=2)
    random = np.random.default_rng(1)
    draws = [random.integers(0, 120, 120) for _ in range(400)]
    exact = [reference.roc_auc_score(labels[d], probabilities[d, 1]) for d in draws]
    weights = np.stack([np.bincount(d, minlength=120) for d in draws]).astype(float)
    placed = metrics_of(labels, probabilities, task(2))(weights)[:, 3]
    assert np.std(placed) == pytest.approx(np.std(exact), rel=0.03)
    assert np.corrcoef(placed, exact)[0, 1] > 0.98


@pytest.mark.parametrize("classes", [2, 3])
def test_every_interval_contains_its_metric(classes: int) -> None:
    labels, probabilities = scored(classes=classes)
    measured = measure(labels, probabilities, task(classes))
    found = metric_intervals(labels, probabilities, task(classes), np.arange(300))
    assert tuple(found) == task(classes).metrics
    for name, interval in found.items():
        assert interval is not None
        assert interval[0] < value_of(measured, name) < interval[1]
    assert found["accuracy"] == measured.accuracy_ci95


def test_a_class_without_images_leaves_the_area_without_interval() -> None:
    _, probabilities = scored(n=40)
    found = metric_intervals(np.zeros(40, np.int64), probabilities, THREE, np.arange(40))
    assert found["roc_auc"] is None
    assert found["balanced_accuracy"] == pytest.approx(found["accuracy"], abs=0.03)


def test_a_class_of_one_image_is_no_trouble() -> None:
    labels, probabilities = scored(n=40)
    labels[:] = labels % 2
    labels[0] = 2
    found = metric_intervals(labels, probabilities, THREE, np.arange(40))
    assert all(interval is not None and interval[0] <= interval[1] for interval in found.values())


def test_perfect_predictions_have_intervals_without_warnings() -> None:
    labels = np.arange(40) % 2
    found = metric_intervals(labels, np.eye(2)[labels], task(2), np.arange(40))
    for name in ("accuracy", "balanced_accuracy", "roc_auc"):  # 40 correct predictions do not prove that all are
        low, high = found[name] or (1, 1)
        assert 0.8 < low < 0.97
        assert high == 1
    assert found["log_loss"] == pytest.approx((0, 0), abs=1e-12)
