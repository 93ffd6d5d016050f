"""A k-nearest-neighbours classifier on features, by cosine.

Shapes: N training rows of D features, n rows to classify, L classes. Products are computed block by block.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlcli.features.rows import Rows
from tlcli.heads.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBOURS = (1, 3, 5, 9, 15, 25)
"""Candidates for k."""
MOST_ROWS = 8192
"""Training rows at most: 63 MB of DenseNet201's features. A random sample where there are more."""
_MOST_TRIED = 2048
"""Training rows that k is chosen on, at most."""
_BLOCK = 1024
"""Rows whose cosines with all training rows are in memory at once: 32 MB."""


class NearestNeighbours:
    """Training rows, and how many of the nearest vote."""

    def __init__(self, rows: Rows, seed: int) -> None:
        """Takes the training rows, or a random sample of them, and chooses k by leave-one-out cross-validation.

        There a row is classified by rows of other units only: its copy, or its group, would leak its label.

        Args:
            rows: features [N, D] with labels and units.
            seed: of the sample.
        """
        random = np.random.default_rng(seed)
        kept = np.sort(random.permutation(len(rows))[:MOST_ROWS])
        self._features = _unit(rows.read(kept))
        self._labels, self._units = rows.labels[kept], rows.units[kept]
        self._classes = Task.of(rows).count
        self.rows = len(kept)
        """Training rows in use."""
        self.k = self._best(np.sort(random.permutation(len(kept))[:_MOST_TRIED]))
        """Number of neighbours that vote."""

    def _best(self, tried: "NDArray[np.int64]") -> int:
        """The smallest k of the highest accuracy on these training rows."""
        counts = [k for k in NEIGHBOURS if k < self.rows] or [1]
        right = np.zeros(len(counts), np.int64)
        for start in range(0, len(tried), _BLOCK):
            block = tried[start : start + _BLOCK]
            cosines = self._features[block] @ self._features.T  # [n, N]
            cosines[self._units[block][:, np.newaxis] == self._units] = -np.inf
            for number, predicted in enumerate(self._votes(cosines, counts)):
                right[number] += np.count_nonzero(predicted == self._labels[block])
        return counts[int(right.argmax())]

    def predict(self, rows: Rows) -> "NDArray[np.int64]":
        """The majority class of the k nearest training rows, of each row: [n]; at a tie the nearest decides."""
        predicted = np.empty(len(rows), np.int64)
        for start in range(0, len(rows), _BLOCK):
            numbers = np.arange(start, min(start + _BLOCK, len(rows)))
            cosines = _unit(rows.read(numbers)) @ self._features.T  # [n, N]
            (predicted[numbers],) = self._votes(cosines, [self.k])
        return predicted

    def _votes(self, cosines: "NDArray[np.float32]", counts: Sequence[int]) -> "Iterator[NDArray[np.int64]]":
        """The majority class for each k: cosines [n, N] -> [n]; ``counts`` ascend."""
        most = min(counts[-1], cosines.shape[1])
        nearest = np.argpartition(-cosines, most - 1, axis=1)[:, :most]
        each = np.arange(len(cosines))
        order = np.argsort(-np.take_along_axis(cosines, nearest, axis=1), axis=1, kind="stable")
        nearest = np.take_along_axis(nearest, order, axis=1)  # [n, most], the nearest first
        votes = np.zeros((len(cosines), self._classes))
        for rank in range(most):
            known = np.isfinite(cosines[each, nearest[:, rank]])  # all others may be of its own unit
            # What is added to one vote halves from rank to rank: it decides ties for the nearer, and nothing else.
            votes[each, self._labels[nearest[:, rank]]] += known * (1 + 2.0 ** -(rank + 2))
            if rank + 1 in counts:
                yield votes.argmax(axis=1)


def _unit(features: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Rows [n, D] divided by their lengths, in place; a row of zeros stays."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features /= np.where(lengths > 0, lengths, 1)
    return features
