"""An engine that decodes and computes every item in one thread of a pool."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.images.items import Decoder, Item


class ThreadedEngine:
    """Applies a function of pixels to every view of an item, in the thread that decoded it.

    So items are decoded while others are computed, and no item waits for another. See
    :class:`tlcli.engines.interface.Engine`.
    """

    def __init__(
        self, decoder: "Decoder", compute: "Callable[[NDArray[np.uint8]], NDArray[np.float32]]", workers: int
    ) -> None:
        """Starts the pool.

        Args:
            decoder: turns items into images, uint8 [S, S, 3].
            compute: an image -> float32 [D]; called by several threads at a time.
            workers: number of threads.
        """
        self.window = 2 * workers
        self._decoder, self._compute, self._workers = decoder, compute, workers
        self._pool = ThreadPoolExecutor(workers, "engine")

    def submit(self, item: "Item") -> "Future[NDArray[np.float32]]":
        """See :meth:`tlcli.engines.interface.Engine.submit`."""
        return self._pool.submit(self._rows, item)

    def _rows(self, item: "Item") -> "NDArray[np.float32]":
        return np.stack([self._compute(pixels) for pixels in self._decoder.views(item)])

    def maps(self) -> "ThreadedEngine":
        """The feature as a map of one position, [V, 1, 1, D]: such a function does not say where it looks."""
        return ThreadedEngine(
            self._decoder, lambda pixels: self._compute(pixels)[np.newaxis, np.newaxis], self._workers
        )

    def close(self) -> None:
        """See :meth:`tlcli.engines.interface.Engine.close`."""
        self._pool.shutdown(cancel_futures=True)
