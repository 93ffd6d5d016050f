"""A k-nearest-neighbours classifier on features, by cosine.

Shapes: N training rows of D features, n rows to classify, L classes.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlcli.evaluation.nearest import Nearest, nearest
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
        self._features = rows.read(kept)
        self._labels, self._units = rows.labels[kept], rows.units[kept]
        self._classes = Task.of(rows).count
        self.rows = len(kept)
        """Training rows in use."""
        self.k = self._best(np.sort(random.permutation(len(kept))[:_MOST_TRIED]))
        """Number of neighbours that vote."""

    def _best(self, tried: "NDArray[np.int64]") -> int:
        """The smallest k of the highest accuracy on these training rows."""
        counts = [k for k in NEIGHBOURS if k < self.rows] or [1]
        near = nearest(self._features[tried], self._features, counts[-1], self._units[tried], self._units)
        tries = votes(near, self._labels, self._classes, counts)
        right = [np.count_nonzero(predicted == self._labels[tried]) for predicted in tries]
        return counts[int(np.argmax(right))]

    def predict(self, rows: Rows) -> "NDArray[np.int64]":
        """The majority class of the k nearest training rows, of each row: [n]; at a tie the nearest decides."""
        predicted = np.empty(len(rows), np.int64)
        for place, features in rows.blocks():
            (predicted[place],) = votes(
                nearest(features, self._features, self.k), self._labels, self._classes, [self.k]
            )
        return predicted


def votes(
    near: Nearest, labels: "NDArray[np.int64]", classes: int, counts: Sequence[int]
) -> "Iterator[NDArray[np.int64]]":
    """The majority class of the nearest rows, [n] for each k; at a tie the nearest decides.

    Args:
        near: the nearest rows of each row to classify.
        labels: of the rows that vote, [N].
        classes: L.
        counts: values of k, ascending.
    """
    each = np.arange(len(near.numbers))
    found = np.zeros((len(each), classes))
    for rank, numbers in enumerate(near.numbers.T):
        known = numbers >= 0  # all others may be of its own unit
        # What is added to one vote halves from rank to rank: it decides ties for the nearer, and nothing else.
        found[each, labels[numbers]] += known * (1 + 2.0 ** -(rank + 2))
        if rank + 1 in counts:
            yield found.argmax(axis=1)
