"""Operating curves: what precision goes with what recall of a class, and where on the curve the answers are.

Shapes: N images, L classes, K points of a curve; labels int [N], probabilities [N, L].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tlcli.evaluation.labelled_predictions import Predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

Source = Literal["test", "out_of_fold"]
_POINTS = 300
_HARDEST = 2


@dataclass(frozen=True)
class OperatingPoint:
    """Recall and precision of a class as answers have them."""

    recall: float
    precision: float | None
    """None where the class is never answered."""


@dataclass(frozen=True)
class OperatingCurve:
    """Precision against recall of one class against the rest, for every threshold on its probability."""

    number: int
    """Of the class."""
    source: Source
    """The images: test images; or training and validation images, out of fold."""
    share: float
    """Of the class among the images: the precision of answering it always."""
    average_precision: float
    """The area under the curve, as scikit-learn has it."""
    recalls: "NDArray[np.float64]"
    """[K], rising."""
    precisions: "NDArray[np.float64]"
    """[K]"""
    answers: OperatingPoint
    """Of the answers. With more than two classes, and with thresholds of other folds, they need not be on the curve."""
    most_probable: OperatingPoint
    """Of the most probable classes: the same point where there are no thresholds."""

    def document(self, labels: tuple[str, ...]) -> dict[str, object]:
        """As report.json has it, without the curve."""
        return {
            "class": labels[self.number], "source": self.source, "average_precision": self.average_precision,
            "answers": vars(self.answers), "most_probable": vars(self.most_probable),
        }  # fmt: skip


def operating_curves(found: Mapping[Source, Predictions | None]) -> tuple[OperatingCurve, ...]:
    """The curves of the second of two classes, or of the two of more classes that are the hardest: those of the lowest
    average precision among the first images given. Classes without images have none.

    Args:
        found: predictions of images by what these are; None where there are none.
    """
    given = {source: one for source, one in found.items() if one is not None and len(one.truth)}
    if not given:
        return ()
    count = next(iter(given.values())).probabilities.shape[1]
    numbers = [1] if count == 2 else range(count)
    curves = {
        source: [curve for number in numbers if (curve := _curve(number, source, one)) is not None]
        for source, one in given.items()
    }
    first = next(iter(curves.values()))
    hardest = sorted(first, key=lambda curve: curve.average_precision)[:_HARDEST]
    chosen = [curve.number for curve in hardest]
    return tuple(curve for number in chosen for of in curves.values() for curve in of if curve.number == number)


def _curve(number: int, source: Source, found: Predictions) -> OperatingCurve | None:
    positive, scores = found.truth == number, found.probabilities[:, number]
    positives = int(positive.sum())
    if not positives:
        return None
    order = np.argsort(-scores, kind="stable")
    falling, right = scores[order], np.cumsum(positive[order])
    ends = np.flatnonzero(np.append(falling[1:] < falling[:-1], True))  # images of equal probability go together
    recalls, precisions = right[ends] / positives, right[ends] / (ends + 1)
    at = np.unique(np.linspace(0, len(ends) - 1, _POINTS).round().astype(int))
    return OperatingCurve(
        number, source, positives / len(positive), float(np.sum(np.diff(recalls, prepend=0.0) * precisions)),
        recalls[at], precisions[at], _point(positive, found.predicted == number),
        _point(positive, found.probabilities.argmax(axis=1) == number),
    )  # fmt: skip


def _point(positive: "NDArray[np.bool_]", answered: "NDArray[np.bool_]") -> OperatingPoint:
    recall = float(answered[positive].mean())
    return OperatingPoint(recall, float(positive[answered].mean()) if answered.any() else None)
