"""The fitted head: one matrix and one bias, whichever way it was fitted; of a kernel head, on expanded features.

Shapes: N images, D features (expanded, where the head has an expansion), U output units, L classes (see
:mod:`tlcli.heads.task`); features [N, D], weights [D, U], bias [U], probabilities [N, L].
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.features.rows import Rows
from tlcli.heads.expansion import Expansion
from tlcli.heads.task import Task

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
    """Logits are divided by it: above 1 it lowers the confidence of the same answers."""
    expansion: Expansion | None = None
    """Of a kernel head: what it is linear in, made from the features first."""
    typical: "NDArray[np.float32] | None" = None
    """[D], means of the features over the training rows, which explanations compare with; None where unknown."""

    @property
    def task(self) -> Task:
        """Binary or multiclass, with class numbers for names."""
        return Task.of_units(len(self.bias))

    @property
    def trainable_parameters(self) -> int:
        """D U + U."""
        return self.weights.size + self.bias.size

    def logits(self, features: "NDArray[np.float32]") -> "NDArray[np.float64]":
        """Features [..., D] -> [..., U], before the temperature."""
        if self.expansion is not None:
            features = self.expansion.apply(features)
        return np.asarray(features.astype(np.float64) @ self.weights.astype(np.float64) + self.bias)

    def probabilities(self, features: "NDArray[np.float32]") -> "NDArray[np.float64]":
        """[N, D] -> calibrated probabilities [N, L]; rows sum to 1."""
        return self.task.probabilities(self.logits(features) / self.temperature)

    def predict(self, rows: Rows) -> "NDArray[np.float64]":
        """Calibrated probabilities [N, L] of rows, read block by block."""
        blocks = [self.probabilities(features) for _, features in rows.blocks()]
        return np.concatenate(blocks) if blocks else np.empty((0, self.task.count))
