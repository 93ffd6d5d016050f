"""A web server that misbehaves in named ways, and what a download makes of each: the right bytes or a clear refusal."""

import os
import random
import re
import socket
import struct
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import md5, sha256
from pathlib import Path
from typing import Self
from unittest import mock

from tlcli.datasets.acquire.downloads.download import download
from tlcli.datasets.acquire.downloads.retries import RetryPolicy
from tlcli.datasets.acquire.sources.url import remote_file
from tlcli.errors import TlcliError

CONTENT = random.Random(1).randbytes(1_000_000)
OLDER = random.Random(2).randbytes(1_000_000)
"""Another version, of the same size: only its bytes tell."""
LARGE = random.Random(3).randbytes(8_000_000)
PAGE = b"<!doctype html><title>Please sign in</title>"
IN_PLACE = b"what lay at the target before"
QUICK = RetryPolicy(connect=10, read=10, response=10, silence=10, backoff=0.002, slow=10)
"""For answers that come at once: no test machine is so busy that one of these times runs out."""
SHORT = RetryPolicy(connect=0.4, read=0.4, response=0.5, silence=0.4, tries=2, backoff=0.002, slow=0.2)
"""For answers that do not come."""
LONG = 30.0
"""Seconds a server waits that will not go on; the end of the test ends it."""

Step = bytes | float | None
"""What a server does: it sends bytes, waits seconds, or cuts the connection hard (RST)."""


@dataclass(frozen=True)
class Request:
    """What the server was asked."""

    number: int
    """1 is the first."""
    verb: str
    path: str
    headers: Mapping[str, str]
    """By names in small letters."""
    places: Mapping[str, str]
    """Addresses, for the braces in a text."""

    @property
    def start(self) -> int:
        """The first byte asked for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(found[1]) if found else 0


Answer = Callable[[Request], Iterable[Step]]


class FaultyServer:
    """Listens on a free port of 127.0.0.1, and does to each connection what ``answer`` says."""

    def __init__(self) -> None:
        self.answer: Answer = serves()
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._refusing = socket.socket()
        self._refusing.bind(("127.0.0.1", 0))  # without listen: its port is taken, and refuses
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        port = self._listening.getsockname()[1]
        self.places = {
            "server": f"http://127.0.0.1:{port}",
            "secure": f"https://127.0.0.1:{port}",
            "localhost": f"http://localhost:{port}",
            "closed": f"http://127.0.0.1:{self._refusing.getsockname()[1]}",
        }

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.ended.set()
        for open_one in [self._listening, *self._open]:
            with suppress(OSError):
                open_one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listening.close()
        self._refusing.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self.ended.is_set():
                connection, _ = self._listening.accept()
                self._open.add(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if asked := _received(connection):
                self.requests.append(_parsed(asked, len(self.requests) + 1, self.places))
                for step in self.answer(self.requests[-1]):
                    if self.ended.is_set():
                        break
                    self._do(connection, step)
        self._open.discard(connection)

    def _do(self, connection: socket.socket, step: Step) -> None:
        if step is None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif isinstance(step, bytes):
            connection.sendall(step)
        else:
            self.ended.wait(step)


def _received(connection: socket.socket) -> bytes:
    """A request's headers, or whatever else begins with something that is no letter (a greeting of TLS)."""
    data = b""
    while b"\r\n\r\n" not in data and data[:1].isalpha() == bool(data):
        if not (more := connection.recv(65536)):
            break
        data += more
    return data


def _parsed(asked: bytes, number: int, places: Mapping[str, str]) -> Request:
    first, *lines = asked.decode("latin-1").split("\r\n")
    verb, path, *_ = [*first.split(" "), "", ""]
    pairs = [line.partition(":") for line in lines if ":" in line]
    return Request(number, verb, path, {name.lower(): value.strip() for name, _, value in pairs}, places)


# Answers


def head(status: str, *lines: str) -> bytes:
    """Status line and headers."""
    lines = (f"HTTP/1.1 {status}", "Date: Thu, 01 Jan 2026 12:00:00 GMT", "Connection: close", *filter(None, lines))
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


TAGGED = ('ETag: "1"',)
TAGGED_OLDER = ('ETag: "0"',)
WEAK = ('ETag: W/"1"',)
DATED = ("Last-Modified: Wed, 31 Dec 2025 12:00:00 GMT",)
DATED_OLDER = ("Last-Modified: Tue, 30 Dec 2025 12:00:00 GMT",)
DATED_NOW = ("Last-Modified: Thu, 01 Jan 2026 12:00:00 GMT",)
UNMARKED = ("",)


def serves(
    content: bytes = CONTENT,
    marks: tuple[str, ...] = TAGGED,
    until: int | None = None,
    ranges: bool = True,
    heeds: bool = True,
    more: tuple[str, ...] = (),
) -> Answer:
    """A web server as it should be, but for one thing.

    Args:
        content: the file.
        marks: headers that tell its version.
        until: the byte at which the connection is closed.
        ranges: whether it can send a part.
        heeds: whether it looks at If-Range.
        more: further headers.
    """

    def answer(request: Request) -> Iterator[Step]:
        condition = request.headers.get("if-range")
        same = condition is None or not heeds or any(mark.endswith(f": {condition}") for mark in marks)
        start = request.start if ranges and same else 0
        if start and start >= len(content):
            yield head("416 Range Not Satisfiable", f"Content-Range: bytes */{len(content)}")
            return
        place = f"Content-Range: bytes {start}-{len(content) - 1}/{len(content)}" if start else ""
        status = "206 Partial Content" if start else "200 OK"
        yield head(status, f"Content-Length: {len(content) - start}", place, *marks, *more) + content[start:until]

    return answer


def sends(*steps: Step) -> Answer:
    """Does this, whatever is asked."""
    return lambda _: steps


def refuses(status: str, *lines: str) -> Answer:
    """Answers with a status and nothing of use."""
    return sends(head(status, "Content-Length: 2", *lines) + b"no")


def whole(*lines: str, body: bytes = CONTENT) -> Answer:
    """Status 200 with these headers and this body, whatever is asked."""
    return sends(head("200 OK", *lines) + body)


def turns(*answers: Answer) -> Answer:
    """One after the other; the last one stays."""
    return lambda request: answers[min(request.number, len(answers)) - 1](request)


def cut_at(*places: int, content: bytes = CONTENT) -> Answer:
    """Sends up to these bytes of the file, one a request, and then up to its end."""
    return turns(*(serves(content, until=place) for place in places), serves(content))


def rest(place: str, body: bytes = CONTENT[500_000:], length: str = "", marks: tuple[str, ...] = TAGGED) -> Answer:
    """Cut at 500,000; the rest comes with this Content-Range (and Content-Length); after that all is well."""
    place = f"Content-Range: {place}" if place else ""
    part = sends(head("206 Partial Content", place, length, *marks) + body)
    return turns(serves(until=500_000), part, serves())


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


IN_CHUNKS = "Transfer-Encoding: chunked"


def in_chunks(body: bytes, *lines: str) -> Answer:
    """Status 200 with a chunked body."""
    return whole(IN_CHUNKS, *TAGGED, *lines, body=body)


def sends_on(status: str, place: str, there: Answer | None = None) -> Answer:
    """Sends on to another address; there is the file."""

    def answer(request: Request) -> Iterable[Step]:
        if request.path == "/file.zip":
            return [head(status, f"Location: {place.format_map(request.places)}", "Content-Length: 0")]
        return (there or serves())(request)

    return answer


def stranger(request: Request) -> Iterable[Step]:
    """The file; but only for those who do not show it the password of another."""
    return refuses("400 Bad Request")(request) if "authorization" in request.headers else serves()(request)


def doorkeeper(request: Request) -> Iterable[Step]:
    """Sends those with the right password on to another host."""
    if request.path != "/file.zip":
        return stranger(request)
    if request.headers.get("authorization") != f"Basic {b64encode(b'me:SECRET').decode()}":
        return refuses("401 Unauthorized")(request)
    return sends_on("302 Found", "{localhost}/other.zip")(request)


def only_by_proxy(request: Request) -> Iterable[Step]:
    """A proxy is asked for a whole address."""
    return serves()(request) if request.path.startswith("http://") else refuses("400 Bad Request")(request)


def ever_changing(request: Request) -> Iterable[Step]:
    """Another version at each request, and never its end."""
    return serves(marks=(f'ETag: "{request.number}"',), until=400_000)(request)


def dripping(data: bytes, every: float, size: int) -> Answer:
    """Sends a little at a time."""

    def answer(_: Request) -> Iterator[Step]:
        for place in range(0, len(data), size):
            yield data[place : place + size]
            yield every

    return answer


def busy_for_two_hours(request: Request) -> Iterable[Step]:
    """Retry-After with a date."""
    until = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    return refuses("503 Service Unavailable", f"Retry-After: {until}")(request)


def stingy(request: Request) -> Iterable[Step]:
    """Gives a thousand bytes a request, and less than it was asked for is all right (RFC 9110 section 15.3.7)."""
    if not request.start:
        return serves(until=500_000)(request)
    place = f"Content-Range: bytes {request.start}-{request.start + 999}/1000000"
    return [head("206 Partial Content", place, *TAGGED) + CONTENT[request.start : request.start + 1000]]


# What lies on disk, and what the rest of the machine does

Tamper = Callable[[Path, Path], object]
"""Changes the part and its note."""


def _flip_a_byte(part: Path, _: Path) -> None:
    data = bytearray(part.read_bytes())
    data[1000] ^= 1
    part.write_bytes(data)


def _add(data: bytes) -> Tamper:
    return lambda part, _: part.write_bytes(part.read_bytes() + data)


def _write_note(text: str) -> Tamper:
    return lambda _, note: note.write_text(text, encoding="utf-8")


def _break_the_mark(_: Path, note: Path) -> None:
    text = note.read_text(encoding="utf-8")
    note.write_text(text.replace(r'"\"1\""', r'"\"1\"\r\nX-Evil: 1"'), encoding="utf-8")


def _unknown(_: threading.Event) -> None:
    """Fails at once, as every answer of :data:`Lookup` does in the end."""


def _hanging(ended: threading.Event) -> None:
    ended.wait(LONG)


Lookup = Callable[[threading.Event], None]
"""How long it takes until a name is not found."""


@dataclass(frozen=True)
class Behaviour:
    """One way to misbehave."""

    name: str
    """For people."""
    answer: Answer
    outcome: str
    """What comes of it, as a regular expression for the text of :func:`outcome`."""
    content: bytes = CONTENT
    """The right bytes."""
    address: str = "{server}/file.zip"
    digest: str | None = None
    size: int | None = None
    policy: RetryPolicy = QUICK
    earlier: Answer | None = None
    """How the server answered a process before, which was killed."""
    earlier_address: str = ""
    """What that process downloaded to the same place; default: the same."""
    tampered: Tamper | None = None
    """What happened to its part since then."""
    environment: Mapping[str, str] = field(default_factory=dict)
    netrc: str = ""
    """The user's ~/.netrc."""
    lookup: Lookup | None = None
    """Instead of the look-up of names; default: the real one."""


def outcome(case: Behaviour, folder: Path) -> str:
    """Downloads what a behaviour sends, into a folder where a file of that name lies already.

    Returns:
        That the right bytes arrived and the requests for them; or the code of the error, the number of requests and
        the bytes that are kept for the next download.

    Raises:
        AssertionError: the file is neither the old one nor the right one, the error is none for people, or what was
            left behind spoils a later download.
    """
    target = folder / "file.zip"
    target.write_bytes(IN_PLACE)
    with FaultyServer() as server, _quiet_machine(folder, case.netrc):
        _before(case, target, server)
        with _machine(case, server):
            text = _downloaded(case, target, server)
        if not text.startswith("right bytes") and case.address.startswith("{server}") and not case.lookup:
            _check_next_download(case, target, server)
    return text


def _downloaded(case: Behaviour, target: Path, server: FaultyServer) -> str:
    address = case.address.format_map(server.places)
    server.answer = case.answer
    try:
        download(replace(remote_file(address, case.digest), size=case.size), target, case.policy)
    except TlcliError as error:
        assert target.read_bytes() == IN_PLACE, f"{case.name}: refused, but another file is in place"
        if re.search(r"SECRET|\.\.$|\?\.$|\{", f"{error.message}\n{error.hint}", re.MULTILINE):
            raise AssertionError(f"{case.name}: {error}") from error
        count = len(server.requests)
        part = target.with_name(".file.zip.part")
        kept = f", {part.stat().st_size:,} bytes kept" if part.exists() else ""
        return f"{error.code}; {count} request{'' if count == 1 else 's'}{kept}"
    except Exception as error:
        raise AssertionError(f"{case.name}: {error!r} is no error for people") from error
    assert target.read_bytes() == case.content, f"{case.name}: a mixed or wrong file is in place"
    assert not list(target.parent.glob(".file*")), f"{case.name}: something is left beside the file"
    starts = " then ".join(f"{request.start:,}" for request in server.requests)
    count = len(server.requests)
    if not count:
        return "right bytes; no request"
    return f"right bytes; {count} request{'' if count == 1 else 's'}, from byte {starts}"


def _before(case: Behaviour, target: Path, server: FaultyServer) -> None:
    """The part that an earlier process left."""
    if case.earlier is None:
        return
    server.answer = case.earlier
    with suppress(TlcliError):
        address = (case.earlier_address or case.address).format_map(server.places)
        download(remote_file(address), target, RetryPolicy(tries=1))
    part = target.with_name(".file.zip.part")
    assert part.exists(), f"{case.name}: the earlier process left nothing"
    if case.tampered:
        case.tampered(part, target.with_name(".file.zip.part.json"))
    server.requests.clear()


def _check_next_download(case: Behaviour, target: Path, server: FaultyServer) -> None:
    """What a refusal left behind must not spoil the next download, from a server without faults."""
    server.answer = serves(case.content)
    download(remote_file(case.address.format_map(server.places)), target, QUICK)
    assert target.read_bytes() == case.content, f"{case.name}: the part it left spoils the next download"


@contextmanager
def _quiet_machine(folder: Path, netrc: str) -> Iterator[None]:
    """No proxy and no password of this machine's user."""
    (folder / "netrc").write_text(netrc, encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith(("_proxy", "_ca_bundle"))}
    clean |= {"NETRC": str(folder / "netrc"), "no_proxy": "127.0.0.1,localhost"}
    with mock.patch.dict(os.environ, clean, clear=True):
        yield


@contextmanager
def _machine(case: Behaviour, server: FaultyServer) -> Iterator[None]:
    with ExitStack() as patches:
        changed = {name: value.format_map(server.places) for name, value in case.environment.items()}
        patches.enter_context(mock.patch.dict(os.environ, changed))
        if (lookup := case.lookup) is not None:

            def look_up(*_: object, **__: object) -> None:
                lookup(server.ended)
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

            patches.enter_context(mock.patch("socket.getaddrinfo", look_up))
        yield


# The catalogue


def refused(code: str, requests: int = 1, kept: int = 0) -> str:
    """The outcome of a refusal with this code."""
    count = f"{requests} request{'' if requests == 1 else 's'}"
    return f"^{re.escape(code)}; {count}{f', {kept:,} bytes kept' if kept else ''}$"


ONE, TWO = r"^right bytes; 1 request, from byte 0$", r"^right bytes; 2 requests, from byte 0 then 500,000$"
ANEW = r"^right bytes; 3 requests, from byte 0 then 500,000 then 0$"
NOT_WEB = refused("network.not_http", 5)
MIB = 1 << 20
SHA256, MD5 = sha256(CONTENT).hexdigest(), md5(CONTENT).hexdigest()
GOOGLE = "x-goog-hash: crc32c=AAAAAA==,md5={}"
WRONG_MD5 = b64encode(md5(OLDER).digest()).decode()
RIGHT_MD5 = b64encode(md5(CONTENT).digest()).decode()

_FINE = (
    Behaviour("no fault at all", serves(), ONE),
    Behaviour("an empty file", serves(b""), ONE, b""),
    Behaviour("a page in HTML (its content is checked when it is unpacked)", serves(PAGE), ONE, PAGE),
    Behaviour("slow, but steady", dripping(head("200 OK", *TAGGED) + CONTENT, 0.02, 50_000), ONE, policy=SHORT),
    Behaviour("an address with a query", serves(), ONE, address="{server}/file.zip?token=SECRET"),
)
_REDIRECTS = (
    *(
        Behaviour(f"redirects ({status})", sends_on(status, "/other.zip"), "^right bytes; 2 requests, ")
        for status in (
            "301 Moved Permanently",
            "302 Found",
            "303 See Other",
            "307 Temporary Redirect",
            "308 Permanent Redirect",
        )
    ),
    Behaviour(
        "redirects, is cut after 500,000 bytes there, redirects again",
        sends_on("302 Found", "/other.zip", lambda request: serves(until=None if request.start else 500_000)(request)),
        "^right bytes; 4 requests, from byte 0 then 0 then 500,000 then 500,000$",
    ),
    Behaviour(
        "redirects to itself without end",
        sends_on("302 Found", "{server}/file.zip"),
        refused("network.redirect_loop", 31),
    ),
    Behaviour(
        "redirects without an address",
        refuses("302 Found"),
        refused("network.http_error"),
    ),
    Behaviour(
        "redirects to another host, which gets no password from ~/.netrc",
        doorkeeper,
        "^right bytes; 2 requests, ",
        netrc="machine 127.0.0.1 login me password SECRET",
    ),
    Behaviour(
        "redirects to ftp",
        sends_on("302 Found", "ftp://127.0.0.1/file.zip"),
        refused("network.invalid_url"),
    ),
    Behaviour(
        "redirects to a malformed address",
        sends_on("302 Found", "http://[::bad/x"),
        refused("network.invalid_url"),
    ),
    Behaviour(
        "redirects to an address that is not text",
        sends_on("302 Found", "/\xff\xfe.zip"),
        refused("network.invalid_url"),
    ),
    Behaviour(
        "redirects to a server that refuses connections",
        sends_on("302 Found", "{closed}/file.zip"),
        refused("network.unreachable", 5),
    ),
)
_CUTS = (
    *(
        Behaviour(f"cut after {place:,} bytes, then continued", cut_at(place), f"^right bytes; 2 .* then {place:,}$")
        for place in (0, 1, 500_000, 999_999)
    ),
    Behaviour(
        "cut four times, each time continued",
        cut_at(100_000, 200_000, 300_000, 400_000),
        "^right bytes; 5 requests, from byte 0 then 100,000 then 200,000 then 300,000 then 400,000$",
    ),
    Behaviour(
        "cut five times",
        cut_at(100_000, 200_000, 300_000, 400_000, 500_000),
        refused("network.connection_lost", 5, 500_000),
    ),
    Behaviour(
        "cut seven times, each time after more than 1 MiB",
        cut_at(*range(MIB + 1, 8_000_000, MIB + 1), content=LARGE),
        r"^right bytes; 8 requests, from byte 0 then 1,048,577 then .* then 7,340,039$",
        LARGE,
    ),
    Behaviour(
        "cut each time at the same byte",
        serves(until=500_000),
        refused("network.connection_lost", 5, 500_000),
    ),
    Behaviour(
        "cut hard (RST) after 500,000 bytes, then continued",
        turns(
            sends(head("200 OK", "Content-Length: 1000000", *TAGGED) + CONTENT[:500_000], 0.3, None),
            serves(),
        ),
        TWO,
    ),
    Behaviour("closed without an answer, then fine", turns(sends(), serves()), "^right bytes; 2 .* then 0$"),
    Behaviour(
        "closed without an answer, each time",
        sends(),
        refused("network.connection_lost", 5),
    ),
    Behaviour(
        "cut hard (RST) without an answer, each time",
        sends(None),
        refused("network.connection_lost", 5),
    ),
)
_SLOW = (
    Behaviour(
        "silent before its headers",
        sends(LONG),
        refused("network.timeout"),
        policy=SHORT,
    ),
    Behaviour(
        "headers that drip byte by byte",
        dripping(head("200 OK", "Content-Length: 1000000"), 0.05, 1),
        refused("network.timeout"),
        policy=SHORT,
    ),
    Behaviour(
        "silent after 500,000 bytes, then continued",
        turns(sends(head("200 OK", "Content-Length: 1000000", *TAGGED) + CONTENT[:500_000], LONG), serves()),
        TWO,
        policy=SHORT,
    ),
    Behaviour(
        "silent after 500,000 bytes, each time",
        lambda request: [*serves(until=500_000)(request), LONG],
        refused("network.timeout", 2, 500_000),
        policy=SHORT,
    ),
    Behaviour(
        "slow: 500 bytes a second, then fine",
        turns(dripping(head("200 OK", "Content-Length: 1000000") + CONTENT, 0.02, 10), serves()),
        "^right bytes; 2 requests, from byte 0 then 0$",
        policy=replace(SHORT, silence=5),
    ),
    Behaviour(
        "slow: 500 bytes a second, each time",
        dripping(head("200 OK", "Content-Length: 1000000") + CONTENT, 0.02, 10),
        refused("network.too_slow", 2),
        policy=replace(SHORT, silence=5),
    ),
)
_LENGTHS = (
    Behaviour(
        "cut each time at the same byte, and starts again each time (no ranges)",
        serves(until=500_000, ranges=False),
        refused("network.connection_lost", 5, 500_000),
    ),
    Behaviour(
        "announces more bytes than it sends",
        whole("Content-Length: 1000001"),
        refused("network.connection_lost", 5),
    ),
    Behaviour(
        "announces fewer bytes than it sends, sha256 given",
        whole("Content-Length: 999999"),
        refused("data.digest_mismatch"),
        digest=SHA256,
    ),
    Behaviour(
        "announces fewer bytes than it sends, size given",
        whole("Content-Length: 999999"),
        refused("data.size_mismatch"),
        size=len(CONTENT),
    ),
    *(
        Behaviour(
            f"announces a malformed length ({length})",
            whole(f"Content-Length: {length}"),
            refused("network.wrong_length", 5),
        )
        for length in ("-5", "abc", "1_000_000", "+1000000", "1e6", "")
    ),
    Behaviour(
        "announces two lengths",
        whole("Content-Length: 1000000", "Content-Length: 999999"),
        refused("network.not_http", 5),
    ),
    Behaviour("announces the same length twice", whole("Content-Length: 1000000", "Content-Length: 1000000"), ONE),
    Behaviour("announces no length", whole(*TAGGED), ONE),
    Behaviour(
        "announces no length and is cut hard (RST), then continued",
        turns(sends(head("200 OK", *TAGGED) + CONTENT[:500_000], 0.3, None), serves()),
        TWO,
    ),
    Behaviour(
        "announces no length and is cut, sha256 given",
        whole(*TAGGED, body=CONTENT[:500_000]),
        refused("data.digest_mismatch"),
        digest=SHA256,
    ),
    Behaviour(
        "announces no length and is cut, size given",
        whole(*TAGGED, body=CONTENT[:500_000]),
        refused("data.size_mismatch"),
        size=len(CONTENT),
    ),
    Behaviour(
        "announces no length and sends nothing",
        whole(body=b""),
        refused("network.empty_response", 5),
    ),
)
_HALVES = (CONTENT[:500_000], CONTENT[500_000:])
_CHUNKED = (
    Behaviour("in chunks", in_chunks(chunked(*_HALVES)), ONE),
    Behaviour("in chunks, with trailers", in_chunks(chunked(*_HALVES, end=b"0;x=y\r\nX-Sum: 1\r\n\r\n")), ONE),
    Behaviour("in chunks, and with a length that is wrong", in_chunks(chunked(*_HALVES), "Content-Length: 5"), ONE),
    Behaviour(
        "in chunks, cut in one, then fine",
        turns(in_chunks(b"f4240\r\n" + CONTENT[:500_000]), serves()),
        "^right bytes; 2 requests, from byte 0 then 0$",
    ),
    Behaviour(
        "in chunks, cut between two, then fine",
        turns(in_chunks(chunked(CONTENT[:500_000], end=b"")), serves()),
        "^right bytes; 2 requests, from byte 0 then 0$",
    ),
    Behaviour(
        "in chunks, cut in one, sha256 given, then continued",
        turns(in_chunks(b"f4240\r\n" + CONTENT[:500_000]), serves()),
        TWO,
        digest=SHA256,
    ),
    Behaviour(
        "in chunks, cut each time",
        in_chunks(chunked(CONTENT[:500_000], end=b"")),
        refused("network.connection_lost", 5),
    ),
    *(
        Behaviour(
            f"in chunks, {what}",
            in_chunks(chunked(CONTENT[:400_000], end=size + b"\r\n" + CONTENT[400_000:] + b"\r\n0\r\n\r\n")),
            r"^network\.(connection_lost|not_http); 5 requests$",
        )
        for what, size in (
            ("one with a size that is not a number", b"xyz"),
            ("one with a negative size", b"-5"),
            ("one that is longer than it says", b"927bf"),
            ("one that is shorter than it says", b"927c5"),
        )
    ),
    Behaviour(
        "in chunks, one shorter than it says, then fine",
        turns(
            in_chunks(chunked(CONTENT[:400_000], end=b"61a85\r\n" + CONTENT[400_000:800_000] + b"\r\n30d40\r\nx")),
            serves(),
        ),
        "^right bytes; 2 requests, from byte 0 then 0$",
    ),
    Behaviour(
        "compressed on the wire (Transfer-Encoding)",
        whole("Transfer-Encoding: gzip, chunked"),
        refused("network.compressed_response"),
    ),
)
_PACKED = (
    *(
        Behaviour(
            f"compressed on its way ({coding}) though asked not to",
            whole(f"Content-Encoding: {coding}", "Content-Length: 1000000"),
            refused("network.compressed_response"),
        )
        for coding in ("gzip", "br")
    ),
    Behaviour(
        "a .tar.gz that is called compressed (x-gzip), as it is",
        serves(more=("Content-Encoding: x-gzip",)),
        ONE,
        address="{server}/file.tar.gz",
    ),
    Behaviour("says that the file is not compressed (identity)", serves(more=("Content-Encoding: identity",)), ONE),
)
_RANGES = (
    Behaviour("cut, and sends all of it again (no ranges)", turns(serves(until=500_000), serves(ranges=False)), TWO),
    Behaviour(
        "cut later each time, and starts again each time (no ranges)",
        lambda request: serves(LARGE, until=request.number * 1_200_000, ranges=False)(request),
        "^right bytes; 7 requests, from byte 0 then 1,200,000 then 2,400,000 then .* then 7,200,000$",
        LARGE,
    ),
    Behaviour(
        "answers with a part (206) though all was asked for",
        sends(head("206 Partial Content", "Content-Range: bytes 0-999999/1000000", *TAGGED) + CONTENT),
        refused("network.wrong_range", 5),
    ),
    *(
        Behaviour(f"continues with {what}, then fine", rest(place), ANEW)
        for what, place in (
            ("another place", "bytes 400000-999999/1000000"),
            ("another size of the file", "bytes 500000-1000000/1000001"),
            ("no place at all", ""),
            ("a place that is not a number", "bytes all/1000000"),
            ("a place in another unit", "lines 500000-999999/1000000"),
            ("a place beyond the end of the file", "bytes 500000-1000000/1000000"),
            ("an end before its beginning", "bytes 500000-499999/1000000"),
        )
    ),
    Behaviour(
        "continues with several parts at once (multipart), then fine",
        rest("", b"--x\r\nContent-Range: bytes 500000-999999/1000000\r\n\r\n" + CONTENT[500_000:] + b"\r\n--x--"),
        ANEW,
    ),
    Behaviour(
        "continues with a length that is not that of the part, then fine",
        rest("bytes 500000-999999/1000000", length="Content-Length: 400000"),
        ANEW,
    ),
    Behaviour(
        "continues with more bytes than it says, then fine",
        rest("bytes 500000-999999/1000000", CONTENT[500_000:] + b"more"),
        ANEW,
    ),
    Behaviour(
        "continues in chunks, one shorter than it says, then fine",
        rest("bytes 500000-999999/1000000", chunked(end=b"186a5\r\n" + CONTENT[500_000:]), length=IN_CHUNKS),
        ANEW,
    ),
    Behaviour(
        "continues in chunks",
        rest("bytes 500000-999999/1000000", chunked(CONTENT[500_000:]), length=IN_CHUNKS),
        TWO,
    ),
    Behaviour("continues without the size of the file", rest("bytes 500000-999999/*"), TWO),
    Behaviour(
        "continues with less than was asked for, then with the rest",
        rest("bytes 500000-599999/1000000", CONTENT[500_000:600_000]),
        "^right bytes; 3 requests, from byte 0 then 500,000 then 600,000$",
    ),
    Behaviour(
        "continues with a thousand bytes each time",
        stingy,
        refused("network.connection_lost", 5, 504_000),
    ),
    Behaviour(
        "range not satisfiable (416), then fine",
        turns(serves(until=500_000), refuses("416 Range Not Satisfiable"), serves()),
        ANEW,
    ),
    Behaviour("416 though all was asked for", refuses("416 X"), refused("network.http_error")),
)
_OLDER_CUT = serves(OLDER, TAGGED_OLDER, until=500_000)
_VERSIONS = (
    Behaviour("cut, and the file changes", turns(_OLDER_CUT, serves()), TWO),
    Behaviour(
        "cut, and the file changes; a part of the new one comes (If-Range ignored)",
        turns(_OLDER_CUT, serves(heeds=False), serves()),
        ANEW,
    ),
    Behaviour(
        "cut, and the file changes; a part of the new one comes, without ETag",
        turns(_OLDER_CUT, serves(marks=UNMARKED, heeds=False), serves()),
        ANEW,
    ),
    Behaviour(
        "cut, and the file changes; known by its date (Last-Modified) only",
        turns(serves(OLDER, DATED_OLDER, until=500_000), serves(marks=DATED)),
        TWO,
    ),
    Behaviour(
        "cut, and the file changes; a part of the new one comes, with its date",
        turns(serves(OLDER, DATED_OLDER, until=500_000), serves(marks=DATED, heeds=False), serves(marks=DATED)),
        ANEW,
    ),
    Behaviour(
        "cut, then continued; known by its date only",
        turns(serves(marks=DATED, until=500_000), serves(marks=DATED)),
        TWO,
    ),
    *(
        Behaviour(
            f"cut; {what}, which proves nothing: starts again",
            turns(serves(marks=marks, until=500_000), serves(marks=marks)),
            "^right bytes; 2 requests, from byte 0 then 0$",
        )
        for what, marks in (
            ("the file has neither ETag nor date", UNMARKED),
            ("the file has a weak ETag", WEAK),
            ("the file has a weak ETag and a date", (*WEAK, *DATED)),
            ("the file has the date of this very second", DATED_NOW),
            ("the file has an ETag without quotes", ("ETag: 1",)),
            ("the file has an ETag over two lines", ('ETag: "1\r\n 2"',)),
        )
    ),
    Behaviour(
        "cut, then continued; nothing but the given sha256 proves that the file is the same",
        turns(serves(marks=UNMARKED, until=500_000), serves(marks=UNMARKED)),
        TWO,
        digest=SHA256,
    ),
    Behaviour(
        "cut, and the file changes; nothing but the given sha256 proves it",
        turns(serves(OLDER, UNMARKED, until=500_000), serves(marks=UNMARKED)),
        ANEW,
        digest=SHA256,
    ),
    Behaviour(
        "cut, and the file changes; nothing but the given md5 proves it",
        turns(serves(OLDER, UNMARKED, until=500_000), serves(marks=UNMARKED)),
        ANEW,
        digest=MD5,
    ),
    Behaviour(
        "the file changes each time",
        ever_changing,
        refused("network.connection_lost", 5, 400_000),
    ),
)


_STATUSES = (
    *(
        Behaviour(f"{status}, each time", refuses(status), refused(code))
        for status, code in (
            ("204 No Content", "network.http_error"),
            ("304 Not Modified", "network.http_error"),
            ("400 Bad Request", "network.http_error"),
            ("401 Unauthorized", "network.access_denied"),
            ("403 Forbidden", "network.access_denied"),
            ("404 Not Found", "network.not_found"),
            ("405 Method Not Allowed", "network.http_error"),
            ("407 Proxy Authentication Required", "network.proxy_failed"),
            ("410 Gone", "network.not_found"),
            ("418 I'm a Teapot", "network.http_error"),
            ("451 Unavailable For Legal Reasons", "network.http_error"),
            ("501 Not Implemented", "network.server_error"),
        )
    ),
    *(
        Behaviour(f"{status}, then fine", turns(refuses(status), serves()), "^right bytes; 2 .* from byte 0 then 0$")
        for status in (
            "408 Request Timeout",
            "425 Too Early",
            "429 Too Many Requests",
            "500 Internal Server Error",
            "502 Bad Gateway",
            "503 Service Unavailable",
            "504 Gateway Timeout",
        )
    ),
    *(
        Behaviour(f"{status}, each time", refuses(status), refused(code, 5))
        for status, code in (
            ("408 Request Timeout", "network.http_error"),
            ("429 Too Many Requests", "network.rate_limited"),
            ("500 Internal Server Error", "network.server_error"),
            ("502 Bad Gateway", "network.server_error"),
            ("503 Service Unavailable", "network.server_error"),
            ("504 Gateway Timeout", "network.server_error"),
        )
    ),
    Behaviour(
        "cut, then 503, then continued",
        turns(serves(until=500_000), refuses("503 Service Unavailable"), serves()),
        "^right bytes; 3 requests, from byte 0 then 500,000 then 500,000$",
    ),
    Behaviour(
        "cut, then gone (404)",
        turns(serves(until=500_000), refuses("404 Not Found")),
        refused("network.not_found", 2, 500_000),
    ),
    Behaviour(
        "429 with Retry-After: 1, then fine",
        turns(refuses("429 Too Many Requests", "Retry-After: 1"), serves()),
        "^right bytes; 2 ",
    ),
    Behaviour(
        "429 with a Retry-After that has passed, then fine",
        turns(refuses("429 Too Many Requests", "Retry-After: Thu, 01 Jan 2026 12:00:00 GMT"), serves()),
        "^right bytes; 2 ",
    ),
    Behaviour(
        "429 with a malformed Retry-After, then fine",
        turns(refuses("429 Too Many Requests", "Retry-After: soon"), serves()),
        "^right bytes; 2 ",
    ),
    Behaviour(
        "429 with Retry-After: 7200",
        refuses("429 Too Many Requests", "Retry-After: 7200"),
        refused("network.rate_limited"),
    ),
    Behaviour(
        "503 with a date in two hours as Retry-After",
        busy_for_two_hours,
        refused("network.server_error"),
    ),
    Behaviour(
        "a status with terminal control characters",
        refuses("403 \x1b[2JGo away"),
        refused("network.access_denied"),
    ),
    Behaviour("an unknown status", refuses("799 Perhaps"), refused("network.server_error")),
)
_NO_WEB_SERVER = (
    *(
        Behaviour(f"no web server: {what}", sends(greeting), NOT_WEB)
        for what, greeting in (
            ("it sends a greeting of ssh", b"SSH-2.0-OpenSSH_9.2\r\n"),
            ("it sends noise", bytes(range(128, 256)) * 8 + b"\r\n"),
            ("it sends an alert of TLS", b"\x15\x03\x01\x00\x02\x02\x28"),
            ("it sends a page without headers", PAGE),
            ("it sends a status that is not a number", b"HTTP/1.1 fine\r\n\r\n"),
            ("it sends an endless header", head("200 OK")[:-2] + b"X: " + b"x" * 100_000),
            ("it sends 200 headers", head("200 OK", *(f"X-{number}: 1" for number in range(200)))),
        )
    ),
    Behaviour("no web server, then fine", turns(sends(b"220 ready\r\n"), serves()), "^right bytes; 2 "),
    Behaviour(
        "connection refused",
        serves(),
        refused("network.unreachable", 0),
        address="{closed}/file.zip",
    ),
    Behaviour(
        "https asked of a server that speaks http only",
        refuses("400 Bad Request"),
        refused("network.tls_failed", 5),
        address="{secure}/file.zip",
    ),
    Behaviour(
        "a missing file of certificates (REQUESTS_CA_BUNDLE)",
        serves(),
        refused("network.request_failed", 0),
        address="{secure}/file.zip",
        environment={"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"},
    ),
)
_NAMES = (
    Behaviour(
        "an unknown host name",
        serves(),
        refused("network.host_not_found", 0),
        address="http://files.invalid/file.zip",
        lookup=_unknown,
    ),
    Behaviour(
        "a name lookup that hangs",
        serves(),
        refused("network.timeout", 0),
        address="http://files.invalid/file.zip",
        lookup=_hanging,
        policy=SHORT,
    ),
    Behaviour(
        "a malformed address",
        serves(),
        refused("network.invalid_url", 0),
        address="http://[::bad/file.zip",
    ),
)
_PROXIES = (
    Behaviour(
        "a proxy (http_proxy)",
        only_by_proxy,
        ONE,
        address="http://files.invalid/file.zip",
        environment={"http_proxy": "{server}"},
    ),
    Behaviour(
        "a proxy that cuts after 500,000 bytes, then continues",
        cut_at(500_000),
        TWO,
        address="http://files.invalid/file.zip",
        environment={"http_proxy": "{server}"},
    ),
    Behaviour(
        "a proxy that is down",
        serves(),
        refused("network.proxy_failed", 0),
        address="http://files.invalid/file.zip",
        environment={"http_proxy": "{closed}"},
    ),
    Behaviour(
        "a proxy that asks for a password",
        refuses("407 Proxy Authentication Required"),
        refused("network.proxy_failed"),
        address="http://files.invalid/file.zip",
        environment={"http_proxy": "{server}"},
    ),
    Behaviour(
        "a proxy that asks for a password, before https",
        refuses("407 Proxy Authentication Required"),
        refused("network.proxy_failed", 5),
        address="https://files.invalid/file.zip",
        environment={"https_proxy": "{server}"},
    ),
    Behaviour(
        "a proxy with a malformed address",
        serves(),
        refused("network.invalid_url", 0),
        address="http://files.invalid/file.zip",
        environment={"http_proxy": "http:///"},
    ),
)
_DIGESTS = (
    Behaviour("the given sha256, md5 and size are right", serves(), ONE, digest=SHA256, size=len(CONTENT)),
    Behaviour("the given md5 is right", serves(), ONE, digest=MD5),
    *(
        Behaviour(
            f"another file than the given {name} says",
            serves(),
            refused("data.digest_mismatch"),
            digest=expected,
        )
        for name, expected in (("sha256", "0" * 64), ("md5", "0" * 32))
    ),
    Behaviour(
        "another file than the given size says",
        serves(),
        refused("data.size_mismatch"),
        size=5,
    ),
    Behaviour("its server announces the right md5 (x-goog-hash)", serves(more=(GOOGLE.format(RIGHT_MD5),)), ONE),
    Behaviour("its server announces the right md5 (Content-MD5)", serves(more=(f"Content-MD5: {RIGHT_MD5}",)), ONE),
    Behaviour("its server announces a malformed md5", serves(more=("Content-MD5: abc",)), ONE),
    Behaviour(
        "its server announces the md5 of the compressed file, and sends it uncompressed",
        serves(more=(GOOGLE.format(WRONG_MD5), "x-goog-stored-content-encoding: gzip")),
        ONE,
    ),
    *(
        Behaviour(
            f"its server announces another md5 ({header.partition(':')[0]})",
            serves(more=(header,)),
            refused("data.damaged_download"),
        )
        for header in (GOOGLE.format(WRONG_MD5), f"Content-MD5: {WRONG_MD5}")
    ),
)
_HALF, _REST = serves(until=500_000), r"^right bytes; 1 request, from byte 500,000$"
_EARLIER = (
    Behaviour("a killed process left half of it", serves(), _REST, earlier=_HALF),
    Behaviour(
        "a killed process left all of it",
        refuses("404 Not Found"),
        "^right bytes; no request$",
        earlier=serves(until=999_999),
        tampered=_add(CONTENT[-1:]),
    ),
    Behaviour("a killed process left half of an older version", serves(), _REST, earlier=_OLDER_CUT),
    Behaviour(
        "a killed process left half of an older version; a part of the new one comes",
        turns(serves(heeds=False), serves()),
        "^right bytes; 2 requests, from byte 500,000 then 0$",
        earlier=_OLDER_CUT,
    ),
    Behaviour(
        "a killed process left more than there is",
        serves(),
        ONE,
        earlier=serves(until=999_999),
        tampered=_add(b"too much"),
    ),
    Behaviour(
        "a killed process left half of it, one byte is wrong since, sha256 given",
        serves(),
        "^right bytes; 2 requests, from byte 500,000 then 0$",
        digest=SHA256,
        earlier=_HALF,
        tampered=_flip_a_byte,
    ),
    Behaviour(
        "a killed process left half of it, one byte is wrong since, the server announces the md5",
        serves(),
        "^right bytes; 2 requests, from byte 500,000 then 0$",
        earlier=serves(until=500_000, more=(GOOGLE.format(RIGHT_MD5),)),
        tampered=_flip_a_byte,
    ),
    Behaviour(
        "a killed process left half of it; the file is gone since",
        refuses("404 Not Found"),
        refused("network.not_found", 1, 500_000),
        earlier=_HALF,
    ),
    *(
        Behaviour(
            f"a killed process left half of it; the note beside it {what}",
            serves(),
            ONE,
            earlier=_HALF,
            tampered=tampered,
        )
        for what, tampered in (
            ("is garbled", _write_note('{"identity": "')),
            ("is empty", _write_note("")),
            ("is of another kind", _write_note("[1, 2]")),
            ("lacks a line", _write_note('{"identity": "x", "size": 5}')),
            ("holds what cannot be sent", _break_the_mark),
            ("is gone", lambda _, note: note.unlink()),
        )
    ),
    Behaviour(
        "half of it is gone; the note about it is not",
        serves(),
        ONE,
        earlier=_HALF,
        tampered=lambda part, _: part.unlink(),
    ),
    Behaviour(
        "a killed process left half of a file from another address",
        serves(),
        ONE,
        earlier=serves(OLDER, until=500_000),
        earlier_address="{server}/another.zip",
    ),
)
BEHAVIOURS: tuple[Behaviour, ...] = (
    *_FINE,
    *_REDIRECTS,
    *_CUTS,
    *_SLOW,
    *_LENGTHS,
    *_CHUNKED,
    *_PACKED,
    *_RANGES,
    *_VERSIONS,
    *_STATUSES,
    *_NO_WEB_SERVER,
    *_NAMES,
    *_PROXIES,
    *_DIGESTS,
    *_EARLIER,
)
