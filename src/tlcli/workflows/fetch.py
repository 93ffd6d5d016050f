"""tlcli fetch: installs a config's data set from the first source that works, or reports why none does."""

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tlcli.config.build_dataset import how_to_get_images, not_a_folder, read_index
from tlcli.config.dataset import Dataset
from tlcli.config.load import LoadedConfig
from tlcli.config.schema import Config
from tlcli.config.sources import ArchiveSource, FolderSource, Source, UrlSource, source_kind
from tlcli.datasets.acquire.acquire import Acquisition
from tlcli.datasets.acquire.archives.checks import UnpackLimits
from tlcli.datasets.acquire.downloads.failures import without_secrets
from tlcli.datasets.acquire.install import InstallError
from tlcli.datasets.acquire.installed import installed_dataset, remove_leftovers
from tlcli.datasets.acquire.manifest import DatasetManifest, SourceRecord
from tlcli.datasets.acquire.scan import DatasetReader, DirectoryScan, scan_images
from tlcli.datasets.acquire.sources import folder, package
from tlcli.datasets.acquire.sources.kaggle import offers
from tlcli.datasets.acquire.sources.source import DatasetSource, Offer
from tlcli.datasets.acquire.sources.url import remote_file
from tlcli.datasets.exclusion import read_exclusion
from tlcli.datasets.manifest import is_manifest
from tlcli.datasets.unreadable import may_leave_out
from tlcli.errors import DataError, NetworkError, ResourceError, TlcliError, UsageError
from tlcli.progress import SILENT, Progress
from tlcli.system.addresses import is_web_address, local_path
from tlcli.system.remote.path import RemotePath


@dataclass(frozen=True)
class Fetched:
    """What fetch found or installed."""

    root: Path
    manifest: DatasetManifest
    """What is there; stored in the directory only if fetch has filled it."""
    reused: bool
    """Whether it was there already."""
    failures: tuple[TlcliError, ...] = ()
    """Why earlier sources did not work."""
    bad_share: float | None = None
    """The share of unreadable images, where it is more than train accepts."""


def fetch(
    loaded: LoadedConfig, origin: str | None = None, force: bool = False, offline: bool = False,
    progress: Progress = SILENT,
) -> Fetched:  # fmt: skip
    """Installs the data set of a config, unless it is installed already, and counts its images.

    Args:
        loaded: the config.
        origin: an archive, a folder or an address to use instead of the config's sources.
        force: fetch again what fetch has installed; it stays until the new one is complete.
        offline: do not use the network.
        progress: receives downloads and unpacking.

    Raises:
        NetworkError, DataError, ResourceError: no source works; names the reason of each, and how to go on by hand.
        UsageError: ``origin`` is an address without a file.
    """
    dataset, reader = loaded.config.dataset, _reader(loaded.config, progress)
    path, by_hand = dataset.path, origin is not None
    if path is not None and (isinstance(path, RemotePath) or is_manifest(path)):
        raise UsageError(
            "usage.read_in_place",
            f"dataset.path is {path}, whose images are read where they are: there is nothing to fetch.",
            "Run: tlcli train",
        )
    if path is not None and path.is_file():
        raise not_a_folder(path, how_to_get_images(dataset, loaded.options, origin))
    configured = tuple(map(_dataset_source, dataset.sources))
    if path and not (by_hand or force) and (installed := installed_dataset(path, configured, reader, progress)):
        remove_leftovers(path)
        return _judged(Fetched(path, installed, reused=True), dataset)
    sources = configured if origin is None else (_dataset_source(_section_of(origin)),)
    limits = UnpackLimits(dataset.limits.max_files, round(dataset.limits.max_gb * 1e9), dataset.limits.max_ratio)
    acquisition = Acquisition(path, reader, limits, progress, configured, by_hand, force) if path else None
    failures: list[TlcliError] = []
    for source in sources:
        try:
            fetched = _fetch_from(source, reader, acquisition, offline)
            return _judged(replace(fetched, failures=tuple(failures)), dataset)
        except InstallError:
            raise
        except (NetworkError, DataError, ResourceError) as error:
            failures.append(_named(source, error))
        except OSError as error:
            message = f"{source.record} is unreadable: {error.strerror}: {error.filename}."
            failures.append(ResourceError("resource.source_unreadable", message))
    raise _origin_fails(failures[0], sources[0], loaded) if by_hand else _no_source_works(failures, sources, loaded)


def _judged(fetched: Fetched, dataset: Dataset) -> Fetched:
    """With the share of unreadable images, if train will refuse it."""
    bad = len(fetched.manifest.unreadable)
    count = bad + fetched.manifest.readable
    if may_leave_out(bad, count, dataset.on_bad_image, dataset.max_bad_fraction):
        return fetched
    return replace(fetched, bad_share=bad / count)


def _section_of(origin: str) -> Source:
    """The config section for an archive, a folder or an address on the command line."""
    if is_web_address(origin):
        try:
            scheme, _, rest = origin.partition(":")
            return UrlSource(url=f"{scheme.lower()}:{rest}")
        except ValidationError:
            message = f"--from {without_secrets(origin)} is not the address of a file."
            hint = "Write all of it, as in https://host/images.zip; put user and password into ~/.netrc."
            raise UsageError("usage.from_invalid", message, hint) from None
    taken = "an archive, a folder, and an address: https://, http:// or file://"
    if origin == "-":
        message = f"--from - is standard input, from which nothing is read. Taken are {taken}."
        raise UsageError("usage.from_invalid", message, "Write the archive to a file, and give its path.")
    try:
        path = Path(local_path(origin, taken)).expanduser()
        if path.is_file():
            return ArchiveSource(archive=path)
        if path.is_dir():
            return FolderSource(folder=path)
    except (OSError, RuntimeError, ValueError) as error:  # a name of 300 letters; ~ of nobody; a NUL
        raise UsageError("usage.from_invalid", f"--from {origin:.100} is not a valid path: {error}.") from error
    raise DataError("data.archive_not_found", f"There is no archive or folder {path}.", "Check the path.")


def _dataset_source(section: Source) -> DatasetSource:
    """The source that a config section describes."""
    kind, values = source_kind(section) or "", dict(section)
    name = without_secrets(values[kind]) if kind == "url" else str(values[kind])
    record = SourceRecord(
        kind=kind, name=name, subdir=section.subdir, files=values.get("files", ()), encoding=values.get("encoding")
    )
    wanted: dict[str, Any] = {field: values.get(field) for field in ("sha256", "size", "version")}
    return DatasetSource(record, **_SOURCES[kind](section), **wanted)


_SOURCES: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "kaggle": lambda s: {
        "offer": partial(offers.dataset_offer, s.kaggle, s.files, s.version),
        "page": f"https://www.kaggle.com/datasets/{s.kaggle}",
    },
    "competition": lambda s: {
        "offer": partial(offers.competition_offer, s.competition, s.files),
        "page": f"https://www.kaggle.com/competitions/{s.competition}/data",
    },
    "url": lambda s: {"offer": lambda *_: Offer((remote_file(s.url, s.sha256),))},
    "archive": lambda s: {"offer": lambda *_: Offer(archive=s.archive), "archive": s.archive},
    "folder": lambda s: {"directory": partial(folder.locate, s.folder, s.subdir), "link": s.link},
    "package": lambda s: {"directory": partial(package.locate, s.package, s.subdir)},
}
"""What is special about each kind of source, from its config section."""
_REMOTE = ("kaggle", "competition", "url")
"""Kinds that need the network."""


def _reader(config: Config, progress: Progress) -> DatasetReader:
    """How the config reads a data directory."""
    dataset = config.dataset

    def scan(root: Path, known: Mapping[str, str]) -> DirectoryScan:
        from tlcli.config.build_features import preparation_of  # noqa: PLC0415 - a second fetch must not pay for NumPy

        with progress.stage("Counting images"):
            index = read_index(root, dataset, known)
        return scan_images(index, preparation_of(config), progress)

    elsewhere = {"path", "sources", "licence", "citation", "limits"}
    excluded = read_exclusion(dataset.exclude) if dataset.exclude else ()
    settings = [dataset.model_dump(mode="json", exclude=elsewhere), config.image.model_dump(mode="json"), excluded]
    read_as = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return DatasetReader(scan, read_as, dataset.licence, dataset.citation)


def _fetch_from(
    source: DatasetSource, reader: DatasetReader, acquisition: Acquisition | None, offline: bool
) -> Fetched:  # fmt: skip
    """Uses, links or installs what one source gives."""
    directory = source.directory and source.directory()
    if directory and not source.link:
        manifest = reader.describe(directory, source.record)
        if source.record.kind == "package":
            manifest = manifest.model_copy(update={"version": metadata.version(source.record.name)})
        return Fetched(directory, manifest, reused=True)
    if offline and source.record.kind in _REMOTE:
        raise NetworkError("network.offline", f"{source.record} needs the network, and --offline was given.")
    if acquisition is None:
        raise UsageError("usage.path_missing", f"dataset.path is not set, and {source.record} is copied to it.")
    if directory:
        manifest = reader.describe(directory, source.record)
        folder.link(directory, acquisition.target)
        return Fetched(acquisition.target, manifest, reused=False)
    return Fetched(acquisition.target, *acquisition.install(source))


def _named(source: DatasetSource, error: TlcliError) -> TlcliError:
    """The error with the name of its source."""
    if source.record.name in str(error):
        return error
    return type(error)(error.code, f"{source.record}: {error.message}", error.hint)


def _origin_fails(error: TlcliError, source: DatasetSource, loaded: LoadedConfig) -> TlcliError:
    """The error of a source that was named on the command line, with what to do next."""
    command, hint = f"tlcli fetch {shlex.join(loaded.options)}", error.hint
    if isinstance(error, NetworkError):
        hint += f" Or get the archive in a browser, then run: {command} --from PATH/TO/archive.zip"
    if error.code.startswith("data.archive_encoding"):
        given = f"dataset.sources=[{{{source.record.kind}: {source.record.name}, encoding: ENCODING}}]"
        hint += f" For the command line: {command} --set {shlex.quote(given)}"
    return type(error)(error.code, error.message, hint.strip())


def _no_source_works(
    failures: Sequence[TlcliError], sources: Sequence[DatasetSource], loaded: LoadedConfig
) -> TlcliError:  # fmt: skip
    path, lines = loaded.config.dataset.path, "".join(f"\n  - {error}" for error in failures)
    command = f"tlcli fetch {shlex.join(loaded.options)} --from PATH/TO/archive.zip"
    if not failures:
        state = "is empty" if path and path.is_dir() else "does not exist"
        missing = f"{path or 'The data set'} {state}, and the config '{loaded.name}' names no source of it."
        hint = f"Unpack an archive with {command}; or put the images there, or set dataset.path to their folder."
        return DataError("data.no_source", missing, hint)
    message = f"No source of '{loaded.name}' works; nothing on disk was changed.{lines}"
    page = next((f" from {source.page}" for source in sources if source.page), "")
    own = f"; or put the images into {path} yourself" if path else ""
    get = f"Get the archive{page} in a browser, then run: {command}"
    of_network = any(isinstance(error, NetworkError) for error in failures)
    hint = f"{get if page or of_network else f'Do what the lines above say, or give other images: {command}'}{own}."
    if of_network:
        return NetworkError("network.no_source_works", message, hint)
    if any(isinstance(error, ResourceError) for error in failures):
        return ResourceError("resource.no_source_works", message, hint)
    return DataError("data.no_source_works", message, hint)
