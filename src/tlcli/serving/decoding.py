"""The decoders: processes that turn the bytes of clients into pixels and parse long JSON, each with limits on memory
and time.

Shapes: H and W are the canvas's height and width in pixels.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tlcli.images.decode import BadImageError
from tlcli.images.preparation import Preparation
from tlcli.serving.decode_process import LENGTHS, READY, TOO_MUCH_MEMORY, begin
from tlcli.serving.limits import Limits, RefusalError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_START = 30.0
"""Seconds that a process may take to start."""
_PIECE = 2**18
"""Bytes that are written to a process at a time."""
_LONGEST_PAUSE = 2.0
"""Seconds between starts of a process that ends at once."""


class _DiedError(Exception):
    """The process ended while it worked."""


class Decoders:
    """A fixed number of processes. One that dies or is too slow is replaced."""

    def __init__(self, count: int, limits: Limits) -> None:
        """Describes the processes; :meth:`start` starts them."""
        self.restarts = 0
        self._count, self._limits = count, limits
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._slots: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Starts the processes, without waiting for them."""
        self._slots = [asyncio.create_task(self._keep()) for _ in range(self._count)]

    async def close(self) -> None:
        """Ends them."""
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)

    async def prepare(self, data: bytes, preparation: Preparation) -> "NDArray[np.uint8]":
        """Decodes and resizes an image, as :func:`tlcli.images.decode.prepare` does: uint8 [H, W, 3].

        Raises:
            BadImageError: the image is unreadable, or exceeds a limit.
            RefusalError: two processes died over it.
        """
        import numpy as np  # noqa: PLC0415 - beside other imports at the start

        try:
            head, (pixels,) = await self._ask(vars(preparation), data)
        except TimeoutError as error:
            reason = f"decoding takes more than {self._limits.decode:g} seconds"
            raise BadImageError("image.too_slow", reason) from error
        _raise_if_bad(head)
        return np.frombuffer(pixels, np.uint8).reshape(head["shape"])

    async def parse(
        self, protocol: str, body: bytes, header_length: str | None, most: int
    ) -> tuple[dict[str, Any], list[bytes]]:  # fmt: skip
        """Parses a request, as :func:`tlcli.serving.parsing.parsed` does: its fields and its images.

        Raises:
            RefusalError: it is malformed, or takes more memory or time than an image may; two processes died over it.
        """
        try:
            head, images = await self._ask({"parse": [protocol, header_length, most]}, body)
        except TimeoutError as error:
            raise RefusalError("serve.body_too_large", 413) from error
        if head.get("code") == TOO_MUCH_MEMORY:
            raise RefusalError("serve.body_too_large", 413)
        if "refusal" in head:
            raise RefusalError(*head["refusal"])
        return head["fields"], images

    async def _ask(self, head: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """What a process answers: a head, and data in parts of the ``sizes`` that the head has, else in one.

        Raises:
            TimeoutError: it took too long.
            RefusalError: two processes died over it.
        """
        for _ in range(2):
            worker = await self._take()
            # A request that is cancelled does not cancel the exchange: its rest must leave the pipe.
            exchange = asyncio.create_task(self._exchange(worker, head, data))
            self._running.add(exchange)
            exchange.add_done_callback(self._ended)
            with suppress(_DiedError):
                return await asyncio.shield(exchange)
        raise RefusalError("serve.decoder_died", 503, retry_after=1)

    def _ended(self, exchange: "asyncio.Task[Any]") -> None:
        self._running.discard(exchange)
        if not exchange.cancelled():
            exchange.exception()  # was raised to whom it concerns, or nobody waits for it any more

    async def _take(self) -> "_Worker":
        while (worker := await self._idle.get()).has_ended:
            pass
        return worker

    async def _exchange(
        self, worker: "_Worker", head: Mapping[str, Any], data: bytes
    ) -> tuple[dict[str, Any], list[bytes]]:  # fmt: skip
        try:
            async with asyncio.timeout(self._limits.decode):
                answer = await worker.ask(head, data)
        except TimeoutError:
            worker.kill()
            raise
        except (OSError, EOFError, ValueError) as error:
            worker.kill()
            raise _DiedError from error
        self._idle.put_nowait(worker)
        return answer

    async def _keep(self) -> None:
        """Keeps one process running."""
        pause = 0.0
        while True:
            worker = await _Worker.start(self._limits.decoder_memory)
            try:
                if await worker.is_ready():
                    pause = 0.0
                    self._idle.put_nowait(worker)
                    await worker.process.wait()
            finally:
                await worker.end()
            self.restarts += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause + 0.05, _LONGEST_PAUSE)


class _Worker:
    """A process and its pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, memory: int) -> "_Worker":
        # -P: a json.py in the user's current folder must not be imported. One thread: decoders share the cores.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "tlcli.serving.decode_process", str(memory), env=environment, limit=1 << 20,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the server, which lets them finish
        )  # fmt: skip
        return cls(process)

    @property
    def has_ended(self) -> bool:
        return self.process.returncode is not None

    async def is_ready(self) -> bool:
        with suppress(TimeoutError, OSError, EOFError, ValueError):
            async with asyncio.timeout(_START):
                head, _ = await self._read()
                return head.get("code") == READY
        return False

    async def ask(self, head: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], list[bytes]]:
        assert self.process.stdin is not None  # noqa: S101 - for the type: it is a pipe
        self.process.stdin.write(begin(head, len(data)))
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):  # in one piece, a long body would be copied twice
            self.process.stdin.write(view[start : start + _PIECE])
            await self.process.stdin.drain()
        return await self._read()

    async def _read(self) -> tuple[dict[str, Any], list[bytes]]:
        stdout = self.process.stdout
        assert stdout is not None  # noqa: S101 - for the type: it is a pipe
        head, size = LENGTHS.unpack(await stdout.readexactly(LENGTHS.size))
        found: dict[str, Any] = json.loads(await stdout.readexactly(head))
        sizes = found.get("sizes", [size])
        if sum(sizes) != size:
            raise ValueError("the sizes do not add up")
        return found, [await stdout.readexactly(one) for one in sizes]

    async def end(self) -> None:
        self.kill()
        await self.process.wait()
        self.process._transport.close()  # type: ignore[attr-defined]

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()


def _raise_if_bad(head: Mapping[str, Any]) -> None:
    if head.get("code") == TOO_MUCH_MEMORY:
        raise BadImageError("image.too_much_memory", "decoding takes more memory than a decoder may have")
    if "error" in head:
        raise BadImageError(*head["error"])
