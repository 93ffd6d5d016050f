"""Resumable downloads: the right bytes or a clear refusal, across tries, processes and kills; never a mixed file.

What has arrived lies beside the target (:mod:`tlcli.datasets.acquire.downloads.part`). It is continued only where the
server proves (If-Range, 206 and Content-Range, RFC 9110 sections 13 and 14) that its file is still the same one;
anything else begins again.
"""

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, TypeVar

from tlcli.datasets.acquire.downloads.part import Part, WrongPartError
from tlcli.datasets.acquire.downloads.refusals import REPEATED, Refused, cause, retry_after
from tlcli.errors import DataError, NetworkError, TlcliError
from tlcli.progress import SILENT, Progress
from tlcli.system.files import disk_problem, format_size, need_room

if TYPE_CHECKING:
    from requests import Response

T = TypeVar("T")
_CHUNK = 1 << 18
"""Bytes read at most before they are written: what a kill costs."""
_PROGRESS = 1 << 20
"""A try that brought this much was not in vain, and the count of tries starts again."""
_RECEIVED = 1 << 16
"""A source that has sent less is as good as silent."""
_RESTARTS = 4
"""How often a download may begin again: its file changes, or its server does not let it go on."""
_CRAWL = 1000
"""Bytes a second that are as good as silence."""


@dataclass(frozen=True)
class Patience:
    """How long is waited for what, in seconds."""

    connect: float = 5
    read: float = 15
    """Until the next bytes."""
    answer: float = 20
    """Until an answer has begun: name lookup, connection, redirects and headers together."""
    silence: float = 20
    """Without any byte from a source, until it is given up; and the longest wait that a server may ask for."""
    tries: int = 5
    """In a row, each without progress."""
    backoff: float = 0.5
    """Before the second try; doubles with each."""
    crawl: float = 30
    """At under 1 KB/s, until that counts as silence."""


@dataclass(frozen=True)
class Wanted:
    """A file to download."""

    name: str
    """Its name for people."""
    shown: str
    """Where it comes from, for messages; holds no secret."""
    identity: str
    """Equal if and only if the same bytes are meant; only a digest of it is kept."""
    open: "Callable[[Mapping[str, str], Patience], Response]"
    """Asks for the file with these headers and gives a streaming answer; may raise Refused."""
    explain: Callable[[Refused], TlcliError | None] = lambda _: None
    """What a final refusal means at this source; None leaves it to the general words."""
    size: int | None = None
    """Expected bytes."""
    digest: str | None = None
    """Expected md5 (32 hex digits) or sha256 (64)."""


@dataclass(frozen=True)
class Receipt:
    """What arrived."""

    sha256: str
    size: int


class _LostError(Exception):
    """A try failed in a way that the next may not."""

    def __init__(self, reason: str, refused: Refused | None = None) -> None:
        self.wait = (refused and refused.wait) or 0
        self.refused = refused
        super().__init__(reason)


def download(
    wanted: Wanted, target: Path, patience: Patience = Patience(), progress: Progress = SILENT, unpacked: bool = False
) -> Receipt:  # fmt: skip
    """Downloads a file; ``target`` appears complete and checked, or not at all.

    Args:
        wanted: the file.
        target: where it goes.
        patience: how long is waited, and how often is tried.
        progress: told of every byte, and of tries that failed.
        unpacked: whether the disk must have room for its content, too (images: about the same again).

    Raises:
        NetworkError: no answer, a refusal, or fewer bytes than announced, every time; what arrived is kept.
        DataError: the file is complete and is not the expected one.
        ResourceError: the disk is full.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Part(target, wanted.identity)
        try:
            return _whole(wanted, part, patience, progress, unpacked)
        finally:
            part.forget_if_useless(proved_otherwise=wanted.digest is not None)
    except OSError as error:
        if problem := disk_problem(error, target):
            raise problem from error
        raise


def _whole(wanted: Wanted, part: Part, patience: Patience, progress: Progress, unpacked: bool) -> Receipt:
    """Receives and checks; a file that came in several goes gets a second chance in one."""
    _receive(wanted, part, patience, progress, unpacked)
    continued = part.continued
    try:
        return Receipt(*part.finish(wanted.shown, wanted.digest, wanted.size, progress))
    except DataError:
        if not continued:
            raise
    progress.note(f"{wanted.name}: what was here of an earlier try was damaged; downloading it anew.")
    _receive(wanted, part, patience, progress, unpacked)
    return Receipt(*part.finish(wanted.shown, wanted.digest, wanted.size, progress))


def _receive(wanted: Wanted, part: Part, patience: Patience, progress: Progress, unpacked: bool) -> None:
    """Tries until every byte is here."""
    failures, heard, received, restarts, began = 0, False, False, part.restarts, monotonic()
    while not part.whole:
        before = part.size
        left = patience.answer if heard else min(patience.answer, began + patience.silence - monotonic())
        try:
            _try(wanted, part, replace(patience, answer=left), progress, unpacked)
        except _LostError as lost:
            arrived = part.size - before
            failures = 1 if arrived >= _PROGRESS else failures + 1
            heard, received = heard or arrived > 0, received or arrived >= _RECEIVED
            pause = max(lost.wait, patience.backoff * 2 ** (failures - 1) * random.uniform(0.8, 1.2))  # noqa: S311
            if part.restarts - restarts > _RESTARTS:
                raise NetworkError(
                    f"{wanted.shown} {lost}; it began anew {_RESTARTS + 1} times and never came to its end, as its "
                    "server does not go on where it broke off."
                ) from None
            if failures >= patience.tries or (not received and monotonic() - began + pause > patience.silence):
                raise _given_up(wanted, part, lost, failures) from None
            progress.note(f"{wanted.shown} {lost}; trying again in {pause:.0f} s.")
            sleep(pause)


def _given_up(wanted: Wanted, part: Part, lost: _LostError, failures: int) -> TlcliError:
    if lost.refused and lost.refused.status == 429 and (explained := wanted.explain(lost.refused)):
        return explained  # with when to try again
    times = "once" if failures == 1 else f"{failures} times"
    goes_on = not part.restarts and part.headers(proved_otherwise=wanted.digest is not None)
    kept = (
        f"; the {format_size(part.size)} that arrived are kept, and the same command goes on there" if goes_on else ""
    )
    return NetworkError(f"{wanted.shown} {lost} (tried {times}){kept}.")


def _try(wanted: Wanted, part: Part, patience: Patience, progress: Progress, unpacked: bool) -> None:
    import requests
    import urllib3

    headers = part.headers(proved_otherwise=wanted.digest is not None)
    try:
        with closing(_asked(wanted, part, headers, patience)) as answer:
            offset = part.begin(answer, "Range" in headers)
            _check_announced(wanted, part)
            if unpacked and part.total is not None:
                need_room(part.path, 2 * part.total - offset, f"{wanted.name} with what it unpacks to")
            with progress.stage(f"Downloading {wanted.name}", part.total, "bytes"):
                progress.advance(offset)
                for count in part.write(_chunks(answer, patience), offset):
                    progress.advance(count)
            part.ended()
    except WrongPartError as wrong:
        raise _LostError(str(wrong)) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        reason, for_good = cause(error)
        if for_good:
            raise NetworkError(f"{wanted.shown} {reason}.") from None
        raise _LostError(reason) from None
    if not part.whole:
        raise _LostError(f"ended after {part.size:,} of {part.total:,} bytes")


def _check_announced(wanted: Wanted, part: Part) -> None:
    if wanted.size is not None and part.total is not None and wanted.size != part.total:
        raise DataError(
            f"{wanted.shown} gives another file than expected ({part.total:,} bytes, expected {wanted.size:,})."
        )


def _asked(wanted: Wanted, part: Part, headers: Mapping[str, str], patience: Patience) -> "Response":
    """A streaming answer with status 200 or 206.

    Raises:
        NetworkError: a refusal that will stay.
    """
    import requests

    def opened() -> "Response":
        return wanted.open({"Accept-Encoding": "identity", **headers}, patience)

    try:
        answer = in_time(patience.answer, opened, late=requests.Response.close)
        if answer.status_code in (200, 206):
            _refuse_packed(answer, wanted)
            return answer
        answer.close()
        raise Refused(answer.status_code, answer.reason or "", retry_after(answer.headers))
    except TimeoutError as error:
        raise _LostError(str(error)) from None
    except Refused as refused:
        if refused.status == 416 and headers.keys() & {"Range"}:
            part.restart()
            raise _LostError("has no such part any more") from None
        if refused.status in REPEATED and (refused.wait or 0) <= patience.silence:
            raise _LostError(f"answered {refused}", refused) from None
        raise wanted.explain(refused) or NetworkError(f"{wanted.shown} answered {refused}.") from None
    except OSError as error:
        if isinstance(error, requests.RequestException):
            raise
        # of requests itself: a file of certificates that REQUESTS_CA_BUNDLE names and that is not there
        raise NetworkError(f"{wanted.shown} could not be asked: {error}.") from None


def _refuse_packed(answer: "Response", wanted: Wanted) -> None:
    """A server that packs the file on its way, though it was asked not to, cannot be continued or counted.

    Some only say so of files that are packed as such (``Content-Encoding: x-gzip`` for ``.tar.gz``).
    """
    coding = answer.headers.get("Content-Encoding", "identity").lower()
    if coding not in ("", "identity") and not (coding in ("gzip", "x-gzip") and wanted.name.endswith((".gz", ".tgz"))):
        answer.close()
        raise NetworkError(f"{wanted.shown} sends the file packed ({coding}) though it was asked for as it is.")
    transfer = answer.headers.get("Transfer-Encoding", "chunked").lower()
    if transfer != "chunked":  # the only one that http.client undoes; of the others it gives the bytes on the wire
        answer.close()
        raise NetworkError(f"{wanted.shown} sends the file packed ({transfer}) though it was asked for as it is.")


def _chunks(answer: "Response", patience: Patience) -> Iterator[bytes]:
    """The body as it is sent, as soon as some of it is here."""
    began, count = monotonic(), 0
    while chunk := answer.raw.read1(_CHUNK, decode_content=False):
        yield chunk
        count += len(chunk)
        if monotonic() - began >= patience.crawl:
            if count < _CRAWL * patience.crawl:
                raise _LostError("crawls at less than 1 KB/s")
            began, count = monotonic(), 0


def in_time(seconds: float, call: Callable[[], T], late: Callable[[T], object] = lambda _: None) -> T:
    """The result of ``call``, made in a thread of its own: neither name lookup nor dripping headers know a timeout.

    Args:
        seconds: how long is waited.
        call: what takes its time.
        late: what is done with a result that comes after that.

    Raises:
        TimeoutError: it took longer; the thread is left to itself, and ends with the process.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - raised again below
            with suppress(InvalidStateError):
                future.set_exception(error)
            return
        try:
            future.set_result(result)
        except InvalidStateError:
            late(result)

    threading.Thread(target=run, daemon=True).start()
    wait([future], seconds)
    if future.cancel():
        raise TimeoutError("did not answer in time")
    return future.result()
