"""Brings the data set to its folder from the first source that works."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tlcli.config.load import Loaded
from tlcli.config.schema import Dataset
from tlcli.config.sources import ArchiveSource, FolderSource, KaggleSource, Source, UrlSource
from tlcli.data.index import Index
from tlcli.data.sources import archive, kaggle, url
from tlcli.errors import DataError, NetworkError, TlcliError, UsageError
from tlcli.progress import SILENT, Progress
from tlcli.workflows.dataset import in_place, index_at, located


@dataclass(frozen=True)
class Fetched:
    """What fetch found or brought."""

    root: Path
    source: str
    """The source that worked, or "" where the pictures were there already."""
    failures: tuple[str, ...]
    """A line for each source that did not work."""
    index: Index


def fetch(loaded: Loaded, origin: str | None = None, progress: Progress = SILENT) -> Fetched:
    """Makes the pictures of a config be there, and counts them.

    Args:
        loaded: the config.
        origin: an archive, a folder or an address to use instead of the config's sources.
        progress: told of downloads and unpacking.

    Raises:
        NetworkError, DataError: no source worked; one line each, and how to go on by hand.
        UsageError: ``origin`` is an address without a file.
    """
    dataset = loaded.config.dataset
    root = located(dataset) if origin is None else None
    source, failures = "", list[str]()
    if root is None:
        sources = dataset.sources if origin is None else (_source_of(origin),)
        root, source, failures = _first(sources, dataset, loaded, progress)
    return Fetched(root, source, tuple(failures), index_at(root, dataset))


def _source_of(origin: str) -> Source:
    if origin.startswith(("http://", "https://")):
        try:
            return UrlSource(url=origin)
        except ValidationError:
            raise UsageError(
                f"--from {origin} is not the address of a file; write all of it, as in https://host/pictures.zip"
            ) from None
    path = Path(origin).expanduser()
    return FolderSource(folder=path) if path.is_dir() else ArchiveSource(archive=path)


def _first(
    sources: Sequence[Source], dataset: Dataset, loaded: Loaded, progress: Progress
) -> tuple[Path, str, list[str]]:  # fmt: skip
    failures: list[TlcliError] = []
    for source in sources:
        try:
            place = in_place(source) or _copied(source, dataset, loaded.given, progress)
        except (NetworkError, DataError) as error:
            failures.append(error)
        else:
            return place, describe(source), [str(error) for error in failures]
    raise _nothing_worked(failures, dataset, loaded.name)


def describe(source: Source) -> str:
    """The source in a few words."""
    kind, value = next(iter(source.model_dump().items()))
    return f"{kind} {value}"


def _copied(source: Source, dataset: Dataset, config: str, progress: Progress) -> Path:
    target = dataset.path
    if target is None:
        raise UsageError(f"Set dataset.path to the folder where {describe(source)} is to be put.")
    # An archive got by hand holds the same tree as the config's sources do.
    subdirs = tuple(dict.fromkeys(s.subdir for s in (source, *dataset.sources) if s.subdir))
    if isinstance(source, KaggleSource):
        raise kaggle.explain(source.kaggle, config)
    if isinstance(source, ArchiveSource):
        archive.fetch(source.archive, target, subdirs, progress)
    elif isinstance(source, UrlSource):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            file = Path(folder, url.file_name(source.url) or "archive")
            url.download(source.url, file, source.sha256, progress)
            archive.fetch(file, target, subdirs, progress)
    return target


def _nothing_worked(failures: Sequence[TlcliError], dataset: Dataset, config_name: str) -> TlcliError:
    if not failures:
        where = f"{dataset.path} is not there, and " if dataset.path else ""
        return DataError(f"{where}the config '{config_name}' names no source to fetch it from; put the pictures there.")
    kind = NetworkError if any(isinstance(error, NetworkError) for error in failures) else DataError
    lines = "\n".join(f"  - {error}" for error in failures)
    hand = f"Or put the pictures into {dataset.path} yourself." if dataset.path else ""
    return kind(f"No source of '{config_name}' worked; nothing on disk was changed.\n{lines}\n{hand}".rstrip())
