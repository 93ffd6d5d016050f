"""The metrics of one split. To add one: a function, a field of :class:`Metrics`, and a line in :func:`measure`.

Importing this imports neither NumPy nor scikit-learn: what only reads metrics starts fast.
Shapes: N images, L classes; labels int [N], probabilities [N, L], rows sum to 1.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.heads.task import Task

Split = TypeVar("Split", bound=str)


@dataclass(frozen=True)
class ClassMetrics:
    """One class against the rest; 0 where it was never predicted or never occurs."""

    precision: float
    recall: float
    f1: float
    support: int
    """Images of the class."""


@dataclass(frozen=True)
class Metrics:
    """All metrics of one split, as metrics.json has them."""

    __pydantic_config__ = {"allow_inf_nan": False}  # noqa: RUF012 - read by pydantic, no field

    n: int
    """Images."""
    accuracy: float
    accuracy_ci95: tuple[float, float]
    """95 % confidence interval: Wilson's, of whole groups (:func:`~tlcli.evaluation.intervals.wilson_of_units`)."""
    balanced_accuracy: float
    log_loss: float
    """In nats."""
    roc_auc: float | None
    """Mean over the classes that have a ROC curve; None where a class has no images."""
    ece: float
    """Expected calibration error."""
    per_class: dict[str, ClassMetrics]
    confusion_matrix: tuple[tuple[int, ...], ...]
    """[L, L], rows: ground truth, columns: predicted."""
    labels: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON takes them."""
        return asdict(self)


def measure(
    labels: "NDArray[np.int64]",
    probabilities: "NDArray[np.float64]",
    task: "Task",
    units: "NDArray[np.int64] | None" = None,
) -> Metrics:
    """Measures one split.

    Args:
        labels: the ground truth [N].
        probabilities: of each class [N, L].
        task: names the classes, and says which of them have a ROC curve.
        units: which images belong together [N] (a group, copies); they are right or wrong together, which widens the
            interval of the accuracy. None: each is on its own.
    """
    import numpy as np  # noqa: PLC0415
    from sklearn import metrics  # noqa: PLC0415 - 1 s

    from tlcli.evaluation.calibration import expected_calibration_error  # noqa: PLC0415 - SciPy
    from tlcli.evaluation.intervals import wilson_of_units  # noqa: PLC0415 - SciPy

    predicted = probabilities.argmax(axis=1)
    correct = predicted == labels
    confusion = metrics.confusion_matrix(labels, predicted, labels=range(task.count))
    return Metrics(
        n=len(labels),
        accuracy=int(correct.sum()) / len(labels),
        accuracy_ci95=wilson_of_units(correct, np.arange(len(labels)) if units is None else units),
        balanced_accuracy=balanced_accuracy(confusion),
        log_loss=float(metrics.log_loss(labels, probabilities, labels=range(task.count))),
        roc_auc=roc_auc(labels, probabilities, task),
        ece=expected_calibration_error(labels, probabilities),
        per_class=per_class(labels, predicted, task),
        confusion_matrix=tuple(tuple(row) for row in confusion.tolist()),
        labels=task.labels,
    )


def metrics_document(metrics: Mapping[Split, Metrics]) -> dict[Split, dict[str, Any]]:
    """The metrics of each split as metrics.json and ``--json`` have them."""
    return {split: of_split.as_json() for split, of_split in metrics.items()}


def balanced_accuracy(confusion: "NDArray[np.int64]") -> float:
    """Mean recall of the classes that occur; ``confusion`` [L, L]."""
    totals = confusion.sum(axis=1)
    return float((confusion.diagonal()[totals > 0] / totals[totals > 0]).mean())


def roc_auc(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", task: "Task") -> float | None:
    """Area under the ROC curve, mean over the task's curves; None where a class has no images."""
    import numpy as np  # noqa: PLC0415
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - as above

    if len(np.unique(labels)) < task.count:
        return None
    return float(np.mean([roc_auc_score(labels == number, probabilities[:, number]) for number in task.roc_classes]))


def per_class(labels: "NDArray[np.int64]", predicted: "NDArray[np.int64]", task: "Task") -> dict[str, ClassMetrics]:
    """Metrics of each class, from the ground truth [N] and the predicted classes [N]."""
    from sklearn.metrics import precision_recall_fscore_support  # noqa: PLC0415 - as above

    columns = precision_recall_fscore_support(labels, predicted, labels=range(task.count), zero_division=0)
    return {
        name: ClassMetrics(float(precision), float(recall), float(f1), int(support))
        for name, precision, recall, f1, support in zip(task.labels, *columns, strict=True)
    }
