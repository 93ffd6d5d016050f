"""Downloads: the right bytes or a clear refusal and no file, whatever server, network and disk do."""

import errno
import gc
import io
import json
import re
import socket
import ssl
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
import requests
import urllib3
from tests.datasets.acquire import faulty_server
from tests.datasets.acquire.faulty_server import (
    BEHAVIOURS,
    CONTENT,
    QUICK,
    SHA256,
    SHORT,
    Answer,
    Behaviour,
    FaultyServer,
    cut_at,
    outcome,
    refuses,
    sends_on,
    serves,
    turns,
)
from tests.reliability import check_documented, documented_names
from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError, ProtocolError

from tlcli.datasets.acquire.downloads import retries as module
from tlcli.datasets.acquire.downloads.download import download
from tlcli.datasets.acquire.downloads.failures import (
    HttpStatusError,
    RetryableError,
    in_time,
    request_error,
    retry_after,
    without_secrets,
)
from tlcli.datasets.acquire.downloads.partial_file import FileDigest
from tlcli.datasets.acquire.downloads.retries import RetryPolicy
from tlcli.datasets.acquire.sources import url
from tlcli.errors import DataError, NetworkError, ResourceError, TlcliError
from tlcli.progress import SILENT, Progress
from tlcli.system.files import free_bytes

# Sockets that these libraries themselves leave to the garbage collector
LEFT_OPEN = {
    "announces two lengths": "urllib3, where headers contradict each other",
    "redirects to an address that is not text": "requests, where it cannot read a redirect",
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """A server, and no proxy on the way to it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    with FaultyServer() as running:
        yield running


class Recorder(Progress):
    """Records what it receives."""

    def __init__(self) -> None:
        self.stages: list[list[str | int | None]] = []
        self.notes: list[str] = []

    @contextmanager
    def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[None]:
        self.stages.append([title, total])
        yield

    def advance(self, steps: int = 1) -> None:
        self.stages[-1].append(steps)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def count(self, stage: int) -> int:
        """What was done in a stage."""
        return sum(step for step in self.stages[stage][2:] if isinstance(step, int))


def fetch(
    server: FaultyServer,
    target: Path,
    answer: Answer | None = None,
    progress: Progress = SILENT,
    policy: RetryPolicy = QUICK,
    digest: str | None = None,
    unpacked: bool = False,
) -> FileDigest:
    """Downloads from a server that answers so."""
    server.answer = answer or server.answer
    address = f"{server.places['server']}/file.zip"
    return download(url.remote_file(address, digest), target, policy, progress, unpacked)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# The catalogue


@pytest.mark.parametrize("case", BEHAVIOURS, ids=lambda case: case.name)
def test_every_behaviour_ends_in_the_right_bytes_or_a_clear_refusal(case: Behaviour, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        if case.name in LEFT_OPEN:
            warnings.simplefilter("ignore", ResourceWarning)
        text = outcome(case, tmp_path)
        if case.name in LEFT_OPEN:
            gc.collect()

    assert re.search(case.outcome, text)
    check_documented(case.name, text, case.outcome)  # some hang on who is faster, the server or the clock


def test_behaviours_are_many_and_each_has_its_name_and_its_row() -> None:
    assert len({case.name for case in BEHAVIOURS}) == len(BEHAVIOURS) >= 50
    assert documented_names("Network behaviours") == [case.name for case in BEHAVIOURS]


def test_a_catalogue_that_finds_nothing_wrong_would_be_noticed(tmp_path: Path) -> None:
    mixed = Behaviour("mixed", serves(faulty_server.OLDER), "", CONTENT)

    with pytest.raises(AssertionError, match="mixed or wrong file"):
        outcome(mixed, tmp_path)


# Progress, and what is left on disk


def test_receipt_and_progress_tell_every_byte(server: FaultyServer, tmp_path: Path) -> None:
    recorder = Recorder()

    receipt = fetch(server, tmp_path / "new" / "file", progress=recorder)

    assert receipt == FileDigest(SHA256, len(CONTENT))
    assert [stage[:2] for stage in recorder.stages] == [
        ["Downloading file.zip", len(CONTENT)],
        ["Checking the download", len(CONTENT)],
    ]
    assert recorder.count(0) == recorder.count(1) == len(CONTENT)
    assert recorder.notes == []
    assert names(tmp_path / "new") == {"file"}


def test_progress_of_a_continued_download_begins_where_it_goes_on(server: FaultyServer, tmp_path: Path) -> None:
    recorder = Recorder()

    fetch(server, tmp_path / "file", cut_at(300_000, 700_000), recorder)

    assert [stage[2] for stage in recorder.stages[:3]] == [0, 300_000, 700_000]
    assert [recorder.count(stage) for stage in range(3)] == [300_000, 700_000, len(CONTENT)]
    assert len(recorder.notes) == 2


def test_damage_is_reported_before_the_download_begins_again(server: FaultyServer, tmp_path: Path) -> None:
    recorder = Recorder()
    changing = turns(serves(faulty_server.OLDER, ("",), until=500_000), serves(marks=("",)))

    fetch(server, tmp_path / "file", changing, recorder, digest=SHA256)

    assert len(recorder.notes) == 2
    assert [request.start for request in server.requests] == [0, 500_000, 0]


def test_second_wrong_digest_is_final(server: FaultyServer, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path / "file", cut_at(500_000), digest="0" * 64)
    assert caught.value.code == "data.digest_mismatch"
    assert [request.start for request in server.requests] == [0, 500_000, 0]
    assert names(tmp_path) == set()


class Interrupted(Progress):
    """Ctrl-C in the middle."""

    count = 0

    def advance(self, steps: int = 1) -> None:
        self.count += steps
        if self.count >= 200_000:
            raise KeyboardInterrupt


def test_interrupted_download_is_continued_by_the_next_call(server: FaultyServer, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path / "file", progress=Interrupted())
    left = (tmp_path / ".file.part").read_bytes()
    assert 0 < len(left) < len(CONTENT)
    assert left == CONTENT[: len(left)]

    fetch(server, tmp_path / "file")

    assert [request.start for request in server.requests] == [0, len(left)]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert names(tmp_path) == {"file"}


@pytest.mark.parametrize("answer", [refuses("404 Not Found"), serves(marks=("",), until=500_000)])
def test_what_cannot_be_continued_is_not_left_behind(server: FaultyServer, tmp_path: Path, answer: Answer) -> None:
    with pytest.raises(NetworkError):
        fetch(server, tmp_path / "file", answer)
    assert names(tmp_path) == set()


class FullFile(io.FileIO):
    """A file on a disk that is full after 200,000 bytes."""

    def write(self, data: Any) -> int:
        if self.tell() >= 200_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_full_disk_is_an_error_and_what_was_written_is_kept(server: FaultyServer, tmp_path: Path) -> None:
    really = Path.open

    def opened(path: Path, mode: str = "r", **options: Any) -> Any:
        return FullFile(path, "w") if path.suffix == ".part" else really(path, mode, **options)

    with mock.patch.object(Path, "open", opened), pytest.raises(ResourceError, match=str(tmp_path / "file")):
        fetch(server, tmp_path / "file")

    fetch(server, tmp_path / "file")
    assert server.requests[1].start >= 200_000
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_folder_that_cannot_be_made_on_a_full_disk(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(ResourceError):
        fetch(server, tmp_path / "new" / "file")


def test_room_for_the_archive_and_its_content_is_asked_for_first(server: FaultyServer, tmp_path: Path) -> None:
    huge = free_bytes(tmp_path) * 2 // 3  # fits, but not with what it unpacks to
    head = faulty_server.head("200 OK", f"Content-Length: {huge}", 'ETag: "1"')

    with pytest.raises(ResourceError, match=re.escape(str(tmp_path))):
        fetch(server, tmp_path / "file", faulty_server.sends(head), unpacked=True)
    assert names(tmp_path) == set()
    assert len(server.requests) == 1


def test_response_that_comes_too_late_is_ignored(server: FaultyServer, tmp_path: Path) -> None:
    late = faulty_server.sends(0.7, faulty_server.head("200 OK", "Content-Length: 5") + b"late!")
    with pytest.raises(NetworkError) as caught:
        fetch(server, tmp_path / "file", late, policy=RetryPolicy(read=10, response=0.3, silence=0.1))
    assert (caught.value.code, names(tmp_path)) == ("network.timeout", set())


def test_headers_ask_for_the_file_as_it_is(server: FaultyServer, tmp_path: Path) -> None:
    fetch(server, tmp_path / "file", cut_at(500_000))

    first, second = (request.headers for request in server.requests)
    assert first["accept-encoding"] == second["accept-encoding"] == "identity"
    assert "range" not in first
    assert (second["range"], second["if-range"]) == ("bytes=500000-", '"1"')


# From https to http


class Way(NamedTuple):
    """A response, as far as redirects go."""

    url: str
    history: list[Any]
    closed: list[bool]

    def close(self) -> None:
        self.closed.append(True)


@pytest.mark.parametrize(
    ("way", "digest", "fine"),
    [
        (["https://a/x", "https://b/x"], None, True),
        (["http://a/x", "http://b/x"], None, True),
        (["https://a/x", "http://b/x"], None, False),
        (["https://a/x", "http://b/x", "https://c/x"], None, False),
        (["https://a/x", "http://b/x"], SHA256, True),
    ],
)
def test_redirect_from_https_to_http_needs_a_digest(
    monkeypatch: pytest.MonkeyPatch, way: list[str], digest: str | None, fine: bool
) -> None:
    *before, last = (Way(address, [], []) for address in way)
    answer: Any = last._replace(history=before)
    monkeypatch.setattr(requests, "get", lambda *_, **__: answer)
    opened = url.remote_file("https://a/x?token=SECRET", digest).open

    if fine:
        assert opened({}, QUICK) is answer
    else:
        with pytest.raises(NetworkError) as caught:
            opened({}, QUICK)
        assert (caught.value.code, answer.closed) == ("network.insecure_redirect", [True])


# Secrets


def output_and_leftovers(server: FaultyServer, folder: Path, answer: Answer, address: str) -> str:
    """All that a failed download says and leaves behind."""
    recorder = Recorder()
    server.answer = answer
    with pytest.raises(TlcliError) as raised:
        download(url.remote_file(address.format_map(server.places)), folder / "file", SHORT, recorder)
    left = [path.read_text(encoding="utf-8", errors="replace") for path in folder.glob(".file*")]
    return "\n".join(
        [*traceback.format_exception(raised.value), repr(raised.value), *recorder.notes, *left, str(recorder.stages)]
    )


@pytest.mark.parametrize(
    ("answer", "address"),
    [
        (refuses("403 Forbidden"), "{server}/x.zip?token=SECRET"),
        (refuses("503 Unavailable"), "{server}/x.zip?token=SECRET#SECRET"),
        (serves(until=500_000), "{server}/x.zip?token=SECRET"),
        (faulty_server.sends(), "{server}/x.zip?token=SECRET"),
        (faulty_server.sends(b"SSH-2.0\r\n"), "{server}/x.zip?token=SECRET"),
        (faulty_server.sends(faulty_server.LONG), "{server}/x.zip?token=SECRET"),
        (refuses("302 Found", "Location: /x.zip?token=SECRET"), "{server}/x.zip?token=SECRET"),
        (sends_on("302 Found", "ftp://me:SECRET@host/x?token=SECRET"), "{server}/file.zip"),
        (sends_on("302 Found", "{closed}/x?token=SECRET"), "{server}/file.zip"),
        (sends_on("302 Found", "http://[SECRET"), "{server}/file.zip"),
        (serves(), "{closed}/x.zip?token=SECRET"),
        (serves(), "{secure}/x.zip?token=SECRET"),
        (serves(), "http://me:SECRET@127.0.0.1:1/x.zip"),
        (serves(), "http://me:SECRET@[::bad/x.zip?token=SECRET"),
        (serves(), "http://me:SE/CRET:SECRET@127.0.0.1/x.zip"),
        (serves(), "me:SECRET@127.0.0.1/x.zip"),
        (serves(), "http://me:SECRET@127.0.0.1:1"),
        (serves(), "ftp://me:SECRET@127.0.0.1/x.zip"),
    ],
)
def test_secrets_appear_nowhere(server: FaultyServer, tmp_path: Path, answer: Answer, address: str) -> None:
    text = output_and_leftovers(server, tmp_path, answer, address)

    assert "CRET" not in text
    assert re.search(r"NetworkError|RetryableError", text)


def test_note_holds_no_address(server: FaultyServer, tmp_path: Path) -> None:
    output_and_leftovers(server, tmp_path, serves(until=500_000), "{server}/x.zip?token=SECRET")

    text = (tmp_path / ".file.part.json").read_text(encoding="utf-8")
    assert set(json.loads(text)) == {"identity", "validator", "md5", "size"}
    assert not re.search(r"http|127\.|x\.zip|SECRET", text)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://host/a/b.zip", "https://host/a/b.zip"),
        ("https://host:8443/a/b.zip?token=SECRET#SECRET", "https://host:8443/a/b.zip"),
        ("https://me:SECRET@host/a@b.zip", "https://host/a@b.zip"),
        ("https://SECRET@host", "https://host"),
        ("https://a@SECRET@host/x", "https://host/x"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("http://[::bad/x.zip?SECRET", "http://[::bad/x.zip"),
        ("http://me:SE/CRET@host/x", "the malformed address"),
        ("http://me:SECRET@[::bad/x", "the malformed address"),
        ("me:SECRET@host/x", "the malformed address"),
        ("images.zip?SECRET", "images.zip"),
        ("", ""),
    ],
)
def test_addresses_are_shown_without_secrets(address: str, shown: str) -> None:
    assert without_secrets(address) == shown


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://host/a/b.zip", "b.zip"),
        ("https://host/a/b.zip?x=/y#/z", "b.zip"),
        ("https://host/", "https://host/"),
        ("https://me:SECRET@host", "host"),
    ],
)
def test_a_file_is_called_by_the_end_of_its_address(address: str, name: str) -> None:
    assert url.remote_file(address).name == name


# What failures mean


def date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("120", 120), (" 7 ", 7)])
def test_retry_after_in_seconds_is_read(text: str, seconds: float) -> None:
    assert retry_after({"Retry-After": text}) == seconds


@pytest.mark.parametrize(("later", "zone"), [(3600, "GMT"), (3600, "-0000"), (7200, "+0100")])
def test_retry_after_as_a_date_is_read(later: float, zone: str) -> None:
    seconds = retry_after({"Retry-After": date(later).replace("GMT", zone)})
    assert seconds is not None
    assert 3500 <= seconds <= 3600


@pytest.mark.parametrize("text", ["", "soon", "-5", "nan", "inf", "1e9", "Mon, 99 Foo 2026"])
def test_malformed_retry_after_is_ignored(text: str) -> None:
    assert retry_after({"Retry-After": text}) is None


def test_retry_after_has_limits() -> None:
    assert 0 < (retry_after({"Retry-After": date(30 * 86400)}) or 0) <= 7 * 86400
    assert retry_after({"Retry-After": date(-60)}) == 0
    assert retry_after({}) is None


def test_hint_of_a_refusal_names_the_time_of_retry_after() -> None:
    later = datetime.now().astimezone() + timedelta(seconds=7200)

    assert f"{later:%Y-%m-%d %H:}" in HttpStatusError(429, 7200).later
    assert not re.search(r"\d", HttpStatusError(429, 0.4).later)


def connection() -> Any:
    """What urllib3 wants to see in its errors; the names of hosts are secret here."""
    return urllib3.connection.HTTPConnection("SECRET")


def nested(inner: BaseException) -> BaseException:
    """As requests hands on what urllib3 says, of which some is in arguments and some in attributes."""
    pool = urllib3.HTTPConnectionPool("SECRET")
    return requests.ConnectionError(MaxRetryError(pool, "/SECRET", inner if isinstance(inner, Exception) else None))


def caused(outer: BaseException, inner: BaseException) -> BaseException:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (nested(NameResolutionError("SECRET", connection(), socket.gaierror())), "host_not_found"),
        (nested(caused(NewConnectionError(connection(), ""), ConnectionRefusedError())), "unreachable"),
        (nested(caused(NewConnectionError(connection(), ""), OSError(101, ""))), "unreachable"),
        (requests.ConnectTimeout(), "timeout"),
        (requests.ReadTimeout(), "timeout"),
        (requests.ConnectionError(ProtocolError("", ConnectionResetError())), "connection_lost"),
        (requests.ConnectionError(ProtocolError("", BrokenPipeError())), "connection_lost"),
        (requests.exceptions.SSLError(nested(ssl.SSLCertVerificationError())), "certificate_invalid"),
        (requests.exceptions.SSLError(nested(ssl.SSLEOFError())), "tls_failed"),
        (requests.exceptions.ProxyError(nested(OSError("SECRET"))), "proxy_failed"),
        (requests.exceptions.InvalidProxyURL(), "invalid_url"),
        (requests.TooManyRedirects("SECRET"), "redirect_loop"),
        (requests.exceptions.MissingSchema("SECRET"), "invalid_url"),
        (requests.exceptions.InvalidSchema("SECRET"), "invalid_url"),
        (requests.exceptions.JSONDecodeError("SECRET", "", 0), "not_http"),
        (ValueError("SECRET"), "invalid_url"),
        (requests.RequestException("SECRET"), "connection_lost"),
    ],
)
def test_code_is_found_in_chains_of_errors(error: BaseException, code: str) -> None:
    found = request_error("here", error)
    assert found.code == f"network.{code}"
    assert found.message.startswith("here ")
    assert "SECRET" not in str(found)
    permanent = code in ("certificate_invalid", "redirect_loop", "invalid_url")
    assert isinstance(found, RetryableError) is not permanent


def test_chain_of_errors_that_point_at_each_other_ends() -> None:
    first, second = caused(ValueError(), KeyError()), KeyError()
    caused(second, first)
    caused(first, second)
    assert request_error("here", second).code == "network.invalid_url"


# Time


def test_in_time_gives_the_result_and_raises_the_error() -> None:
    def fail() -> None:
        raise KeyError("x")

    assert in_time(5, lambda: 3) == 3
    with pytest.raises(KeyError):
        in_time(5, fail)


def test_in_time_gives_up() -> None:
    go_on = threading.Event()
    with pytest.raises(TimeoutError):
        in_time(0.05, lambda: go_on.wait(5))
    go_on.set()


def test_in_time_ignores_errors_that_come_late() -> None:
    go_on, ended = threading.Event(), threading.Event()

    def fail() -> None:
        go_on.wait(5)
        ended.set()
        raise KeyError  # a warning of an exception in a thread would fail the test

    with pytest.raises(TimeoutError):
        in_time(0.05, fail)
    go_on.set()
    assert ended.wait(5)


def test_pauses_grow_and_heed_the_server(server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(module, "sleep", pauses.append)
    busy = refuses("503 Service Unavailable", "Retry-After: 3")

    fetch(server, tmp_path / "file", turns(busy, *[refuses("500 X")] * 3, serves()), policy=RetryPolicy(backoff=0.5))

    assert pauses[0] == 3
    assert [pause / 0.5 for pause in pauses[1:]] == [pytest.approx(2**number, rel=0.21) for number in (1, 2, 3)]


def test_wait_beyond_patience_is_not_waited(server: FaultyServer, tmp_path: Path) -> None:
    busy = refuses("429 Too Many Requests", "Retry-After: 21")
    with pytest.raises(NetworkError) as caught:
        fetch(server, tmp_path / "file", busy, policy=RetryPolicy())
    assert (caught.value.code, len(server.requests)) == ("network.rate_limited", 1)
