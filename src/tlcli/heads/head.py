"""The fitted head: one matrix and one bias, whichever way it was fitted.

Shapes: features [N, D], weights [D, U], bias [U], probabilities [N, L]. Two classes have one unit (U = 1, a sigmoid
giving the second class's probability); more classes have one each (U = L, a softmax).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Head:
    """A linear classifier on features."""

    weights: "NDArray[np.float32]"
    """[D, U]"""
    bias: "NDArray[np.float32]"
    """[U]"""
    temperature: float = 1.0
    """What logits are divided by: above 1, the head is less sure of the same answers."""

    @property
    def trainable_parameters(self) -> int:
        """D U + U."""
        return self.weights.size + self.bias.size

    def probabilities(self, features: "NDArray[np.float32]") -> "NDArray[np.float64]":
        """[N, D] -> [N, L], rows sum to 1."""
        logits = features.astype(np.float64) @ self.weights.astype(np.float64) + self.bias  # [N, U]
        logits /= self.temperature
        if logits.shape[1] == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)  # sigmoid(z) = softmax(0, z)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Step:
    """One line of history: an epoch, or a strength tried."""

    step: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float | None = None
    strength: float | None = None


@dataclass(frozen=True)
class HeldOut:
    """What cross-validation within the fit said of training rows that it had held out: a basis for calibration."""

    places: "NDArray[np.int64]"
    """[n], which of the rows: all of them, or a sample where there are very many"""
    labels: "NDArray[np.int64]"
    """[n]"""
    probabilities: "NDArray[np.float64]"
    """[n, L]"""


@dataclass(frozen=True)
class Fit:
    """A head and how it came about."""

    head: Head
    history: tuple[Step, ...]
    chosen: int
    """The step whose weights the head has."""
    held_out: HeldOut | None = None
    """At the chosen strength; None of a fit that divides no rows."""
