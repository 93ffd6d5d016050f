"""The metrics to aim at: one number, of which more is better, that settings and thresholds are chosen by.

They are computed in NumPy alone, as they are computed thousands of times: 2,000 images of two classes take less than
a millisecond. Importing this imports neither NumPy nor scikit-learn: the config's schema checks names with it.
Shapes: N images, L classes; labels and predicted int [N], probabilities [N, L], rows sum to 1.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from tlcli.errors import UsageError
from tlcli.evaluation.metrics import balanced_accuracy_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ObjectiveName = Literal["accuracy", "balanced_accuracy", "log_loss", "roc_auc", "f1_macro", "recall"]
_PLAIN = tuple(name for name in get_args(ObjectiveName) if name != "recall")
_AT_PRECISION = re.compile(r"recall@precision=(\d*\.?\d+)")
ALLOWED = f"{', '.join(_PLAIN)}, and recall@precision=P with a P above 0, up to 1"

OF_DECISIONS = "accuracy, balanced_accuracy, f1_macro, recall@precision=P"
"""Those that depend on the predicted classes."""


def is_objective(text: str) -> bool:
    """Whether a text names a metric to aim at."""
    found = _AT_PRECISION.fullmatch(text)
    return text in _PLAIN or (found is not None and 0 < float(found[1]) <= 1)


@dataclass(frozen=True)
class Objective:
    """A metric to aim at."""

    name: ObjectiveName
    precision: float | None = None
    """Of recall@precision: the precision that is required."""

    @classmethod
    def parse(cls, text: str) -> "Objective":
        """From ``accuracy``, ``balanced_accuracy``, ``log_loss``, ``roc_auc``, ``f1_macro`` or
        ``recall@precision=0.9``.

        Raises:
            UsageError: the text is none of these.
        """
        if not is_objective(text):
            raise UsageError(
                "usage.unknown_objective", f"'{text:.100}' is no metric to aim at.", f"Allowed: {ALLOWED}."
            )
        if found := _AT_PRECISION.fullmatch(text):
            return cls("recall", float(found[1]))
        return next(cls(name) for name in get_args(ObjectiveName) if name == text)

    def __str__(self) -> str:
        return self.name if self.precision is None else f"recall@precision={self.precision:g}"

    @property
    def is_of_decisions(self) -> bool:
        """Whether it depends on the predicted classes, which thresholds change; log loss and area under the ROC curve
        depend on the probabilities alone."""
        return self.name not in ("log_loss", "roc_auc")

    @property
    def sign(self) -> int:
        """1, or -1 of the log loss: :meth:`score` is the metric times this."""
        return -1 if self.name == "log_loss" else 1

    def score(self, labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> float:
        """The metric of probabilities, the log loss negated: more is better.

        Accuracy, balanced accuracy and F1 are those of the most probable class. ``roc_auc`` is of the second of two
        classes, or the mean over classes, each against the rest; ``f1_macro`` and balanced accuracy are means over the
        classes that occur. ``recall@precision=p`` is the highest recall of the second class at any threshold whose
        precision is p or more (0 where there is none); with more than two classes the mean of that of each class
        against the rest.

        Returns:
            NaN where it is not defined: an area, or a recall, without images of both kinds.
        """
        import numpy as np  # noqa: PLC0415 - see the module

        count = probabilities.shape[1]
        if self.name == "log_loss":
            own = probabilities[np.arange(len(labels)), labels]
            return float(np.log(np.clip(own, np.finfo(own.dtype).eps, 1)).mean())  # as scikit-learn clips
        if self.name in ("roc_auc", "recall"):
            each = range(1, 2) if count == 2 else range(count)
            found = [self._of_class(labels == number, probabilities[:, number]) for number in each]
            defined = [value for value in found if value is not None]
            return float(np.mean(defined)) if defined else float("nan")
        return self.of_decisions(labels, probabilities.argmax(axis=1), count)

    def of_decisions(self, labels: "NDArray[np.int64]", predicted: "NDArray[np.int64]", count: int) -> float:
        """The metric of predicted classes, more is better.

        ``recall@precision=p`` is here the recall of the second class, or 0 where its precision is below p.

        Args:
            labels: the ground truth [N].
            predicted: classes [N].
            count: L.

        Raises:
            ValueError: it is a metric of the probabilities, or of two classes and there are more.
        """
        import numpy as np  # noqa: PLC0415 - see the module

        if self.name == "accuracy":
            return float(np.mean(predicted == labels))
        if self.name == "balanced_accuracy":
            return balanced_accuracy_of(labels, predicted, count)
        support, answers, right = (
            np.bincount(of, minlength=count) for of in (labels, predicted, labels[labels == predicted])
        )
        if self.name == "f1_macro":
            occurs = support > 0
            return float(np.mean(2 * right[occurs] / (support + answers)[occurs]))
        if self.precision is None or count != 2:
            raise ValueError(f"{self} is no metric of the predictions of {count} classes.")
        if not support[1]:
            return float("nan")
        reached = bool(answers[1]) and right[1] >= self.precision * answers[1] - 1e-9
        return float(right[1] / support[1]) if reached else 0.0

    def _of_class(self, positive: "NDArray[np.bool_]", scores: "NDArray[np.float64]") -> float | None:
        """Area under the ROC curve, or recall at the precision, of one class against the rest."""
        import numpy as np  # noqa: PLC0415 - see the module

        positives = np.count_nonzero(positive)
        if not positives or (self.precision is None and positives == len(positive)):
            return None
        if self.precision is None:  # Mann and Whitney 1947: the share of pairs in the right order, ties count half
            others, own = np.sort(scores[~positive]), np.sort(scores[positive])  # sorted, they are found faster
            below = np.searchsorted(others, own, "left").sum() + np.searchsorted(others, own, "right").sum()
            return float(below / (2 * positives * len(others)))
        order = np.argsort(-scores)
        falling, right = scores[order], np.cumsum(positive[order])
        is_last = np.append(falling[1:] < falling[:-1], True)  # images of equal probability go together
        reached = (right >= self.precision * np.arange(1, len(right) + 1) - 1e-9) & is_last
        return float(right[reached].max(initial=0) / positives)
