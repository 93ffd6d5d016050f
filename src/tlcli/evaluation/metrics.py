"""The metrics that are one number. To add one: write a function, and a row of :data:`SCORES`; it then appears in
metrics.json, in tables and in reports.

Importing this imports no NumPy: what only reads metrics starts fast.
Shapes: N images, L classes; labels int [N], probabilities [N, L], rows sum to 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.heads.task import Task

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


def log_loss(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", task: "Task") -> float:  # noqa: ARG001
    """Mean negative log probability of the true class, in nats."""
    import numpy as np  # noqa: PLC0415 - see the module

    tiny = np.finfo(probabilities.dtype).eps  # as scikit-learn's log_loss
    return -float(np.log(np.clip(probabilities[np.arange(len(labels)), labels], tiny, 1)).mean())


def roc_auc(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", task: "Task") -> float | None:
    """Area under the ROC curve, mean over the task's curves; None where a class has no images."""
    import numpy as np  # noqa: PLC0415 - see the module

    from tlcli.evaluation.ranks import area_under_roc  # noqa: PLC0415 - see the module

    if len(np.unique(labels)) < task.count:
        return None
    areas = [area_under_roc(labels == number, probabilities[:, number]) for number in task.roc_classes]
    return float(np.mean(areas))


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
