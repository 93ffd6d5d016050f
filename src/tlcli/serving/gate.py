"""What every request passes first (ASGI): identity, the guard, limits on its body and time, refusals, metrics.

A body is read whole before anything works on it, so a slow client holds memory and a connection, and nothing else.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from time import monotonic
from typing import Any

from tlcli.serving.limits import Limits, RefusalError, whole_number
from tlcli.serving.metrics import Metrics
from tlcli.serving.refusals import ID, Refusals
from tlcli.serving.security import HEADERS, Guard

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
BODY = "tlcli.body"
"""Of a request's scope: its body."""


class _GoneError(Exception):
    """The client has closed the connection."""


class Gate:
    """Wraps the application."""

    def __init__(
        self, app: App, guard: Guard, limits: Limits, metrics: Metrics, body_bytes: Callable[[], int],
        retry_after: Callable[[], int], refusals: Refusals,
    ) -> None:  # fmt: skip
        """Makes the gate.

        Args:
            app: what answers.
            guard: says who may ask.
            limits: of bodies and times.
            metrics: counts.
            body_bytes: of a request at most, for the models that are served now.
            retry_after: seconds in which what waits now is done.
            refusals: what is answered instead.
        """
        self._app, self._guard, self._limits, self._metrics = app, guard, limits, metrics
        self._body_bytes, self._retry_after, self._refusals = body_bytes, retry_after, refusals
        self._taken = 0
        """Bytes of all bodies in memory."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        began, scope[ID] = monotonic(), secrets.token_hex(8)
        answer = _Answer(send, scope[ID], self._limits.body)
        held = _Held(self)
        try:
            headers: dict[str, list[str]] = {}
            for name, value in scope["headers"]:
                headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
            self._guard.check(scope["method"], scope["path"], headers)
            if scope["method"] in ("POST", "PUT"):
                scope[BODY] = await self._body(headers, receive, held)
            await self._handle(scope, receive, answer)
        except _GoneError:
            pass
        except Exception as error:  # noqa: BLE001 - the boundary
            if not answer.has_begun:  # else the application has answered already
                answer.closes = scope["method"] in ("POST", "PUT") and BODY not in scope
                with suppress(OSError, TimeoutError):
                    await self._refusals.response(scope, error)(scope, receive, answer)
        finally:
            held.release()
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.request(route, answer.status or 499, monotonic() - began)

    async def _body(self, headers: dict[str, list[str]], receive: Receive, held: "_Held") -> bytes:
        most = self._body_bytes()
        if headers.get("content-encoding", ["identity"]) != ["identity"]:
            raise RefusalError("serve.compressed_body", 415)
        declared = whole_number(headers.get("content-length", ["0"])[0])
        if declared is None or declared > most:
            raise RefusalError("serve.body_too_large", 413)
        held.take(declared)
        parts = bytearray()
        try:
            async with asyncio.timeout(self._limits.body):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _GoneError
                    parts += message.get("body", b"")
                    if len(parts) > most:
                        raise RefusalError("serve.body_too_large", 413)
                    held.take(len(parts))
                    if not message.get("more_body", False):
                        return bytes(parts)
        except TimeoutError as error:
            raise RefusalError("serve.body_too_slow", 408) from error

    async def _handle(self, scope: MutableMapping[str, Any], receive: Receive, answer: "_Answer") -> None:
        """Runs the application until the deadline; for a client that goes away it ends at once."""
        handling = asyncio.ensure_future(self._app(scope, _nothing, answer))
        watching = asyncio.ensure_future(_disconnected(receive))
        try:
            both = (handling, watching)
            await asyncio.wait(both, timeout=self._limits.deadline, return_when=asyncio.FIRST_COMPLETED)
            if not handling.done() and watching.done():
                raise _GoneError
            if not handling.done() and not answer.has_begun:
                raise RefusalError("serve.deadline", 503, self._retry_after())
            await handling
        finally:
            for one in (handling, watching):
                one.cancel()
            await asyncio.gather(handling, watching, return_exceptions=True)

    def take(self, count: int) -> None:
        """Reserves memory for a body.

        Raises:
            RefusalError: other bodies have taken it all.
        """
        if self._taken + count > self._limits.memory_bytes:
            raise RefusalError("serve.memory_full", 503, retry_after=1)
        self._taken += count

    def give(self, count: int) -> None:
        """Gives memory back."""
        self._taken -= count


class _Held:
    """The memory that one request has reserved."""

    def __init__(self, gate: Gate) -> None:
        self._gate, self._count = gate, 0

    def take(self, count: int) -> None:
        """Makes it ``count`` bytes where it is less."""
        if count > self._count:
            self._gate.take(count - self._count)
            self._count = count

    def release(self) -> None:
        self._gate.give(self._count)
        self._count = 0


class _Answer:
    """Sends an answer with the headers that all have; a client that does not read it is given up."""

    def __init__(self, send: Send, request: str, seconds: float) -> None:
        self._send, self._id, self._seconds = send, request, seconds
        self.status = 0
        self.closes = False

    @property
    def has_begun(self) -> bool:
        return self.status != 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {name for name, _ in message.get("headers", [])}
            extra = {**HEADERS, "x-request-id": self._id, **({"connection": "close"} if self.closes else {})}
            added = [(k.encode(), v.encode()) for k, v in extra.items() if k.encode() not in own]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        async with asyncio.timeout(self._seconds):
            await self._send(message)


async def _nothing() -> Message:
    """The application has its body in the scope."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
