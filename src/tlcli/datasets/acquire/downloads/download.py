"""Resumable downloads: the right bytes or a clear error, across tries, processes and kills; never a mixed file.

What has arrived is kept beside the target (:mod:`tlcli.datasets.acquire.downloads.partial_file`). It is continued only
where the server proves (If-Range, 206 and Content-Range, RFC 9110 sections 13 and 14) that its file is still the same;
anything else begins again.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from tlcli.datasets.acquire.downloads import failures
from tlcli.datasets.acquire.downloads.failures import HttpStatusError, RetryableError, http_error, network_errors
from tlcli.datasets.acquire.downloads.partial_file import FileDigest, PartialFile
from tlcli.datasets.acquire.downloads.retries import DEFAULT_POLICY, Retries, RetryPolicy
from tlcli.errors import DataError, NetworkError
from tlcli.progress import SILENT, Progress
from tlcli.system.files import disk_problem, format_size, need_room

if TYPE_CHECKING:
    from requests import Response

_CHUNK = 1 << 18
"""Bytes that are read at most before they are written: what a kill costs."""
_PROGRESS = 1 << 20
"""Bytes beyond all earlier tries after which the count of tries begins again."""
_HEARD = 1 << 16
"""Bytes; a source that has sent less is as good as silent."""
_SLOW = 1000
"""Bytes a second that are as good as silence."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download."""

    name: str
    """File name, for people."""
    source: str
    """Where it comes from, for messages; holds no secret."""
    identity: str
    """Equal if and only if the same bytes are meant; only a digest of it is stored."""
    open: "Callable[[Mapping[str, str], RetryPolicy], Response]"
    """Requests the file with these headers; gives a streaming response, may raise HttpStatusError."""
    explain: Callable[[HttpStatusError], NetworkError | None] = lambda _: None
    """What a final refusal means at this source; None for the general error."""
    size: int | None = None
    """Expected bytes."""
    max_bytes: int | None = None
    """Bytes that are accepted at most; None for any number."""
    digest: str | None = None
    """Expected md5 (32 hex digits) or sha256 (64)."""


def download(
    file: RemoteFile,
    target: Path,
    policy: RetryPolicy = DEFAULT_POLICY,
    progress: Progress = SILENT,
    unpacked: bool = False,
) -> FileDigest:
    """Downloads a file; ``target`` appears complete and checked, or not at all.

    Args:
        file: the file.
        target: its path on this machine.
        policy: timeouts and the number of tries.
        progress: receives every byte, and tries that failed.
        unpacked: whether the disk needs space for its content, too (images: about the same again).

    Raises:
        NetworkError: no response, a refusal, or fewer bytes than announced, every time; what arrived is kept.
        DataError: the file is complete and is not the expected one.
        ResourceError: the disk is full.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = PartialFile(target, file.source, file.identity, file.digest is not None)
        try:
            return _Transfer(file, part, policy, progress, unpacked).run()
        finally:
            if not part.complete and not part.headers:
                part.discard()
    except OSError as error:
        if problem := disk_problem(error, target):
            raise problem from error
        raise


@dataclass(frozen=True)
class _Transfer:
    """One call of :func:`download`."""

    file: RemoteFile
    part: PartialFile
    policy: RetryPolicy
    progress: Progress
    unpacked: bool

    def run(self) -> FileDigest:
        """Receives and checks; a file that came in several requests gets a second chance in one."""
        self._receive()
        resumed = self.part.resumed
        try:
            return self.part.finish(self.file.digest, self.file.size, self.progress)
        except DataError:
            if not resumed:
                raise
        self.progress.note(f"{self.file.name}: the partial download was damaged; starting again.")
        self._receive()
        return self.part.finish(self.file.digest, self.file.size, self.progress)

    def _receive(self) -> None:
        """Tries until every byte has arrived."""
        retries, received, most = Retries(self.policy, self.progress), 0, self.part.size
        while not self.part.complete:
            before = self.part.size
            try:
                self._try(retries.timeout)
            except RetryableError as failed:
                size = self.part.size
                received += max(0, size - before)
                retries.heard = received >= _HEARD
                hint = f"Run the same command to continue; {format_size(size)} are kept." if self.part.headers else ""
                retries.pause(failed, progressed=size - most >= _PROGRESS, hint=hint)
                most = max(most, size)

    def _try(self, timeout: float) -> None:
        part, file, headers = self.part, self.file, self.part.headers
        with network_errors(file.source), closing(self._respond(headers, timeout)) as response:
            offset = part.begin(response, "Range" in headers)
            self._check_announced()
            if self.unpacked and part.total is not None:
                need_room(part.path, 2 * part.total - offset, f"{file.name} with what it unpacks to")
            with self.progress.stage(f"Downloading {file.name}", part.total, "bytes"):
                self.progress.advance(offset)
                received = offset
                for count in part.write(self._chunks(response), offset):
                    self.progress.advance(count)
                    received += count
                    self._check_size(received)
        if not part.complete:
            message = f"{file.source} ended after {part.size:,} of {part.total:,} bytes."
            raise RetryableError("network.connection_lost", message)

    def _check_announced(self) -> None:
        expected, announced = self.file.size, self.part.total
        if expected is not None and announced not in (None, expected):
            message = f"{self.file.source} announces {announced:,} bytes, expected {expected:,}."
            raise DataError("data.size_mismatch", message)
        self._check_size(announced or 0)

    def _check_size(self, count: int) -> None:
        """Gives up a file that is larger than what is accepted, as announced or as it arrives."""
        if self.file.max_bytes is not None and count > self.file.max_bytes:
            self.part.discard()
            message = f"{self.file.source} has more than {format_size(self.file.max_bytes)}."
            raise DataError("data.download_too_large", message, "Download it yourself.")

    def _respond(self, headers: Mapping[str, str], timeout: float) -> "Response":
        """A streaming response with status 200 or 206.

        Raises:
            RetryableError, NetworkError: there is none.
        """

        def request() -> "Response":
            response = self.file.open({"Accept-Encoding": "identity", **headers}, self.policy)
            if response.status_code not in (200, 206):
                response.close()
                raise HttpStatusError(response.status_code, failures.retry_after(response.headers))
            return response

        source = self.file.source
        try:
            response = failures.respond(source, timeout, self.policy.silence, request)
        except HttpStatusError as refused:
            if refused.status == 416 and "Range" in headers:
                self.part.discard()
                raise RetryableError(
                    "network.wrong_range", f"{source} does not have the requested part any more."
                ) from None
            raise self.file.explain(refused) or http_error(source, refused, NetworkError) from None
        if coding := _wire_coding(response.headers, self.file.name):
            response.close()
            message = f"{source} compresses the file on its way ({coding}), so that its bytes cannot be checked."
            raise NetworkError("network.compressed_response", message)
        return response

    def _chunks(self, response: "Response") -> Iterator[bytes]:
        """The body as it is sent, as soon as some of it is here."""
        began, count = monotonic(), 0
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            yield chunk
            count += len(chunk)
            if monotonic() - began >= self.policy.slow:
                if count < _SLOW * self.policy.slow:
                    message = f"{self.file.source} sends less than 1 KB/s."
                    raise RetryableError("network.too_slow", message)
                began, count = monotonic(), 0


def _wire_coding(headers: Mapping[str, str], name: str) -> str:
    """How a server changes the file on its way, though it was requested as it is; empty if it does not.

    Some only say so of files that are compressed as such (``Content-Encoding: x-gzip`` for ``.tar.gz``).
    """
    content = headers.get("Content-Encoding", "").lower()
    if content not in ("", "identity") and not (content in ("gzip", "x-gzip") and name.endswith((".gz", ".tgz"))):
        return content
    transfer = headers.get("Transfer-Encoding", "chunked").lower()
    return "" if transfer == "chunked" else transfer  # the only one that http.client undoes
