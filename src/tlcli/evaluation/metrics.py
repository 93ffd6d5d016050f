"""What is measured on a split. A metric is one function and one line in :func:`measure`.

Shapes: labels int [N], probabilities [N, L], rows sum to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import metrics

from tlcli.evaluation.calibration import expected_calibration_error
from tlcli.evaluation.intervals import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassMetrics:
    """Of one class."""

    precision: float
    recall: float
    f1: float
    support: int
    """Images of the class."""


@dataclass(frozen=True)
class Metrics:
    """All metrics of one split; None where one is not defined."""

    n: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    balanced_accuracy: float
    log_loss: float
    roc_auc: float | None
    ece: float
    per_class: dict[str, ClassMetrics]
    confusion_matrix: list[list[int]]
    labels: list[str]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Metrics":
        """Of one split of metrics.json."""
        classes = {
            name: ClassMetrics(of_class["precision"], of_class["recall"], of_class["f1"], of_class["n"])
            for name, of_class in document["per_class"].items()
        }
        low, high = document["accuracy_ci95"]
        return cls(**{**document, "per_class": classes, "accuracy_ci95": (low, high)})


def measure(
    labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", names: Sequence[str]
) -> dict[str, Any]:  # fmt: skip
    """All metrics of one split, ready for JSON; None where one is not defined (a class without images)."""
    predicted = probabilities.argmax(axis=1)
    correct = int((predicted == labels).sum())
    confusion = metrics.confusion_matrix(labels, predicted, labels=range(len(names)))
    return {
        "n": len(labels),
        "accuracy": correct / len(labels),
        "accuracy_ci95": list(wilson(correct, len(labels))),
        "balanced_accuracy": balanced_accuracy(confusion),
        "log_loss": float(metrics.log_loss(labels, probabilities, labels=range(len(names)))),
        "roc_auc": roc_auc(labels, probabilities),
        "ece": expected_calibration_error(labels, probabilities),
        "per_class": per_class(labels, predicted, names),
        "confusion_matrix": confusion.tolist(),
        "labels": list(names),
    }


def balanced_accuracy(confusion: "NDArray[np.int64]") -> float:
    """Mean recall of the classes that occur."""
    totals = confusion.sum(axis=1)
    return float((confusion.diagonal()[totals > 0] / totals[totals > 0]).mean())


def roc_auc(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> float | None:
    """Area under the ROC curve; with more than two classes the mean of each class against the rest."""
    count = probabilities.shape[1]
    if len(np.unique(labels)) < count:
        return None
    if count == 2:
        return float(metrics.roc_auc_score(labels, probabilities[:, 1]))
    return float(metrics.roc_auc_score(labels, probabilities, multi_class="ovr", labels=range(count)))


def per_class(
    labels: "NDArray[np.int64]", predicted: "NDArray[np.int64]", names: Sequence[str]
) -> dict[str, dict[str, float | int]]:  # fmt: skip
    """Precision, recall, F1 and number of images of each class; 0 where nothing was predicted or there."""
    columns = metrics.precision_recall_fscore_support(labels, predicted, labels=range(len(names)), zero_division=0)
    return {
        name: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "n": int(n)}
        for name, precision, recall, f1, n in zip(names, *columns, strict=True)
    }
