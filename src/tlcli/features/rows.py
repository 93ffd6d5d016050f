"""Rows to fit on: features that may be larger than memory, passed over block by block.

Shapes: N rows, D features. A block is float32 [n, D], n at most ``BLOCK_ROWS``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tlcli.heads.head import Head

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_ROWS = 2048
"""16 MB of DenseNet201's features: large enough for fast products, small beside what every process needs."""


@dataclass(frozen=True)
class Rows:
    """Features with their labels. Every pass gives the same blocks in the same order, whatever the store's files are
    like, so that sums over them are equal bit for bit."""

    labels: "NDArray[np.int64]"
    """[N], the class's number"""
    units: "NDArray[np.int64]"
    """[N], rows of one unit (views, copies, a group) never part in cross-validation"""
    width: int
    """D"""
    read: "Callable[[NDArray[np.int64]], NDArray[np.float32]]"
    """Row numbers [n] -> their features, float32 [n, D], a copy."""

    @classmethod
    def of(
        cls, features: "NDArray[np.float32]", labels: "NDArray[np.int64]", units: "NDArray[np.int64] | None" = None
    ) -> "Rows":
        """Rows that lie in memory: features [N, D]; without units every row is its own."""
        return cls(labels, np.arange(len(labels)) if units is None else units, features.shape[1], features.__getitem__)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: "NDArray[np.int64]") -> "Rows":
        """Some of the rows, their features in memory."""
        return Rows.of(self.read(places), self.labels[places], self.units[places])

    def part(self, places: "NDArray[np.int64]") -> "Rows":
        """Some of the rows, read when they are asked for."""
        return replace(
            self,
            labels=self.labels[places],
            units=self.units[places],
            read=lambda numbers: self.read(places[numbers]),
        )

    def blocks(self) -> "Iterator[tuple[slice, NDArray[np.float32]]]":
        """All rows in order: where they stand, and their features [n, D]."""
        for start in range(0, len(self), BLOCK_ROWS):
            place = slice(start, min(start + BLOCK_ROWS, len(self)))
            yield place, self.read(np.arange(place.start, place.stop))

    def features(self) -> "NDArray[np.float32]":
        """All of them, in memory: [N, D]."""
        return self.read(np.arange(len(self)))


_NOISE = 1e-7
"""What rounding leaves of features none of which ever moves."""


def floored(spreads: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """What features are divided by: each one's standard deviation [D], but never less than the mean of all.

    After a rectifier many features move in an image or two of a thousand. Divided by their own deviation alone, they
    would be as loud as all others, reach 30 in those images and 1,000 in one that was not fitted on; that costs
    accuracy, and passes of the solver. Floors from 0.7 to twice the mean do equally well.
    """
    floor = np.mean(spreads, dtype=np.float64)
    return np.maximum(spreads, floor, dtype=np.float64) if floor > _NOISE else np.ones(len(spreads))


@dataclass(frozen=True)
class Standard:
    """Mean and spread (see :func:`floored`) of each feature over the training rows, as float32 has them: [D] each."""

    mean: "NDArray[np.float32]"
    spread: "NDArray[np.float32]"

    @classmethod
    def of(cls, rows: Rows, standardize: bool) -> "Standard":
        """Of these rows; without ``standardize`` the one that changes nothing."""
        if not standardize:
            return cls(np.zeros(rows.width, np.float32), np.ones(rows.width, np.float32))
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        for _, features in rows.blocks():
            scaler.partial_fit(features.astype(np.float64))
        return cls(scaler.mean_.astype(np.float32), floored(np.sqrt(scaler.var_)).astype(np.float32))

    def apply(self, features: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Standardises rows [n, D] in place, and gives them."""
        features -= self.mean
        features /= self.spread
        return features

    def rows(self, rows: Rows) -> Rows:
        """The same rows, standardised as they are read."""
        return replace(rows, read=lambda places: self.apply(rows.read(places)))

    def fold(self, weights: "NDArray[np.floating]", bias: "NDArray[np.floating]") -> Head:
        """A head for features as they are, from one fitted on standardised features: weights [D, U], bias [U]."""
        folded = weights.astype(np.float64) / self.spread[:, np.newaxis]
        return Head(folded.astype(np.float32), (bias - self.mean @ folded).astype(np.float32))
