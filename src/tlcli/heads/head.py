"""The fitted head, one matrix and one bias whichever way it was fitted, and the record of a fit.

Shapes: N images, D features, U output units, L classes (see :mod:`tlcli.heads.task`); features [N, D], weights [D, U],
bias [U], probabilities [N, L].
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tlcli.features.rows import Rows
from tlcli.heads.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

FitKind = Literal["logistic_regression", "minibatch"]


@dataclass(frozen=True)
class Head:
    """A linear classifier on features."""

    weights: "NDArray[np.float32]"
    """[D, U]"""
    bias: "NDArray[np.float32]"
    """[U]"""
    temperature: float = 1.0
    """Logits are divided by it: above 1 it lowers the confidence of the same answers."""

    @property
    def task(self) -> Task:
        """Binary or multiclass, with class numbers for names."""
        return Task.of_units(len(self.bias))

    @property
    def trainable_parameters(self) -> int:
        """D U + U."""
        return self.weights.size + self.bias.size

    def logits(self, features: "NDArray[np.float32]") -> "NDArray[np.float64]":
        """[..., D] -> [..., U], before the temperature."""
        return np.asarray(features.astype(np.float64) @ self.weights.astype(np.float64) + self.bias)

    def probabilities(self, features: "NDArray[np.float32]") -> "NDArray[np.float64]":
        """[N, D] -> calibrated probabilities [N, L]; rows sum to 1."""
        return self.task.probabilities(self.logits(features) / self.temperature)

    def predict(self, rows: Rows) -> "NDArray[np.float64]":
        """Calibrated probabilities [N, L] of rows, read block by block."""
        blocks = [self.probabilities(features) for _, features in rows.blocks()]
        return np.concatenate(blocks) if blocks else np.empty((0, self.task.count))


@dataclass(frozen=True)
class Step:
    """One line of the history: an epoch, or a value of C that was tried."""

    step: int
    """Counted from 1."""
    loss: float
    """Log loss on the rows fitted on."""
    accuracy: float
    val_loss: float
    """Log loss on the validation rows, or on the held-out folds."""
    val_accuracy: float
    learning_rate: float | None = None
    """Of an epoch."""
    C: float | None = None
    """Of logistic regression: inverse regularisation strength, as in scikit-learn."""


@dataclass(frozen=True)
class HeldOut:
    """Predictions of cross-validation within the fit for training rows that were held out: a basis for calibration."""

    rows: "NDArray[np.int64]"
    """[n], numbers of the rows: all of them, or a sample where there are very many"""
    labels: "NDArray[np.int64]"
    """[n]"""
    probabilities: "NDArray[np.float64]"
    """[n, L]"""


@dataclass(frozen=True)
class Fit:
    """A head and how it was fitted."""

    kind: FitKind
    head: Head
    history: tuple[Step, ...]
    best: Step
    """The step whose weights the head has."""
    held_out: HeldOut | None = None
    """At the best C; None of a mini-batch fit, which has no folds."""
