"""A stand-in for an object store, for tests and bench/remote.py: it speaks as much of S3 as reading and writing needs,
waits before and after each request, and fails on demand. ETags are MD5 digests, as those of plain uploads to S3."""

import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

Answer = Callable[["Handler"], bool]
"""Answers a request in another way; False: as usual."""


class ObjectServer(ThreadingHTTPServer):
    """Objects by ``/bucket/key``."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, latency: float = 0.0) -> None:
        """Listens on a free port; ``latency``: seconds, each way."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.latency = latency
        self.requests: Counter[str] = Counter()
        """GET and PUT, by key."""
        self.answers: dict[str, list[Answer]] = {}
        """What the next requests of a key get instead."""

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that close a connection early are meant."""


@contextmanager
def serving(latency: float = 0.0) -> Iterator[ObjectServer]:
    """A server, as long as the body runs."""
    server = ObjectServer(latency)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def status(code: int, name: str = "SlowDown") -> Answer:
    """Answers with an error."""

    def answer(handler: "Handler") -> bool:
        handler.reply(code, f"<Error><Code>{name}</Code><Message>no</Message></Error>".encode(), "application/xml")
        return True

    return answer


def cut(handler: "Handler") -> bool:
    """Sends half of the object and closes the connection."""
    data = handler.server.objects[handler.key]
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[: len(data) // 2])
    handler.wfile.flush()
    handler.close_connection = True
    return True


def slow(seconds: float) -> Answer:
    """Waits before it answers as usual."""

    def answer(_: "Handler") -> bool:
        time.sleep(seconds)
        return False

    return answer


class Handler(BaseHTTPRequestHandler):
    """GET, HEAD, PUT, and the listing of a bucket."""

    protocol_version = "HTTP/1.1"
    server: ObjectServer

    @property
    def key(self) -> str:
        """``bucket/key``."""
        return unquote(urlsplit(self.path).path).strip("/")

    def do_GET(self) -> None:
        """An object, or a listing."""
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if "list-type" in query:
            self._wait(self._list, query)
        else:
            self._wait(self._get)

    def do_HEAD(self) -> None:
        """What is said of an object."""
        self._wait(self._get)

    def do_PUT(self) -> None:
        """A new object."""
        data = self._body()
        self._wait(self._put, data)

    def _wait(self, answer: Callable[..., None], *arguments: object) -> None:
        time.sleep(self.server.latency)
        self.server.requests[f"{self.command} {self.key}"] += 1
        waiting = self.server.answers.get(self.key, [])
        with suppress(BrokenPipeError, ConnectionResetError):
            if not (waiting and waiting.pop(0)(self)):
                answer(*arguments)

    def _get(self) -> None:
        data = self.server.objects.get(self.key)
        if data is None:
            self.reply(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>", "application/xml")
        else:
            self.reply(200, data)

    def _put(self, data: bytes) -> None:
        self.server.objects[self.key] = data
        self.reply(200, b"", etag=hashlib.md5(data).hexdigest())

    def _list(self, query: dict[str, list[str]]) -> None:
        bucket, prefix = self.key, query.get("prefix", [""])[0]
        delimiter, start = query.get("delimiter", [""])[0], query.get("continuation-token", [""])[0]
        keys = sorted(
            key[len(bucket) + 1 :] for key in list(self.server.objects) if key.startswith(f"{bucket}/{prefix}")
        )
        inner = sorted(
            {key[: key.index("/", len(prefix)) + 1] for key in keys if delimiter and "/" in key[len(prefix) :]}
        )
        keys = [key for key in keys if key > start and not (delimiter and "/" in key[len(prefix) :])]
        page, more = keys[:1000], len(keys) > 1000
        listed = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>"
            f"<ETag>&quot;{hashlib.md5(data).hexdigest()}&quot;</ETag><Size>{len(data)}</Size></Contents>"
            for key in page
            for data in [self.server.objects[f"{bucket}/{key}"]]
        )
        folders = "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in inner)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        self.reply(
            200,
            f"<ListBucketResult><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}{listed}{folders}"
            "</ListBucketResult>".encode(),
            "application/xml",
        )

    def reply(self, code: int, data: bytes, kind: str = "application/octet-stream", etag: str = "") -> None:
        """Sends an answer."""
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if code < 300:
            self.send_header("ETag", f'"{etag or hashlib.md5(data).hexdigest()}"')
            self.send_header("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
        time.sleep(self.server.latency)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self) -> bytes:
        """What was sent; S3's clients may send it in chunks that are signed one by one."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            data = b"".join(chunks)
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            return _unchunked(data)
        return data

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tests are quiet."""


def _unchunked(data: bytes) -> bytes:
    found, place = [], 0
    while match := re.compile(rb"([0-9a-f]+)[^\r]*\r\n").match(data, place):
        size, place = int(match[1], 16), match.end()
        if not size:
            break
        found.append(data[place : place + size])
        place += size + 2
    return b"".join(found)
