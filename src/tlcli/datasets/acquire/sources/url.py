"""A file at an https (or http) address."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.datasets.acquire.downloads.download import Patience, Wanted
from tlcli.datasets.acquire.downloads.download import download as _download
from tlcli.datasets.acquire.downloads.refusals import without_secrets
from tlcli.errors import NetworkError
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from requests import Response


def wanted(url: str, digest: str | None = None, size: int | None = None) -> Wanted:
    """What to download from an address.

    Args:
        url: http or https; its query, which may hold a secret, is never shown.
        digest: expected md5 (32 hex digits) or sha256 (64).
        size: expected bytes.
    """
    shown = without_secrets(url)

    def opened(headers: Mapping[str, str], patience: Patience) -> "Response":
        import requests

        answer = requests.get(url, headers=dict(headers), stream=True, timeout=(patience.connect, patience.read))
        ways = [earlier.url for earlier in answer.history] + [answer.url]
        if digest is None and ways[0].startswith("https:") and not all(way.startswith("https:") for way in ways):
            answer.close()
            raise NetworkError(f"{shown} leads from https to http, where anybody may change the file; give its sha256.")
        return answer

    return Wanted(file_name(shown) or shown, shown, url, opened, size=size, digest=digest)


def download(url: str, target: Path, digest: str | None = None, progress: Progress = SILENT) -> None:
    """Downloads a file from an address; see :func:`tlcli.datasets.acquire.downloads.download.download`.

    Raises:
        NetworkError: it is not to be had.
        DataError: it is complete, and not the expected one.
        ResourceError: the disk is full.
    """
    _download(wanted(url, digest), target, progress=progress)


def file_name(url: str) -> str:
    """The last part of an address's path, without query and fragment; any text is taken, also what is no address."""
    return url.partition("?")[0].partition("#")[0].rpartition("/")[2]
