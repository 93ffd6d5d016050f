"""The part of a download that has arrived: a hidden file beside the target, and a note that says what it belongs to."""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tlcli.datasets.acquire.downloads.failures import RetryableError
from tlcli.errors import DataError
from tlcli.progress import Progress
from tlcli.system.files import sync_folder, write_text

if TYPE_CHECKING:
    from requests import Response

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_LENGTH = re.compile(r"(\d{1,18})(?: *, *\1)*")
_STRONG_ETAG = re.compile(r'"[!#-~]*"')
"""An ETag that promises equal bytes; weak ones (W/) do not, and If-Range must not hold them."""
_BLOCK = 1 << 20


@dataclass(frozen=True)
class FileDigest:
    """A file that was read to its end."""

    sha256: str
    size: int


class _Note(BaseModel):
    """The note beside a partial file."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    identity: str
    """Digest of what is downloaded."""
    validator: Annotated[str | None, Field(pattern=r"^[ -~]+$")]
    """ETag or date that proves later that the file is still the same."""
    md5: str | None
    """Hex digest that the server announces."""
    size: int | None
    """Bytes of the whole file."""


class PartialFile:
    """``.NAME.part`` and ``.NAME.part.json`` beside the target.

    Bytes are written to offsets, never appended: two processes that a lock failed to keep apart write the same bytes
    to the same offsets.
    """

    def __init__(self, target: Path, source: str, identity: str, has_digest: bool) -> None:
        """Opens what an earlier try has left; what cannot be continued is removed.

        Args:
            target: the file that is downloaded.
            source: its name, for errors.
            identity: equal if and only if the same bytes are meant.
            has_digest: whether the digest is known, which proves at the end that the bytes are of one file.
        """
        self.target, self._source, self._has_digest = target, source, has_digest
        self.path = target.with_name(f".{target.name}.part")
        self._note_path = target.with_name(f".{target.name}.part.json")
        self._identity = hashlib.sha256(identity.encode()).hexdigest()
        self._note = self._read_note()
        self.resumed = self.size > 0
        """Whether the bytes came in several requests, so that they may be of several versions."""
        if self._note is None or (self.total is not None and self.size > self.total):
            self.discard()

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def total(self) -> int | None:
        """Bytes of the whole file, if the server has announced them."""
        return self._note.size if self._note else None

    @property
    def complete(self) -> bool:
        """Whether every byte has arrived."""
        return self._note is not None and self.total == self.size and self.path.exists()

    @property
    def headers(self) -> dict[str, str]:
        """Request headers for the rest; empty, for all of it, where nothing could prove that the file is the same."""
        if not self.size or self._note is None or not (self._note.validator or self._has_digest):
            return {}
        condition = {"If-Range": self._note.validator} if self._note.validator else {}
        return {"Range": f"bytes={self.size}-", **condition}

    def begin(self, response: "Response", requested_rest: bool) -> int:
        """The offset of the response's bytes; a part that they do not continue is discarded.

        Args:
            response: with status 200 or 206.
            requested_rest: whether only the rest was requested.

        Raises:
            RetryableError: its headers contradict the request, or themselves.
        """
        headers, length = response.headers, self._length(response.headers)
        if response.status_code == 206:
            return self._continue(headers, requested_rest, length)
        if self.size:
            self.discard()
        # http.client takes wrong sizes of chunks for content, so that nothing proves such a part.
        validator = None if "Transfer-Encoding" in headers else _validator(headers)
        self._write_note(_Note(identity=self._identity, validator=validator, md5=_md5(headers), size=length))
        return 0

    def _continue(self, headers: Mapping[str, str], requested_rest: bool, length: int | None) -> int:
        """The offset of a 206, which must be the next part of the same file; not all servers heed If-Range."""
        found, note = _RANGE.fullmatch(headers.get("Content-Range", "")), self._note
        first, last = (int(found[1]), int(found[2])) if found else (0, 0)
        total = int(found[3]) if found and found[3] != "*" else self.total
        if not (
            requested_rest
            and note
            and found
            and first == self.size <= last
            and length in (None, last - first + 1)
            and (total is None or last < total)
            and note.size in (None, total)
            and _may_be_same(note.validator, headers)
        ):
            self.discard()
            raise RetryableError("network.wrong_range", f"{self._source} sent another part than the one requested.")
        validator = None if "Transfer-Encoding" in headers else note.validator
        self._write_note(note.model_copy(update={"validator": validator, "size": total}))
        self.resumed = True
        return self.size

    def write(self, chunks: Iterable[bytes], offset: int) -> Iterator[int]:
        """Writes each chunk and hands it to the system at once, so that a kill costs one; yields their lengths.

        Raises:
            RetryableError: nothing was sent, or more than was announced.
        """
        with self.path.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            for chunk in chunks:
                file.write(chunk)
                file.flush()
                yield len(chunk)
        if self.total is None and self._note is not None and self.size:
            self._write_note(self._note.model_copy(update={"size": self.size}))  # the end of the connection is its end
        elif self.total is None:
            raise RetryableError("network.empty_response", f"{self._source} sent no data.")
        elif self.size > self.total:
            self.discard()
            message = f"{self._source} sent more bytes than it announced."
            raise RetryableError("network.wrong_length", message)

    def finish(self, digest: str | None, size: int | None, progress: Progress) -> FileDigest:
        """Checks size and digest, and renames the file to its target.

        Raises:
            DataError: it is another file than expected; it is removed.
        """
        announced, count, shown = self._note and self._note.md5, self.size, self._source
        digests = self._digests(progress, with_md5=bool(announced) or len(digest or "") == 32)
        try:
            if size not in (None, count):
                raise DataError("data.size_mismatch", f"{shown} sent {count:,} bytes, expected {size:,}.")
            if digest and digest not in digests:
                found = next(one for one in digests if len(one) == len(digest))
                raise DataError("data.digest_mismatch", f"{shown} sent a file with digest {found}, expected {digest}.")
            if announced and announced not in digests:
                message = f"{shown} arrived damaged: its md5 is not the one that its server announces."
                raise DataError("data.damaged_download", message, "Run the same command again.")
        except DataError:
            self.discard()
            raise
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(self.target)
        sync_folder(self.target.parent)
        self._note_path.unlink(missing_ok=True)
        return FileDigest(digests[0], count)

    def _digests(self, progress: Progress, with_md5: bool) -> list[str]:
        """sha256 and, if wanted, md5, in hexadecimal."""
        hashes = [hashlib.sha256(), *([hashlib.md5(usedforsecurity=False)] if with_md5 else [])]
        with progress.stage("Checking the download", self.size, "bytes"), self.path.open("rb") as file:
            while block := file.read(_BLOCK):
                for one in hashes:
                    one.update(block)
                progress.advance(len(block))
        return [one.hexdigest() for one in hashes]

    def discard(self) -> None:
        """Removes what has arrived, as it is no part of the file (any more)."""
        self.path.unlink(missing_ok=True)
        self._note_path.unlink(missing_ok=True)
        self._note = None
        self.resumed = False

    def _read_note(self) -> _Note | None:
        """The note, if it is about this file."""
        try:
            note = _Note.model_validate_json(self._note_path.read_bytes())
        except (OSError, ValidationError):
            return None
        return note if note.identity == self._identity else None

    def _write_note(self, note: _Note) -> None:
        write_text(self._note_path, note.model_dump_json())
        self._note = note

    def _length(self, headers: Mapping[str, str]) -> int | None:
        """Bytes that are announced; without a number nobody knows where the file ends (RFC 9112 section 6.3)."""
        if "Content-Length" not in headers or "Transfer-Encoding" in headers:
            return None
        if found := _LENGTH.fullmatch(headers["Content-Length"]):
            return int(found[1])
        raise RetryableError("network.wrong_length", f"{self._source} announces a length that is not a number.")


def _validator(headers: Mapping[str, str]) -> str | None:
    """A strong ETag or, without any ETag, a strong date (RFC 9110 section 13.1.5)."""
    if (etag := headers.get("ETag")) is not None:
        return etag if _STRONG_ETAG.fullmatch(etag) else None
    modified = headers.get("Last-Modified", "")
    try:  # a date cannot tell two changes within its second; later ones it can (RFC 9110 section 8.8.2.2)
        age = parsedate_to_datetime(headers.get("Date", "")) - parsedate_to_datetime(modified)
    except (TypeError, ValueError):
        return None
    return modified if age >= timedelta(seconds=1) and modified.isascii() and modified.isprintable() else None


def _may_be_same(validator: str | None, headers: Mapping[str, str]) -> bool:
    """A 206 to If-Range need not repeat Last-Modified, other than an ETag (RFC 9110 section 15.3.7)."""
    omits_date = not (validator or "").startswith('"') and not ("ETag" in headers or "Last-Modified" in headers)
    return omits_date or validator in (None, _validator(headers))


def _md5(headers: Mapping[str, str]) -> str | None:
    """Hex md5 that the server announces: ``x-goog-hash: crc32c=...,md5=BASE64`` or ``Content-MD5: BASE64``."""
    if headers.get("x-goog-stored-content-encoding", "identity") != "identity":
        return None  # the digest is that of the compressed file, which is decompressed on its way
    parts = [part.strip() for part in headers.get("x-goog-hash", "").split(",")]
    coded = next((part[4:] for part in parts if part.startswith("md5=")), headers.get("Content-MD5", ""))
    try:
        digest = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest.hex() if len(digest) == 16 else None
