"""The part of a download that has arrived, on disk: what it is a part of, and where it goes on."""

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.errors import DataError
from tlcli.progress import Progress
from tlcli.system.files import sync_folder, write_text

if TYPE_CHECKING:
    from requests import Response

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_LENGTH = re.compile(r"(\d{1,18})(?: *, *\1)*")
_STRONG = re.compile(r'"[!#-~]*"')
"""An ETag that promises equal bytes; weak ones (W/) do not, and If-Range must not hold them."""
_BLOCK = 1 << 20
_KINDS: dict[str, tuple[type, ...]] = {
    "identity": (str,),
    "validator": (str, type(None)),
    "md5": (str, type(None)),
    "size": (int, type(None)),
}
"""What the note holds."""


class WrongPartError(Exception):
    """The answer cannot be (a part of) the file that was asked for; its text says why, after the name of the file."""


class Part:
    """``.NAME.part`` and its note beside the target.

    Offsets are written to, never appended to: two processes that a lock failed to keep apart write the same bytes to
    the same places.
    """

    def __init__(self, target: Path, identity: str) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self._note = target.with_name(f".{target.name}.part.json")
        self._identity = hashlib.sha256(identity.encode()).hexdigest()
        self._known = self._read()
        self.restarts = 0
        self.continued = self.size > 0
        """Whether what is here came in more than one go, so that a wrong digest may be the fault of that."""
        if self._known is None or (self.total is not None and self.size > self.total):
            self._forget()

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def total(self) -> int | None:
        """Bytes of the whole file, where the server has said it."""
        return (self._known or {}).get("size")

    @property
    def whole(self) -> bool:
        """Whether every byte is here."""
        return self._known is not None and self.total == self.size and self.path.exists()

    def headers(self, proved_otherwise: bool) -> dict[str, str]:
        """Asks for the rest, if the file is still the same; for all of it where nothing could prove that."""
        if not self.size or self._known is None:
            return {}
        validator = self._known["validator"]
        if validator is None and not proved_otherwise:
            return {}
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": validator} if validator else {})

    def begin(self, answer: "Response", asked: bool) -> int:
        """Where the answer's bytes go; a part that they do not continue is dropped.

        Args:
            answer: with status 200 or 206.
            asked: whether a part was asked for.

        Raises:
            WrongPartError: it answers something that was not asked for, or that cannot be.
        """
        length = _length(answer.headers)
        if answer.status_code == 206:
            return self._continue(answer.headers, asked, length)
        if self.size:
            self.restart()
        self._write(
            {
                "identity": self._identity,
                "validator": _validator(answer.headers),
                "md5": _md5(answer.headers),
                "size": length,
            }
        )
        return 0

    def _continue(self, headers: Mapping[str, str], asked: bool, length: int | None) -> int:
        found = _RANGE.fullmatch(headers.get("Content-Range", ""))
        known = self._known
        if not asked or known is None or found is None or not self._goes_on(known, found, headers, length):
            self.restart()
            raise WrongPartError("answered with another part than was asked for")
        size = known["size"] if found[3] == "*" else int(found[3])
        self._write({**known, "size": size, "validator": None if _is_chunked(headers) else known["validator"]})
        self.continued = True
        return self.size

    def _goes_on(
        self, known: dict[str, Any], found: re.Match[str], headers: Mapping[str, str], length: int | None
    ) -> bool:
        """Whether an answer is the next part of the same file; not all servers look at If-Range."""
        first, last = int(found[1]), int(found[2])
        total = known["size"] if found[3] == "*" else int(found[3])
        return (
            first == self.size <= last
            and length in (None, last - first + 1)
            and (total is None or last < total)
            and known["size"] in (None, total)
            and (known["validator"] in (None, _named(headers)) or _leaves_out_a_date(known["validator"], headers))
        )

    def write(self, chunks: Iterable[bytes], offset: int) -> Iterator[int]:
        """Writes each chunk and hands it to the system at once, so that a kill costs one; yields their lengths."""
        with self.path.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            for chunk in chunks:
                file.write(chunk)
                file.flush()
                yield len(chunk)

    def ended(self) -> None:
        """The connection was closed in order; without an announced length that is the only sign of the end.

        Raises:
            WrongPartError: nothing was sent, or more than there can be.
        """
        if self.total is None and self._known is not None:
            if not self.size:
                raise WrongPartError("sent nothing at all")
            self._write({**self._known, "size": self.size})
        elif self.total is not None and self.size > self.total:
            self.restart()
            raise WrongPartError("sent more than it announced")

    def restart(self) -> None:
        """What is here is not a part of the file (any more)."""
        self.restarts += self.size > 0
        self._forget()

    def finish(self, shown: str, digest: str | None, size: int | None, progress: Progress) -> tuple[str, int]:
        """Checks size and digest, and gives the file its name.

        Returns:
            Its sha256 and its size.

        Raises:
            DataError: it is another file than expected; what is here is dropped.
        """
        announced = (self._known or {}).get("md5")
        found, count = self._digests(progress, bool(announced) or len(digest or "") == 32), self.size
        problem = ""
        if size is not None and count != size:
            problem = f"gave another file than expected ({count:,} bytes, expected {size:,})"
        elif digest is not None and digest not in found:
            like = next(hexed for hexed in found if len(hexed) == len(digest))
            problem = f"gave another file than expected (digest {like}, expected {digest})"
        elif announced and announced not in found:
            problem = "arrived damaged (its digest is not the one that its server announced)"
        if problem:
            self._forget()
            raise DataError(f"{shown} {problem}.")
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(self.target)
        sync_folder(self.target.parent)
        self._note.unlink(missing_ok=True)
        return found[0], count

    def _digests(self, progress: Progress, with_md5: bool) -> tuple[str, ...]:
        """sha256 and, where it is asked for, md5, as hex."""
        hashings = [hashlib.sha256(), *([hashlib.md5(usedforsecurity=False)] if with_md5 else [])]
        with progress.stage("Checking the download", self.size, "bytes"), self.path.open("rb") as file:
            while block := file.read(_BLOCK):
                for hashing in hashings:
                    hashing.update(block)
                progress.advance(len(block))
        return tuple(hashing.hexdigest() for hashing in hashings)

    def forget_if_useless(self, proved_otherwise: bool) -> None:
        """Leaves nothing behind that could not be continued."""
        if not self.whole and not self.headers(proved_otherwise):
            self._forget()

    def _forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self._known = None
        self.continued = False

    def _read(self) -> dict[str, Any] | None:
        """The note, if it is one about this file."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(note, dict) or note.keys() != _KINDS.keys():
            return None
        if not all(isinstance(note[key], kinds) for key, kinds in _KINDS.items()):
            return None
        if note["validator"] is not None and not note["validator"].isprintable():
            return None  # it could not be sent
        return note if note["identity"] == self._identity else None

    def _write(self, note: dict[str, Any]) -> None:
        write_text(self._note, json.dumps(note))
        self._known = note


def _is_chunked(headers: Mapping[str, str]) -> bool:
    return "Transfer-Encoding" in headers


def _length(headers: Mapping[str, str]) -> int | None:
    """Bytes that are announced.

    Raises:
        WrongPartError: something else is; then nobody knows where the file ends (RFC 9112 section 6.3).
    """
    if "Content-Length" not in headers or _is_chunked(headers):
        return None
    found = _LENGTH.fullmatch(headers["Content-Length"])
    if found is None:
        raise WrongPartError("announces a length that is not a number")
    return int(found[1])


def _validator(headers: Mapping[str, str]) -> str | None:
    """What proves later that the file is still the same; nothing does for a chunked answer.

    http.client takes wrong sizes of chunks for content, so that such a part can be wrong even before it breaks off.
    """
    return None if _is_chunked(headers) else _named(headers)


def _leaves_out_a_date(validator: str, headers: Mapping[str, str]) -> bool:
    """A 206 to If-Range need not repeat Last-Modified, other than an ETag (RFC 9110 section 15.3.7)."""
    return not validator.startswith('"') and "ETag" not in headers and "Last-Modified" not in headers


def _named(headers: Mapping[str, str]) -> str | None:
    """A strong ETag or, where there is no ETag at all, a strong date (RFC 9110 section 13.1.5)."""
    if (etag := headers.get("ETag")) is not None:
        return etag if _STRONG.fullmatch(etag) else None
    return _strong_date(headers.get("Last-Modified", ""), headers.get("Date", ""))


def _strong_date(modified: str, sent: str) -> str | None:
    """A date cannot tell two changes within its second; later ones it can (RFC 9110 section 8.8.2.2)."""
    try:
        age = parsedate_to_datetime(sent) - parsedate_to_datetime(modified)
    except (TypeError, ValueError):
        return None
    return modified if age >= timedelta(seconds=1) and modified.isprintable() else None


def _md5(headers: Mapping[str, str]) -> str | None:
    """Hex md5 that the server announces: ``x-goog-hash: crc32c=...,md5=BASE64`` or ``Content-MD5: BASE64``."""
    if headers.get("x-goog-stored-content-encoding", "identity") != "identity":
        return None  # the digest is that of the packed file, which is unpacked on its way
    parts = [part.strip() for part in headers.get("x-goog-hash", "").split(",")]
    coded = next((part[4:] for part in parts if part.startswith("md5=")), headers.get("Content-MD5", ""))
    try:
        digest = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest.hex() if len(digest) == 16 else None
