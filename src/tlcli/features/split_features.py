"""The stored features of an index's splits, read from the store once and shared.

Shapes: N images of some splits, D features.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.blocks import Blocks
from tlcli.datasets.index import Index
from tlcli.datasets.split_names import SplitName
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEMORY_BYTES = 256 << 20
"""Features kept in memory; splits that exceed it are read from the store, block by block, at every use."""


@dataclass
class SplitFeatures:
    """Rows of the images without augmentation, by split. All of them must have been extracted."""

    index: Index
    extractor: FeatureExtractor
    memory_bytes: int = MEMORY_BYTES
    blocks: Blocks | None = None
    """Of the features; None takes those that the head takes."""
    _loaded: "dict[SplitName, NDArray[np.float32]]" = field(default_factory=dict)

    @property
    def width(self) -> int:
        """D"""
        return (self.blocks or self.extractor.blocks).width

    def of(self, extractor: FeatureExtractor) -> "SplitFeatures":
        """The same images' features by an extractor: these, where it is their own."""
        return self if extractor is self.extractor else SplitFeatures(self.index, extractor, self.memory_bytes)

    def of_last_layer(self) -> "SplitFeatures":
        """The last layer's averages of the same images, for what compares images."""
        return SplitFeatures(self.index, self.extractor, self.memory_bytes, self.extractor.last)

    def rows(self, *splits: SplitName) -> Rows:
        """Labels, units and features of the images of these splits, in their order; units are numbered across them."""
        images = [image for split in splits for image in self.index.of(split)]
        rows = self.extractor.rows(images, self.index.labels, blocks=self.blocks)
        if not all(self._load(split) for split in splits):
            return rows
        return replace(rows, read=self._reader(splits))

    def _load(self, split: SplitName) -> bool:
        """Whether the features of a split are in memory; reads them now if there is room."""
        if split not in self._loaded:
            images = self.index.of(split)
            used = sum(features.nbytes for features in self._loaded.values())
            if used + 4 * len(images) * self.width > self.memory_bytes:
                return False
            self._loaded[split] = self.extractor.features(images, self.blocks)
        return True

    def _reader(self, splits: tuple[SplitName, ...]) -> "Callable[[NDArray[np.int64]], NDArray[np.float32]]":
        parts = [self._loaded[split] for split in splits]
        starts = np.cumsum([0, *map(len, parts)])

        def read(numbers: "NDArray[np.int64]") -> "NDArray[np.float32]":
            rows = np.empty((len(numbers), self.width), np.float32)
            for part, start in zip(parts, starts, strict=False):
                own = (numbers >= start) & (numbers < start + len(part))
                rows[own] = part[numbers[own] - start]
            return rows

        return read
