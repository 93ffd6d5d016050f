"""A file at an https (or http) address."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tlcli.disk import whole_file
from tlcli.errors import DataError, NetworkError
from tlcli.progress import SILENT, Progress

TIMEOUT = (5, 15)
"""Seconds to connect, and to wait for the next bytes."""
_CHUNK = 1 << 18


def download(url: str, target: Path, digest: str | None = None, progress: Progress = SILENT) -> None:
    """Downloads a file; ``target`` appears complete and checked, or not at all.

    Args:
        url: http or https address.
        target: where the file goes.
        digest: expected md5 (32 hex digits) or sha256 (64).
        progress: told of every byte.

    Raises:
        NetworkError: no answer, a refusal, or fewer bytes than announced.
        DataError: the file is complete and is not the expected one.
    """
    import requests  # here, since it takes 0.1 s that most commands need not pay

    name = file_name(url) or url
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}) as answer:
            if answer.status_code != 200:
                raise NetworkError(f"{url} answered {answer.status_code} {answer.reason}")
            size = int(answer.headers.get("Content-Length", 0)) or None
            with whole_file(target) as temporary, progress.stage(f"Downloading {name}", size, "bytes"):
                found, count = _save(answer.iter_content(_CHUNK), temporary, digest, progress)
                _check(url, found, count, digest, size)
    except (requests.RequestException, ValueError) as error:
        raise NetworkError(f"{url} could not be downloaded ({type(error).__name__})") from error


def file_name(url: str) -> str:
    """The last part of an address's path, without a query; any text is taken, also what is no address."""
    return url.partition("?")[0].rpartition("/")[2]


def _save(chunks: Iterator[bytes], path: Path, digest: str | None, progress: Progress) -> tuple[str, int]:
    """Hex digest and number of the bytes written."""
    hashing = hashlib.md5(usedforsecurity=False) if digest and len(digest) == 32 else hashlib.sha256()
    count = 0
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            hashing.update(chunk)
            count += len(chunk)
            progress.advance(len(chunk))
    return hashing.hexdigest(), count


def _check(url: str, found: str, count: int, digest: str | None, size: int | None) -> None:
    if size is not None and count != size:
        raise NetworkError(f"{url} ended after {count:,} of {size:,} bytes")
    if digest is not None and found != digest:
        raise DataError(f"{url} gave another file than expected (digest {found}, expected {digest})")
