"""The task of a classifier: binary or multiclass. The only module that asks how many classes there are.

It decides how class numbers become output units and units become probabilities, which loss is minimised, which ROC
curves and which metrics apply.
Shapes: N images, P problems solved at once, U output units, L classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from tlcli.features.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Task:
    """Single-label classification. Two classes share one sigmoid unit, which gives the probability of the second; more
    classes have one softmax unit each."""

    labels: tuple[str, ...]
    """Class names; a class's number is its position."""

    @classmethod
    def of(cls, rows: Rows) -> "Task":
        """The task of training rows, whose class names are their numbers. Every class has at least one row."""
        return _numbered(int(rows.labels.max()) + 1)

    @classmethod
    def of_units(cls, units: int) -> "Task":
        """The task of a head with this many output units; class names are numbers."""
        return _numbered(2 if units == 1 else units)

    @property
    def count(self) -> int:
        """L."""
        return len(self.labels)

    @property
    def kind(self) -> Literal["binary", "multiclass"]:
        """What scikit-learn calls the target."""
        return "binary" if self.count == 2 else "multiclass"

    @property
    def units(self) -> int:
        """U."""
        return 1 if self.kind == "binary" else self.count

    @property
    def activation(self) -> Literal["sigmoid", "softmax"]:
        """Keras's name of what turns logits into probabilities."""
        return "sigmoid" if self.kind == "binary" else "softmax"

    @property
    def loss(self) -> Literal["binary_crossentropy", "sparse_categorical_crossentropy"]:
        """Keras's name of the loss, for labels that are class numbers."""
        return "binary_crossentropy" if self.kind == "binary" else "sparse_categorical_crossentropy"

    @property
    def roc_classes(self) -> range:
        """Numbers of the classes that have a ROC curve against the rest. The area under it (ROC-AUC) is averaged over
        them. Of two classes the second is the positive one; the curve of the first would be the same."""
        return range(1, 2) if self.kind == "binary" else range(self.count)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that apply and have a confidence interval."""
        return ("accuracy", "balanced_accuracy", "log_loss", "roc_auc")

    def numbers(self, labels: Sequence[str]) -> "NDArray[np.int64]":
        """Class names [N] -> class numbers [N]."""
        number = {label: place for place, label in enumerate(self.labels)}
        return np.array([number[label] for label in labels], np.int64)

    def strata(self, labels: "NDArray[np.int64]") -> "NDArray[np.int64]":
        """What folds are stratified by: the class numbers [N] themselves, since an image has one class."""
        return labels

    def probabilities(self, logits: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Logits [N, U] -> probabilities [N, L]; rows sum to 1."""
        if self.kind == "binary":
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)  # sigmoid(z) = softmax(0, z)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def predicted(self, logits: "NDArray[np.floating]") -> "NDArray[np.int64]":
        """Logits [N, U] -> number of the most probable class [N]."""
        return np.asarray(logits[:, 0] > 0 if self.kind == "binary" else logits.argmax(axis=1), np.int64)

    def cross_entropy(
        self, logits: "NDArray[np.float32]", labels: "NDArray[np.int64]"
    ) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
        """Logits [N, P, U] and class numbers [N] -> the loss of each row in each problem [N, P], in nats, and its
        gradient with respect to the logits [N, P, U]."""
        if self.kind == "binary":
            from scipy.special import expit  # noqa: PLC0415 - predict, which imports this, needs no SciPy

            truth = labels[:, None].astype(np.float32)  # [N, 1]
            one = logits[..., 0]
            return np.logaddexp(np.float32(0), one) - truth * one, (expit(one) - truth)[..., None]
        at = np.arange(len(labels))
        largest = logits.max(axis=-1, keepdims=True)
        odds = np.exp(logits - largest)
        total = odds.sum(axis=-1, keepdims=True)
        losses = (np.log(total) + largest)[..., 0] - logits[at, :, labels]
        odds /= total
        odds[at, :, labels] -= 1
        return losses, odds

    def log_odds(self, logits: "NDArray[np.float64]", label: int) -> "tuple[NDArray[np.float64], float]":
        """The log odds ln(p / (1 - p)) of a class as a linear function of the logits, near those of an image.

        With two classes the log odds are the unit's logit, or its negative. With more they are the class's logit less
        the log of the summed exponentials of the others', which is not linear: each other class is weighted by its
        share q of the probability that the image leaves to the others, z_label - sum q_j (z_j - ln q_j), the tangent at
        the image. So a part of the image speaks for a class against its likely rivals, not against a thousand classes
        that nobody would have thought of.

        Args:
            logits: of the image [U].
            label: number of the class.

        Returns:
            direction [U] and constant: at the image, ``logits @ direction + constant`` is exactly its log odds.
        """
        if self.kind == "binary":
            return np.array([1.0 if label == 1 else -1.0]), 0.0
        others = np.delete(logits, label)  # [L - 1]
        odds = np.exp(others - others.max())
        shares = odds / odds.sum()
        entropy = np.log(odds.sum()) - float(shares @ (others - others.max()))
        return np.insert(-shares, label, 1.0), -float(entropy)


@cache
def _numbered(count: int) -> Task:
    return Task(tuple(str(number) for number in range(count)))
