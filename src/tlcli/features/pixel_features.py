"""Features without a network, computed from the pixels that a backbone would see: honest references for it.

Shapes: a feature is float32 [D].
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlcli.backbones.blocks import Blocks
from tlcli.datasets.index import LabelledImage
from tlcli.engines.threaded import ThreadedEngine
from tlcli.features.key import preparation_digest
from tlcli.features.pipeline import Extraction, extract
from tlcli.features.rows import Rows
from tlcli.features.store import Store, row_key
from tlcli.images.augmentation import PLAIN
from tlcli.images.items import Decoder
from tlcli.images.preparation import Preparation
from tlcli.progress import SILENT, Progress
from tlcli.system.cpu import threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class PixelFeatures:
    """A kind of such features, and how they are kept."""

    name: str
    version: int
    """Part of the key: increase it when the features change."""
    blocks: Blocks
    compute: "Callable[[NDArray[np.uint8]], NDArray[np.float32]]"
    """uint8 [H, W, 3] -> float32 [D]."""

    def store(self, preparation: Preparation, progress: Progress = SILENT) -> Store:
        """The store of images with this preparation, shared by all backbones."""
        depends = json.dumps([self.name, self.version, preparation_digest(preparation.untiled)])
        return Store(hashlib.sha256(depends.encode()).hexdigest(), self.blocks, progress)

    def extract(
        self, images: Sequence[LabelledImage], preparation: Preparation, store: Store, progress: Progress = SILENT
    ) -> Extraction:
        """Makes the store hold the features of plain images; see :func:`tlcli.features.pipeline.extract`."""
        decoder, wanted = Decoder(preparation.untiled), [(images, (PLAIN,))]
        return extract(wanted, decoder, store, lambda: ThreadedEngine(decoder, self.compute, threads()), progress)

    def rows(
        self, images: Sequence[LabelledImage], like: Rows, preparation: Preparation, progress: Progress = SILENT
    ) -> Rows:
        """The features of plain images; computed where the store has none.

        Args:
            images: the images [N].
            like: rows of these images in the same order, whose labels and units are taken [N].
            preparation: decodes them.
            progress: receives the stage.

        Raises:
            DataError: a file changed since its digest was taken.
            ResourceError: the disk is full.
        """
        store = self.store(preparation, progress)
        self.extract(images, preparation, store, progress)
        reader = store.reader([row_key(image.sha256, PLAIN) for image in images])
        return Rows(like.labels, like.units, self.blocks.widths, reader)
