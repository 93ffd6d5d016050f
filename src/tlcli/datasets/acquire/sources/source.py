"""What all sources of a data set have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tlcli.datasets.acquire.downloads.download import RemoteFile
from tlcli.datasets.acquire.downloads.retries import RetryPolicy
from tlcli.datasets.acquire.manifest import SourceRecord
from tlcli.progress import Progress


@dataclass(frozen=True)
class Offer:
    """What a source has for us."""

    files: tuple[RemoteFile, ...] = ()
    """Files to download."""
    archive: Path | None = None
    """An archive that is on this machine already."""
    version: str | None = None
    """As the source counts them."""
    licence: str | None = None


@dataclass(frozen=True)
class DatasetSource:
    """One place that a data set comes from; it is either used in place (``directory``) or copied (``offer``)."""

    record: SourceRecord
    """What it is, as manifests name it."""
    directory: Callable[[], Path] | None = None
    """Where its images are on this machine; raises DataError."""
    link: bool = False
    """Whether a symbolic link to its directory is installed."""
    offer: Callable[[RetryPolicy, Progress], Offer] = lambda *_: Offer()
    """What is to be copied; raises NetworkError."""
    archive: Path | None = None
    """The archive, of a source that is one on this machine."""
    sha256: str | None = None
    """Digest that its archive must have."""
    size: int | None = None
    """Bytes that its archive must have."""
    version: int | None = None
    """The version that is wanted; None accepts any."""
    page: str = ""
    """Where a person gets its archive in a browser."""
