"""An engine that decodes and computes every item in one thread of a pool."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.images.items import Decoder, Item

Result = TypeVar("Result")


class ThreadedEngine(Generic[Result]):
    """Applies a function of pixels to every view of an item, in the thread that decoded it.

    So items are decoded while others are computed, and no item waits for another. See
    :class:`tlcli.engines.interface.Engine`.
    """

    def __init__(self, decoder: "Decoder", compute: "Callable[[NDArray[np.uint8]], Result]", workers: int) -> None:
        """Starts the pool.

        Args:
            decoder: turns items into canvases, uint8 [H, W, 3].
            compute: an image -> what the futures give of each view; called by several threads at a time.
            workers: number of threads.
        """
        self.window = 2 * workers
        self._decoder, self._compute = decoder, compute
        self._pool = ThreadPoolExecutor(workers, "engine")

    def submit(self, item: "Item") -> "Future[list[Result]]":
        """See :meth:`tlcli.engines.interface.Engine.submit`."""
        return self._pool.submit(lambda: [self._compute(pixels) for pixels in self._decoder.views(item)])

    def close(self) -> None:
        """See :meth:`tlcli.engines.interface.Engine.close`."""
        self._pool.shutdown(cancel_futures=True)
