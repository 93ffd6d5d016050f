"""Standardises features by their mean and standard deviation over the training rows, block by block.

Shapes: N rows, D features, U units of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tlcli.features.rows import Rows
from tlcli.heads.head import Head

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NOISE = 1e-7
"""What rounding leaves of the deviations of features that are constant."""


def floored(deviations: "NDArray[np.floating]", widths: Sequence[int]) -> "NDArray[np.float64]":
    """The scale that features are divided by: each one's standard deviation [D], but never less than the mean of its
    block; ``widths`` are those of the blocks.

    After a rectifier many features are non-zero in an image or two of a thousand. Divided by their own deviation alone,
    they would weigh as much as all others, reach 30 in those images and 1,000 in an unseen one; that costs accuracy,
    and iterations of the solver. Floors from 0.7 to twice the mean do equally well.
    """
    return np.concatenate([_floored(block) for block in np.split(deviations, np.cumsum(widths)[:-1])])


def _floored(deviations: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """Of one block."""
    floor = np.mean(deviations, dtype=np.float64)
    return np.maximum(deviations, floor, dtype=np.float64) if floor > _NOISE else np.ones(len(deviations))


@dataclass(frozen=True)
class Standardizer:
    """Mean and scale (see :func:`floored`) of each feature over the training rows, rounded to float32: [D] each."""

    mean: "NDArray[np.float32]"
    scale: "NDArray[np.float32]"

    @classmethod
    def of(cls, rows: Rows, standardize: bool) -> "Standardizer":
        """Fits it to these rows; without ``standardize`` it is the identity."""
        if not standardize:
            return cls(np.zeros(rows.width, np.float32), np.ones(rows.width, np.float32))
        mean, squares, count = np.zeros(rows.width), np.zeros(rows.width), 0  # squared distances from the mean, summed
        for _, features in rows.blocks():
            block = features.astype(np.float64)
            apart, before = block.mean(axis=0) - mean, count
            count += len(block)
            squares += block.var(axis=0) * len(block) + apart**2 * (before * len(block) / count)  # Chan et al. 1983
            mean += apart * (len(block) / count)
        deviations = np.sqrt(squares / count)
        return cls(mean.astype(np.float32), floored(deviations, rows.widths).astype(np.float32))

    def of_blocks(self, widths: Sequence[int], numbers: Sequence[int]) -> "Standardizer":
        """The same of some blocks of the features, by their numbers; ``widths`` are those of all blocks."""
        used = np.repeat(np.isin(np.arange(len(widths)), numbers), widths)
        return Standardizer(self.mean[used], self.scale[used])

    def apply(self, features: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Standardises rows [n, D] in place and returns them."""
        features -= self.mean
        features /= self.scale
        return features

    def rows(self, rows: Rows) -> Rows:
        """The same rows, standardised as they are read."""
        return replace(rows, read=lambda numbers: self.apply(rows.read(numbers)))

    def fold(self, weights: "NDArray[np.floating]", bias: "NDArray[np.floating]") -> Head:
        """Folds the standardisation into a head fitted on standardised features (weights [D, U], bias [U]), so that it
        takes features as they are."""
        folded = weights.astype(np.float64) / self.scale[:, np.newaxis]
        return Head(folded.astype(np.float32), (bias - self.mean @ folded).astype(np.float32), typical=self.mean)
