"""Rows to fit on: features that may be larger than memory, processed block by block.

Shapes: N rows, D features. A block is float32 [n, D], n at most ``BLOCK_ROWS``.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tlcli.system.cpu import threads
from tlcli.system.prefetch import in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_ROWS = 2048
"""16 MB of DenseNet201's features: large enough for fast products, small beside what every process needs."""
_READ_AHEAD = 8 * BLOCK_ROWS
"""Rows from which blocks are read ahead in threads: a pass over fewer takes milliseconds."""


@dataclass(frozen=True)
class Rows:
    """Features with their labels. Every pass gives the same blocks in the same order, whatever the store's files are
    like, so that sums over them are equal bit for bit."""

    labels: "NDArray[np.int64]"
    """[N], the class's number"""
    units: "NDArray[np.int64]"
    """[N], rows of one unit (views, copies, a group) never part in cross-validation"""
    widths: tuple[int, ...]
    """Of the blocks of features that a row holds side by side (:mod:`tlcli.backbones.blocks`)."""
    read: "Callable[[NDArray[np.int64]], NDArray[np.float32]]"
    """Row numbers [n] -> their features, float32 [n, D], a copy."""

    @classmethod
    def of(
        cls,
        features: "NDArray[np.float32]",
        labels: "NDArray[np.int64]",
        units: "NDArray[np.int64] | None" = None,
        widths: tuple[int, ...] = (),
    ) -> "Rows":
        """Rows that lie in memory: features [N, D]; without units every row is its own, without widths they are one
        block."""
        units = np.arange(len(labels)) if units is None else units
        return cls(labels, units, widths or (features.shape[1],), features.__getitem__)

    @property
    def width(self) -> int:
        """D"""
        return sum(self.widths)

    def of_blocks(self, numbers: Sequence[int]) -> "Rows":
        """The same rows with some of their blocks, by their numbers, which rise."""
        if len(numbers) == len(self.widths):
            return self
        starts = np.cumsum([0, *self.widths])
        columns = np.concatenate([np.arange(starts[number], starts[number + 1]) for number in numbers])
        widths = tuple(self.widths[number] for number in numbers)
        return replace(self, widths=widths, read=lambda rows: self.read(rows)[:, columns])

    def with_features(self, features: "NDArray[np.float32]") -> "Rows":
        """The same rows with other features [N, D], in memory."""
        return Rows.of(features, self.labels, self.units, self.widths)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: "NDArray[np.int64]") -> "Rows":
        """Some of the rows, their features in memory."""
        return Rows.of(self.read(places), self.labels[places], self.units[places], self.widths)

    def part(self, places: "NDArray[np.int64]") -> "Rows":
        """Some of the rows, read when they are asked for."""
        return replace(
            self,
            labels=self.labels[places],
            units=self.units[places],
            read=lambda numbers: self.read(places[numbers]),
        )

    def blocks(self) -> "Iterator[tuple[slice, NDArray[np.float32]]]":
        """All rows in order: where they stand, and their features [n, D]. Of many rows the next blocks are read and
        prepared while the caller works on one; at most one a thread, so that memory stays bounded."""
        places = [slice(at, min(at + BLOCK_ROWS, len(self))) for at in range(0, len(self), BLOCK_ROWS)]
        if len(self) <= _READ_AHEAD:
            yield from ((place, self._of(place)) for place in places)
            return
        with ThreadPoolExecutor(threads()) as pool:
            for place, future in in_order(lambda place: pool.submit(self._of, place), places, threads() + 1):
                yield place, future.result()

    def _of(self, place: slice) -> "NDArray[np.float32]":
        return self.read(np.arange(place.start, place.stop))

    def features(self) -> "NDArray[np.float32]":
        """All of them, in memory: [N, D]."""
        return self.read(np.arange(len(self)))
