"""The process: the socket, signals (stop, reload), start and end."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvicorn

from tlcli.errors import TlcliError
from tlcli.serving.app import Service, make_app
from tlcli.serving.connections import connections
from tlcli.serving.gate import Gate
from tlcli.serving.refusals import Refusals

if TYPE_CHECKING:
    from tlcli.serving.models import Models
    from tlcli.serving.security import Guard


@dataclass(frozen=True)
class Callbacks:
    """What the server calls."""

    started: Callable[[int], None]
    """It listens on this port, and all models are loaded."""
    log: Callable[[str], None]
    """A line for whoever runs it."""
    reload: "Callable[[], Models]"
    """Loads the models again, in a thread."""


def run(service: Service, guard: "Guard", opened: socket.socket, callbacks: Callbacks) -> None:
    """Serves until SIGTERM or Ctrl-C. Requests at work are answered first; a second Ctrl-C does not wait for them.

    SIGHUP loads the models again; a failure leaves those that are served.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # says what a client has sent
    refusals = Refusals(service.metrics, callbacks.log)
    gate = Gate(
        make_app(service, refusals), guard, service.limits, service.metrics, service.body_bytes,
        service.batching.retry_after, refusals,
    )  # fmt: skip
    config = uvicorn.Config(
        gate, http=connections(service.limits), ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, proxy_headers=False, loop="asyncio", timeout_keep_alive=30,
        timeout_graceful_shutdown=round(service.limits.deadline + 2),
    )  # fmt: skip
    server = _Server(config, service, callbacks)
    server.run(sockets=[opened])


class _Server(uvicorn.Server):  # type: ignore[misc] # uvicorn's types are not read
    """uvicorn with the signals of this program."""

    def __init__(self, config: Any, service: Service, callbacks: Callbacks) -> None:
        super().__init__(config)
        self.should_exit = self.force_exit = False
        self._service, self._callbacks = service, callbacks
        self._reloading: asyncio.Task[None] | None = None
        self._is_asked_again = False
        self._warming: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the decoders, then listens."""
        self._service.decoders.start()
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        await super().startup(sockets)
        self._warming = asyncio.create_task(self._service.models.warm())
        self._callbacks.started((sockets or [])[0].getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers what is at work, then ends the decoders."""
        await super().shutdown(sockets)
        await self._service.decoders.close()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would raise them again at its end; here that they stop the server is all that they do."""
        before = {one: signal.signal(one, self._stop) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _stop(self, number: int, frame: object) -> None:  # noqa: ARG002 - the signature of a handler
        self._service.is_stopping = True
        self.force_exit = self.should_exit and number == signal.SIGINT
        self.should_exit = True

    def _reload(self) -> None:
        self._is_asked_again = True  # what is being loaded may be older than this signal
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._load_while_asked())

    async def _load_while_asked(self) -> None:
        while self._is_asked_again:
            self._is_asked_again = False
            await self._load_again()

    async def _load_again(self) -> None:
        try:
            models = await asyncio.to_thread(self._callbacks.reload)
        except Exception as error:  # noqa: BLE001 - what is served must stay
            self._service.metrics.reload("failed")
            code = error.code if isinstance(error, TlcliError) else type(error).__name__
            self._callbacks.log(f"Reload failed [{code}]: {error} The models before are still served.")
            return
        self._service.replace(models)
        self._warming = asyncio.create_task(models.warm())
        self._service.metrics.reload("done")
        self._callbacks.log(f"Reloaded: {', '.join(f'{one.name} {one.version}' for one in models.all)}")
