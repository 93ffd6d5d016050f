"""The metrics that are one number. To add one: write a function, and a row of :data:`SCORES`; it then appears in
metrics.json, in tables and in reports.

Importing this imports neither NumPy nor scikit-learn: what only reads metrics starts fast.
Shapes: N images, L classes; labels int [N], probabilities [N, L], rows sum to 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.heads.task import Task

_FEW_CLASSES = 50
"""Classes up to which scikit-learn computes the areas under the ROC curves: with 1,000 it takes 10 s, ranks 1."""

Compute = Callable[..., "float | None"]
"""Labels [N], probabilities [N, L] and the task -> the value; None where it is not defined."""


@dataclass(frozen=True)
class Score:
    """A row of the table."""

    name: str
    """The key in metrics.json."""
    title: str
    """The heading in tables and reports."""
    compute: Compute
    is_percentage: bool = False
    """Whether reports show it in per cent."""
    of_answers: bool = False
    """Whether it is of the predicted classes, which thresholds change: then it takes them [N] as a fourth argument."""


def balanced_accuracy(
    labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", task: "Task",
    predicted: "NDArray[np.int64] | None" = None,
) -> float:  # fmt: skip
    """Mean recall of the classes that occur; of the most probable classes where none are ``predicted``."""
    return balanced_accuracy_of(
        labels, probabilities.argmax(axis=1) if predicted is None else predicted, task.count
    )  # fmt: skip


def balanced_accuracy_of(labels: "NDArray[np.int64]", predicted: "NDArray[np.int64]", count: int) -> float:
    """Mean recall of the classes that occur, from predicted classes [N] of ``count``."""
    import numpy as np  # noqa: PLC0415 - see the module

    support, right = (np.bincount(of, minlength=count) for of in (labels, labels[predicted == labels]))
    return float(np.mean(right[support > 0] / support[support > 0]))


def log_loss(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", task: "Task") -> float:
    """Mean negative log probability of the true class, in nats."""
    from sklearn import metrics  # noqa: PLC0415 - see the module

    return float(metrics.log_loss(labels, probabilities, labels=range(task.count)))


def roc_auc(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", task: "Task") -> float | None:
    """Area under the ROC curve, mean over the task's curves; None where a class has no images."""
    import numpy as np  # noqa: PLC0415 - see the module
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - see the module

    if len(np.unique(labels)) < task.count:
        return None
    if task.count > _FEW_CLASSES:
        return float(np.mean(_areas_by_rank(labels, probabilities)))
    return float(np.mean([roc_auc_score(labels == number, probabilities[:, number]) for number in task.roc_classes]))


def _areas_by_rank(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """The area of every class against the rest [L], from the ranks of its images (Mann and Whitney 1947)."""
    import numpy as np  # noqa: PLC0415 - see the module
    from scipy.stats import rankdata  # noqa: PLC0415 - see the module

    areas = np.empty(probabilities.shape[1])
    for number in range(len(areas)):
        inside = labels == number
        positives, negatives = np.count_nonzero(inside), np.count_nonzero(~inside)
        ranks = rankdata(probabilities[:, number])[inside].sum()
        areas[number] = (ranks - positives * (positives + 1) / 2) / (positives * negatives)
    return areas


def ece(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", task: "Task") -> float:  # noqa: ARG001
    """Expected calibration error."""
    from tlcli.evaluation.calibration import expected_calibration_error  # noqa: PLC0415 - SciPy

    return expected_calibration_error(labels, probabilities)


SCORES: tuple[Score, ...] = (
    Score("balanced_accuracy", "balanced accuracy", balanced_accuracy, is_percentage=True, of_answers=True),
    Score("roc_auc", "ROC-AUC", roc_auc),
    Score("log_loss", "log loss", log_loss),
    Score("ece", "calibration error", ece, is_percentage=True),
)
