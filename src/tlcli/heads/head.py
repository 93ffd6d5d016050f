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

    @property
    def trainable_parameters(self) -> int:
        """D U + U."""
        return self.weights.size + self.bias.size

    def probabilities(self, features: "NDArray[np.float32]") -> "NDArray[np.float64]":
        """[N, D] -> [N, L], rows sum to 1."""
        logits = features.astype(np.float64) @ self.weights.astype(np.float64) + self.bias  # [N, U]
        if logits.shape[1] == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)  # sigmoid(z) = softmax(0, z)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Standard:
    """Mean and spread of each feature over the training rows."""

    mean: "NDArray[np.float64]"
    spread: "NDArray[np.float64]"

    @classmethod
    def of(cls, features: "NDArray[np.float32]", standardize: bool) -> "Standard":
        """Of these rows [N, D]; without ``standardize`` the one that changes nothing."""
        width = features.shape[1]
        if not standardize:
            return cls(np.zeros(width), np.ones(width))
        spread = features.std(axis=0, dtype=np.float64)
        # A feature that never moves tells nothing; dividing by its rounding noise would blow it up.
        return cls(features.mean(axis=0, dtype=np.float64), np.where(spread > 1e-7, spread, 1.0))

    def apply(self, features: "NDArray[np.float32]") -> "NDArray[np.float64]":
        """Standardised rows [N, D]."""
        return (features - self.mean) / self.spread

    def fold(self, weights: "NDArray[np.floating]", bias: "NDArray[np.floating]") -> Head:
        """A head for features as they are, from one fitted on standardised features: weights [D, U], bias [U]."""
        folded = weights / self.spread[:, np.newaxis]
        return Head(folded.astype(np.float32), (bias - self.mean @ folded).astype(np.float32))


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
class Fit:
    """A head and how it came about."""

    head: Head
    history: tuple[Step, ...]
    chosen: int
    """The step whose weights the head has."""


@dataclass(frozen=True)
class Rows:
    """Features to fit on or to watch."""

    features: "NDArray[np.float32]"
    """[N, D]"""
    labels: "NDArray[np.int64]"
    """[N], the class's number"""
    units: "NDArray[np.int64]"
    """[N], rows of one unit (views, copies, a group) never part in cross-validation"""
