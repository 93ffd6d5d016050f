"""k nearest neighbours on features, by cosine: what an image's own neighbourhood says, with nothing fitted.

Shapes: N fitted rows of D features, n rows that are named, L classes. Products are made block by block.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlcli.features.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBOURS = (1, 3, 5, 9, 15, 25)
"""Numbers of neighbours that are tried."""
MOST_ROWS = 8192
"""Fitted rows that are compared with, at most: 63 MB of DenseNet201's features. A random part where there are more."""
_MOST_TRIED = 2048
"""Fitted rows by which the number of neighbours is chosen, at most."""
_BLOCK = 1024
"""Rows whose cosines with all fitted ones are held at once: 32 MB."""


class Neighbours:
    """Fitted rows, and how many of the nearest vote."""

    def __init__(self, rows: Rows, seed: int) -> None:
        """Takes the fitted rows, or a random part of them, and chooses the number of neighbours by leaving one out.

        A row is then named by rows of other units only: its copy, or its group, would know too much.

        Args:
            rows: features [N, D] with labels and units.
            seed: of the random part.
        """
        random = np.random.default_rng(seed)
        kept = np.sort(random.permutation(len(rows))[:MOST_ROWS])
        self._features = _unit(rows.read(kept))
        self._labels, self._units = rows.labels[kept], rows.units[kept]
        self._classes = int(rows.labels.max()) + 1
        self.rows = len(kept)
        """Fitted rows that are compared with."""
        self.k = self._best(np.sort(random.permutation(len(kept))[:_MOST_TRIED]))
        """Neighbours that vote."""

    def _best(self, tried: "NDArray[np.int64]") -> int:
        """The smallest of the numbers that name most of these fitted rows rightly."""
        counts = [k for k in NEIGHBOURS if k < self.rows] or [1]
        right = np.zeros(len(counts), np.int64)
        for start in range(0, len(tried), _BLOCK):
            block = tried[start : start + _BLOCK]
            cosines = self._features[block] @ self._features.T  # [n, N]
            cosines[self._units[block][:, np.newaxis] == self._units] = -np.inf
            for place, said in enumerate(self._votes(cosines, counts)):
                right[place] += np.count_nonzero(said == self._labels[block])
        return counts[int(right.argmax())]

    def predicted(self, rows: Rows) -> "NDArray[np.int64]":
        """The class that most of the k nearest fitted rows have, for each row: [n]; at a tie the nearest decides."""
        said = np.empty(len(rows), np.int64)
        for start in range(0, len(rows), _BLOCK):
            numbers = np.arange(start, min(start + _BLOCK, len(rows)))
            cosines = _unit(rows.read(numbers)) @ self._features.T  # [n, N]
            (said[numbers],) = self._votes(cosines, [self.k])
        return said

    def _votes(self, cosines: "NDArray[np.float32]", counts: Sequence[int]) -> "Iterator[NDArray[np.int64]]":
        """Classes by so many neighbours each: cosines [n, N] -> [n] for each count, which ascend."""
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
