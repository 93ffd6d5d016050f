"""Connections (uvicorn's protocol) with limits that it lacks: how many, how long a head may take, how large it and
trailers are, how long an answer may wait to be read."""

import asyncio
import json
import secrets
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tlcli.serving.limits import Limits


class _Transport:
    """A transport whose ``close`` ends: asyncio's waits without limit for a client to read what is written."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._transport, self._loop, self._seconds = transport, loop, seconds
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Closes when all is read, at the latest after the seconds."""
        self._transport.close()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._transport.abort)

    def lost(self) -> None:
        """It is closed."""
        if self._timer is not None:
            self._timer.cancel()


class Connection(HttpToolsProtocol):  # type: ignore[misc] # uvicorn's types are not read
    """A connection of a client."""

    limits = Limits()
    _timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = True
    _trailer_bytes = 0
    _is_chunk_empty = False
    """The size of a chunk is read and none of its bytes: trailers follow where it is the last."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Refuses one too many at once: its head is not waited for."""
        super().connection_made(_Transport(transport, self.loop, self.limits.body))
        if len(self.connections) > self.limits.connections:
            self._refuse(503, "serve.too_many_connections", "Service Unavailable")
            return
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Parses what has come."""
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._timer is None:  # the first bytes of another request on this connection
                self._wait_for_head()
        if self._is_chunk_empty:
            self._trailer_bytes += len(data)
        super().data_received(data)
        if self._is_chunk_empty and self._trailer_bytes > self.limits.head_bytes and not self.transport.is_closing():
            self._refuse(431, "serve.head_too_large", "Request Header Fields Too Large")
        if self._in_head and self._head_bytes > self.limits.head_bytes and not self.transport.is_closing():
            self._refuse(431, "serve.head_too_large", "Request Header Fields Too Large")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers are left out, as nothing reads them."""
        if self._in_head:
            super().on_header(name, value)

    def on_chunk_header(self) -> None:
        """The size of a chunk."""
        self._is_chunk_empty = True

    def on_body(self, body: bytes) -> None:
        """Bytes of the body."""
        self._is_chunk_empty, self._trailer_bytes = False, 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head, self._head_bytes = False, 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body, too."""
        super().on_message_complete()
        self._in_head = True
        self._is_chunk_empty, self._trailer_bytes = False, 0

    def pause_writing(self) -> None:
        """The client does not read as fast as answers are written: it has limited time for it."""
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(self.limits.body, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        self._stop_unread()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._stop_waiting()
        self._stop_unread()
        super().connection_lost(exc)
        self.transport.lost()  # after uvicorn, which closes once more

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - says no more than a code
        """The client does not speak HTTP."""
        self._refuse(400, "serve.invalid_http", "Bad Request")

    def _wait_for_head(self) -> None:
        self._timer = self.loop.call_later(self.limits.header, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_unread(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self._refuse(408, "serve.head_too_slow", "Request Timeout")

    def _refuse(self, status: int, code: str, phrase: str) -> None:
        if self.cycle is not None and not self.cycle.response_complete:  # of the request before: nothing fits in it
            self.transport.close()
            return
        body = json.dumps({"error": {"code": code, "id": secrets.token_hex(8)}}) + "\n"
        retry = "retry-after: 1\r\n" if status == 503 else ""
        self.transport.write(
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"{retry}connection: close\r\n\r\n{body}".encode()
        )
        self.transport.close()


def connections(limits: Limits) -> type[Connection]:
    """A class of connections with these limits."""
    return type("LimitedConnection", (Connection,), {"limits": limits})
