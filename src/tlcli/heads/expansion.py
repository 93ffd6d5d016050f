"""The features of an RBF kernel, on which a linear head is a non-linear classifier.

Nystroem's method (Williams & Seeger 2001): the kernel between an image and M landmarks, times the inverse square root
of the kernel among the landmarks. With all training images as landmarks the head is exactly kernel logistic regression.
Importing this module does not import scikit-learn, which only the fit needs.

Shapes: N rows, D features, M landmarks, E expanded features (M, or fewer where landmarks repeat).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tlcli.features.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Expansion:
    """Maps features to those of the kernel exp(-gamma |x - y|²) between standardised features."""

    mean: "NDArray[np.float32]"
    """[D]"""
    scale: "NDArray[np.float32]"
    """[D], what features are divided by after the mean is subtracted."""
    landmarks: "NDArray[np.float16]"
    """[M, D], standardised."""
    transform: "NDArray[np.float32]"
    """[M, E]"""
    gamma: float

    @property
    def width(self) -> int:
        """E"""
        return int(self.transform.shape[1])

    def apply(self, features: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Features [..., D] -> expanded features [..., E]."""
        flat = (features.reshape(-1, features.shape[-1]) - self.mean) / self.scale
        kernel = rbf_kernel(flat, self._landmarks, self.gamma)
        return (kernel @ self.transform).reshape(*features.shape[:-1], self.width)

    def rows(self, rows: Rows) -> Rows:
        """The same rows, expanded, in memory: float32 [N, E]."""
        blocks = [self.apply(features) for _, features in rows.blocks()]
        expanded = np.concatenate(blocks) if blocks else np.empty((0, self.width), np.float32)
        return Rows.of(expanded, rows.labels, rows.units)

    @cached_property
    def _landmarks(self) -> "NDArray[np.float32]":
        return self.landmarks.astype(np.float32)


def rbf_kernel(
    rows: "NDArray[np.float32]", landmarks: "NDArray[np.float32]", gamma: float
) -> "NDArray[np.float32]":  # fmt: skip
    """exp(-gamma |x - y|²) of rows [N, D] and landmarks [M, D]: [N, M]."""
    squares = np.einsum("nd,nd->n", rows, rows)[:, None] + np.einsum("md,md->m", landmarks, landmarks)
    return np.asarray(np.exp(-gamma * np.maximum(squares - 2 * (rows @ landmarks.T), 0)), np.float32)
