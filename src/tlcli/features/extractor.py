"""From images to stored features: the backbone, the decoder and the store together.

Shapes: N images, K + 1 views, D features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tlcli.backbones.blocks import Blocks
from tlcli.backbones.spec import BackboneSpec
from tlcli.datasets.index import LabelledImage
from tlcli.engines import interface
from tlcli.engines.interface import Engine
from tlcli.features.pipeline import Extraction, Wanted, extract, missing_items
from tlcli.features.rows import Rows
from tlcli.features.store import Store, row_key
from tlcli.features.tile_cost import tile_cost
from tlcli.features.units import Unit, UnitResult, UnitRow, units_of
from tlcli.images.augmentation import PLAIN
from tlcli.images.items import Decoder, Item
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

EngineOpener = Callable[[BackboneSpec, Decoder, Progress], Engine]
"""Opens an engine: :func:`tlcli.engines.interface.open_engine`, or a test double."""


class Elsewhere(Protocol):
    """Computes missing views on other machines."""

    def __call__(self, extractor: "FeatureExtractor", units: Sequence[Unit], progress: Progress) -> list[UnitResult]:
        """Computes units, and makes the extractor's store know what they gave."""
        ...


@dataclass(frozen=True)
class FeatureExtractor:
    """Computes each image's features once, and reads them from the store from then on."""

    spec: BackboneSpec
    decoder: Decoder
    store: Store
    """Opened under the key of the spec and the preparation; see :func:`tlcli.features.key.feature_key`."""
    views: tuple[str, ...] = (PLAIN,)
    """Names of the views of a training image; the first is the image without augmentation."""
    exact: "FeatureExtractor | None" = None
    """With precision int8: the float extractor that it is compared with."""
    opener: EngineOpener = interface.open_engine
    inputs: Blocks | None = None
    """The blocks that the head takes; None takes all."""
    elsewhere: Elsewhere | None = None
    """Computes what is missing first; what it leaves, such as unreadable images, is computed here."""

    @property
    def blocks(self) -> Blocks:
        """The blocks that the head takes."""
        return self.inputs or self.spec.row.blocks

    @property
    def last(self) -> Blocks:
        """The block that images are compared by; see :attr:`tlcli.backbones.blocks.Blocks.last`."""
        return self.spec.row.blocks.last

    def extract(self, wanted: Wanted, progress: Progress = SILENT) -> Extraction:
        """Makes the store hold these views of these images; see :func:`tlcli.features.pipeline.extract`."""

        def announce(items: Sequence[Item]) -> None:
            if cost := tile_cost(items, self.spec, self.decoder.preparation):
                progress.note(cost)

        before = 0
        if self.elsewhere and (items := missing_items(wanted, self.store)[0]):
            announce(items)
            rows = [UnitRow(str(Path(str(one.source)).absolute()), "", None, one.sha256, one.views) for one in items]
            before = sum(result.computed for result in self.elsewhere(self, units_of(rows), progress))
        done = extract(wanted, self.decoder, self.store, lambda: self.open_engine(progress), progress, announce)
        return replace(done, computed=done.computed + before, reused=done.reused - before)

    def open_engine(self, progress: Progress = SILENT) -> Engine:
        """Loads the backbone; the caller closes it.

        Raises:
            ModelError: the weights do not fit the backbone, or the engine is unavailable on this machine.
        """
        return self.opener(self.spec, self.decoder, progress)

    def features(self, images: Sequence[LabelledImage], blocks: Blocks | None = None) -> "NDArray[np.float32]":
        """The stored features of images without augmentation, of some blocks or those that the head takes: float32
        [N, D].

        Raises:
            KeyError: an image was not extracted.
        """
        return self.store.read((row_key(image.sha256, PLAIN) for image in images), blocks or self.blocks)

    def rows(
        self,
        images: Sequence[LabelledImage],
        labels: Sequence[str],
        views: Sequence[str] | None = None,
        blocks: Blocks | None = None,
    ) -> Rows:
        """The stored features of labelled images, view after view: N (K + 1) rows that are read when they are used.

        Args:
            images: the images.
            labels: all class names; a row's label is an index into them.
            views: names of the views; None takes the images without augmentation.
            blocks: of the features; None takes those that the head takes.

        Raises:
            KeyError: an image was not extracted.
        """
        names = (PLAIN,) if views is None else views
        numbers = {label: number for number, label in enumerate(labels)}
        units = {unit: number for number, unit in enumerate(dict.fromkeys(image.group for image in images))}
        keys = [row_key(image.sha256, view) for view in names for image in images]
        return Rows(
            labels=np.tile(np.array([numbers[image.label] for image in images], np.int64), len(names)),
            units=np.tile(np.array([units[image.group] for image in images], np.int64), len(names)),
            widths=(blocks or self.blocks).widths,
            read=self.store.reader(keys, blocks or self.blocks),
        )
