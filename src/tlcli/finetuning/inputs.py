"""What a training reads: stored feature maps, or images, which are augmented as they are read.

Shapes: n rows of a batch, E early features: those that are computed before the maps.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tlcli.backbones.blocks import MAP, Block, Blocks
from tlcli.errors import DataError
from tlcli.features.store import Store
from tlcli.finetuning.request import ImageFiles
from tlcli.images.augmentation import view_names
from tlcli.images.decode import BadImageError
from tlcli.images.items import Decoder, Item
from tlcli.system.cpu import threads
from tlcli.system.prefetch import in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

_READ_AHEAD = 3
"""Batches of images that are decoded while one is trained on."""


class Inputs(Protocol):
    """The rows of a training."""

    early_width: int
    """E"""

    def read(
        self, batches: "Sequence[NDArray[np.int64]]", epoch: int
    ) -> "Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]":
        """Maps [n, h, w, C] and early features [n, E] of the rows of each batch.

        Args:
            batches: numbers of rows.
            epoch: another one gives other augmented views, 0 the images as they are.
        """


class MapInputs:
    """Stored feature maps; a row is one view of an image in every epoch."""

    def __init__(
        self, store: str, keys: "NDArray[np.uint8]", shape: tuple[int, ...], before: Blocks, names: Sequence[str]
    ) -> None:
        """Opens a store.

        Args:
            store: its key.
            keys: [N, 32], of the rows.
            shape: of a map, [h, w, C].
            before: the early features that it holds.
            names: of the features that the head takes, early or not.
        """
        stored = Blocks((Block(MAP, "none", math.prod(shape)), *before.all))
        taken = [number for number, block in enumerate(stored.all) if block.name in names]
        self._read = Store(store, stored).reader(key.tobytes() for key in keys)
        self._shape, self._map = shape, stored.slices[0]
        self._early = [stored.slices[number] for number in taken]
        self.early_width = sum(stored.widths[number] for number in taken)

    def read(
        self, batches: "Sequence[NDArray[np.int64]]", epoch: int  # noqa: ARG002 - see Inputs
    ) -> "Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]":  # fmt: skip
        """See :class:`Inputs`."""
        for rows in batches:
            found = self._read(rows)
            early = [found[:, place] for place in self._early]
            yield (
                found[:, self._map].reshape(len(rows), *self._shape).astype(np.float32),
                np.concatenate([np.empty((len(rows), 0), np.float32), *early], axis=1, dtype=np.float32),
            )


class ImageInputs:
    """Images; a row is an image, in another view in every epoch."""

    early_width = 0

    def __init__(self, files: ImageFiles) -> None:
        self._paths, self._digests = files.paths, files.digests
        self._decoder = Decoder(files.preparation, files.augmentation)

    def read(
        self, batches: "Sequence[NDArray[np.int64]]", epoch: int
    ) -> "Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]":
        """See :class:`Inputs`.

        Raises:
            DataError: an image changed.
        """
        view = view_names(epoch, self._decoder.augmentation)[epoch]

        def pixels(row: int) -> "NDArray[np.uint8]":
            path = Path(self._paths[row])
            try:
                return self._decoder.views(Item(path, self._digests[row], (view,)))[0]
            except BadImageError as error:  # it was read before
                raise DataError(
                    "data.file_changed", f"{path} became unreadable during the training: {error}.",
                    "Run the command again with --verify.",
                ) from error  # fmt: skip

        with ThreadPoolExecutor(threads()) as pool:
            rows = (int(row) for batch in batches for row in batch)
            window = _READ_AHEAD * max((len(batch) for batch in batches), default=1)
            decoded = in_order(lambda row: pool.submit(pixels, row), rows, window)
            for batch in batches:
                images = np.stack([next(decoded)[1].result() for _ in batch]).astype(np.float32)
                yield images, np.empty((len(batch), 0), np.float32)
