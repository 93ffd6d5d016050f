"""Decodes items ahead of an engine that computes batches: in threads, or in processes where there are many cores.

Of the 2.0 ms of a core that a 250-pixel JPEG takes, Pillow holds Python's lock for 0.4 ms (while it opens the file
and makes an array): threads keep no more than five cores busy, and slow the thread that feeds a GPU. A process costs
0.3 s at the start and 0.1 ms an image for its pixels.
"""

import os
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

import numpy as np

from tlcli.images.decode import BadImageError
from tlcli.images.decode_process import receive, send
from tlcli.images.items import Decoder, Item
from tlcli.system.cpu import threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["threads", "processes"]
_FEW = 4
"""Cores up to which threads decode as fast as processes do."""
_ATTEMPTS = 2
"""Processes that may die over an image before it counts as unreadable."""


def kind_for(workers: int) -> Kind:
    """What decodes fastest with so many workers."""
    return "processes" if workers > _FEW else "threads"


class DecodePool:
    """Decodes items side by side. The caller bounds how many it submits."""

    def __init__(self, decoder: Decoder, workers: int | None = None, kind: Kind | None = None) -> None:
        """Starts the threads; processes start with their first item.

        Args:
            decoder: turns items into views.
            workers: how many; by default as many as threads may be used.
            kind: threads or processes; by default what is faster (:func:`kind_for`).
        """
        self.workers = workers or threads()
        self.kind = kind or kind_for(self.workers)
        self._decoder = decoder
        self._pool = ThreadPoolExecutor(self.workers, "decode")
        self._local = threading.local()
        self._started: list[_Worker] = []

    def submit(self, item: Item) -> "Future[list[NDArray[np.uint8]]]":
        """Starts to decode an item; the future gives what :meth:`tlcli.images.items.Decoder.views` does."""
        return self._pool.submit(self._decoder.views if self.kind == "threads" else self._in_process, item)

    def close(self) -> None:
        """Cancels what has not started, waits for the rest, and ends the processes."""
        self._pool.shutdown(cancel_futures=True)
        for worker in self._started:
            worker.end()

    def _in_process(self, item: Item) -> "list[NDArray[np.uint8]]":
        """Decodes in the process that belongs to this thread; one that died is replaced."""
        for _ in range(_ATTEMPTS):
            worker = getattr(self._local, "worker", None)
            if worker is None:
                worker = self._local.worker = _Worker(self._decoder)
                self._started.append(worker)
            try:
                return worker.views(item)
            except (EOFError, BrokenPipeError):
                worker.end()
                self._started.remove(worker)
                self._local.worker = None
        raise BadImageError("image.decoder_died", "decoding it ends the process that does it")


class _Worker:
    """A process of :mod:`tlcli.images.decode_process`."""

    def __init__(self, decoder: Decoder) -> None:
        # -P: a json.py in the user's current folder must not be imported. One thread: workers share the cores.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tlcli.images.decode_process"], env=environment, bufsize=-1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the parent, which ends them
        )  # fmt: skip
        self._in, self._out = cast("tuple[BinaryIO, BinaryIO]", (self._process.stdin, self._process.stdout))
        with suppress(BrokenPipeError):
            send(self._in, decoder)

    def views(self, item: Item) -> "list[NDArray[np.uint8]]":
        send(self._in, item)
        self._in.flush()
        head = receive(self._out)
        if isinstance(head, tuple):
            error, cause = head
            raise error from cause
        return [self._pixels(shape) for shape in head]

    def _pixels(self, shape: tuple[int, ...]) -> "NDArray[np.uint8]":
        pixels = np.empty(shape, np.uint8)
        if self._out.readinto(pixels.data.cast("B")) < pixels.nbytes:  # type: ignore[attr-defined]
            raise EOFError
        return pixels

    def end(self) -> None:
        with suppress(OSError):  # what was not flushed
            self._in.close()
        self._process.kill()
        self._process.wait()
        self._out.close()
