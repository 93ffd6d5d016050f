"""The metrics of one split; those that are one number are rows of :mod:`tlcli.evaluation.metrics`.

Importing this imports no NumPy: what only reads metrics starts fast.
Shapes: N images, L classes; labels int [N], probabilities [N, L], rows sum to 1.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

from tlcli.evaluation.metrics import SCORES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.heads.task import Task

Split = TypeVar("Split", bound=str)


@dataclass(frozen=True)
class ClassMetrics:
    """One class against the rest. All three are None where the class has no images: it was never measured."""

    precision: float | None
    """None also where the class was never predicted (0 / 0)."""
    recall: float | None
    f1: float | None
    """2 TP / (2 TP + FP + FN): 0 where no image was predicted correctly."""
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
    scores: dict[str, float | None]
    """By name, see :data:`tlcli.evaluation.metrics.SCORES`; None where one is not defined."""
    per_class: dict[str, ClassMetrics]
    confusion_matrix: tuple[tuple[int, ...], ...]
    """[L, L], rows: ground truth, columns: predicted."""
    labels: tuple[str, ...]

    @property
    def never_measured(self) -> list[str]:
        """Classes without images in the split: means over classes are over the others."""
        return [label for label, of_class in self.per_class.items() if not of_class.support]

    def as_json(self) -> dict[str, object]:
        """The fields as metrics.json has them: the scores stand beside the others."""
        # asdict would copy every number of the confusion matrix: 10 s with 1,000 classes.
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "accuracy_ci95": self.accuracy_ci95,
            **self.scores,
            "never_measured": self.never_measured,
            "per_class": {label: asdict(one) for label, one in self.per_class.items()},
            "confusion_matrix": self.confusion_matrix,
            "labels": self.labels,
        }


def from_json(fields: object) -> object:
    """Turns the form of :meth:`Metrics.as_json` into that of :class:`Metrics`, for pydantic to validate."""
    if not isinstance(fields, dict):
        return fields
    names = [score.name for score in SCORES]
    others = {name: value for name, value in fields.items() if name not in names}
    return {**others, "scores": {name: fields[name] for name in names if name in fields}}


def measure(
    labels: "NDArray[np.int64]",
    probabilities: "NDArray[np.float64]",
    task: "Task",
    units: "NDArray[np.int64] | None" = None,
    predicted: "NDArray[np.int64] | None" = None,
) -> Metrics:
    """Measures one split.

    Args:
        labels: the ground truth [N].
        probabilities: of each class [N, L].
        task: names the classes, and says which of them have a ROC curve.
        units: which images belong together [N] (a group, copies); they are right or wrong together, which widens the
            interval of the accuracy. None: each is on its own.
        predicted: the answers [N], where they are other classes than the most probable ones.
    """
    import numpy as np  # noqa: PLC0415 - see the module

    from tlcli.evaluation.intervals import wilson_of_units  # noqa: PLC0415 - SciPy

    if predicted is None:
        predicted = probabilities.argmax(axis=1)
    correct = predicted == labels
    pairs = np.bincount(labels * task.count + predicted, minlength=task.count**2)
    return Metrics(
        n=len(labels),
        accuracy=int(correct.sum()) / len(labels),
        accuracy_ci95=wilson_of_units(correct, np.arange(len(labels)) if units is None else units),
        scores={
            score.name: score.compute(labels, probabilities, task, *([predicted] if score.of_answers else []))
            for score in SCORES
        },
        per_class=per_class(labels, predicted, task),
        confusion_matrix=tuple(tuple(row) for row in pairs.reshape(task.count, -1).tolist()),
        labels=task.labels,
    )


def metrics_document(metrics: Mapping[Split, Metrics]) -> dict[Split, dict[str, object]]:
    """The metrics of each split as metrics.json and ``--json`` have them."""
    return {split: of_split.as_json() for split, of_split in metrics.items()}


def per_class(labels: "NDArray[np.int64]", predicted: "NDArray[np.int64]", task: "Task") -> dict[str, ClassMetrics]:
    """Metrics of each class, from the ground truth [N] and the predicted classes [N]."""
    import numpy as np  # noqa: PLC0415 - see the module

    columns = (
        np.bincount(of, minlength=task.count).tolist() for of in (labels, predicted, labels[labels == predicted])
    )
    return {name: _of_class(*numbers) for name, *numbers in zip(task.labels, *columns, strict=True)}


def _of_class(support: int, answers: int, correct: int) -> ClassMetrics:
    """From the images of a class, how often it was predicted, and how often correctly."""
    if not support:
        return ClassMetrics(None, None, None, 0)
    precision = correct / answers if answers else None
    return ClassMetrics(precision, correct / support, 2 * correct / (support + answers), support)
