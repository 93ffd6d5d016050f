"""Brings the data set to its folder from the first source that works, or says of each why it did not."""

import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tlcli.config.build_dataset import source_folder
from tlcli.config.load import Loaded
from tlcli.config.schema import Config
from tlcli.config.sources import ArchiveSource, FolderSource, PackageSource, Source, UrlSource
from tlcli.datasets.acquire.downloads.refusals import without_secrets
from tlcli.datasets.acquire.install import Place, PlaceError, held
from tlcli.datasets.acquire.manifest import Manifest, read_manifest, tree_of
from tlcli.datasets.acquire.sources import folder, package
from tlcli.datasets.digests import remember
from tlcli.errors import DataError, NetworkError, ResourceError, TlcliError, UsageError
from tlcli.progress import SILENT, Progress
from tlcli.system.files import sync_disk
from tlcli.workflows.already import already_there, describe, named, tidy
from tlcli.workflows.bring import KEPT, NETWORKED, Brought, bring, page_of
from tlcli.workflows.look import described, made_manifest, seen_in

_SILENCE = 50.0
"""Seconds that all sources of the network together may be silent, before fetch says that none answers."""


@dataclass(frozen=True)
class Fetched:
    """What fetch found or brought."""

    root: Path
    manifest: Manifest
    """What is there; kept in the folder only where fetch has put it there."""
    reused: bool
    """Whether it was there already."""
    failures: tuple[str, ...] = ()
    """A line for each source that did not work."""


@dataclass(frozen=True)
class _Asked:
    """The options of fetch."""

    origin: str | None
    force: bool
    offline: bool


def fetch(
    loaded: Loaded, origin: str | None = None, force: bool = False, offline: bool = False, progress: Progress = SILENT
) -> Fetched:  # fmt: skip
    """Makes the images of a config be there, and says what is there.

    Args:
        loaded: the config.
        origin: an archive, a folder or an address to use instead of the config's sources.
        force: fetch again what fetch has put there; it stays until the new is complete.
        offline: do not touch the network.
        progress: told of downloads and unpacking.

    Raises:
        NetworkError, DataError, ResourceError: no source worked; one line each, and how to go on by hand.
        UsageError: ``origin`` is an address without a file.
    """
    config, asked = loaded.config, _Asked(origin, force, offline)
    if origin is None and not force and (there := already_there(config, progress)):
        root = config.dataset.path or Path()
        tidy(root)
        return Fetched(root, there, reused=True)
    sources = config.dataset.sources if origin is None else (_source_of(origin),)
    waits = sum(1 if isinstance(source, UrlSource) else 2 for source in sources if isinstance(source, NETWORKED))
    silence = min(20.0, _SILENCE / max(1, waits))  # Kaggle is two: its API, and the storage that it sends on to
    failures: list[TlcliError] = []
    for source in sources:
        try:
            fetched = _fetched(source, config, asked, silence, progress)
        except PlaceError:
            raise
        except (NetworkError, DataError, ResourceError) as error:
            failures.append(error)
        except OSError as error:
            failures.append(ResourceError(f"{describe(source)}: {error.strerror}: {error.filename}."))
        else:
            return replace(fetched, failures=tuple(str(error) for error in failures))
    raise _nothing_worked(failures, loaded)


def _source_of(origin: str) -> Source:
    if origin.startswith(("http://", "https://")):
        try:
            return UrlSource(url=origin)
        except ValidationError as error:
            why = "write all of it, as in https://host/images.zip"
            if any(problem["type"] == "password" for problem in error.errors()):
                why = "put user and password into ~/.netrc"
            raise UsageError(f"--from {without_secrets(origin)} is not the address of a file; {why}") from None
    try:
        path = Path(origin).expanduser()
        return FolderSource(folder=path) if path.is_dir() else ArchiveSource(archive=path)
    except (OSError, RuntimeError, ValueError) as error:  # a name of 300 letters; ~ of nobody; a NUL
        raise UsageError(f"--from {origin:.100} is no path that can be: {error}") from error


def _fetched(source: Source, config: Config, asked: _Asked, silence: float, progress: Progress) -> Fetched:
    if root := source_folder(source):
        version = package.version(source.package) if isinstance(source, PackageSource) else None
        return Fetched(root, described(root, config, named(source), progress, version), reused=True)
    if asked.offline and isinstance(source, NETWORKED):
        raise NetworkError(f"{describe(source)} needs the network, and --offline was given.")
    target = config.dataset.path
    if target is None:
        raise UsageError(f"Set dataset.path to the folder where {describe(source)} is to be put.")
    if isinstance(source, FolderSource):
        place_of_it = folder.locate(source.folder, source.subdir)
        seen = described(place_of_it, config, named(source), progress)
        folder.link(place_of_it, target)
        return Fetched(target, seen, reused=False)
    with held(target, progress) as place:
        if problem := place.problem():
            raise PlaceError(problem)
        if not asked.force and (there := already_there(config, SILENT)):  # perhaps another process was faster
            if asked.origin is not None and named(source) != there.source:
                if isinstance(source, ArchiveSource) and not source.archive.is_file():
                    raise DataError(f"There is no archive {source.archive}.")
                raise PlaceError(
                    f"{target} holds what was fetched already; --force puts {describe(source)} in its place."
                )
            return Fetched(target, there, reused=True)
        replaces = place.filled
        with place.staging() as staging:
            brought = bring(source, config.dataset, place, staging, asked.force, silence, progress)
            manifest = _checked(staging, place, brought, source, config, progress)
            manifest = replace(manifest, by_hand=asked.origin is not None)
            if not place.install(staging, manifest, replaces):
                manifest = read_manifest(place.target) or manifest
                return Fetched(target, manifest, reused=True)
        remember({target / path: sha256 for path, sha256 in brought.digests.items()})
        place.forget_downloads()
    return Fetched(target, manifest, reused=False)


def _checked(
    staging: Path, place: Place, brought: Brought, source: Source, config: Config, progress: Progress
) -> Manifest:  # fmt: skip
    """The manifest of what was brought, which must hold what the config expects, before it gets its name."""
    known = {f"{staging}/{path}": sha256 for path, sha256 in brought.digests.items()}

    def as_in_place(text: str) -> str:
        return text.replace(str(staging), str(place.shown))

    try:
        with ThreadPoolExecutor(1) as beside:
            written = beside.submit(sync_disk, staging)  # while the processor is busy, the disk can be
            seen = seen_in(staging, config, progress, known)
        written.result()
        _refuse_what_is_no_images(seen, config.dataset.max_bad_fraction)
    except DataError as error:
        kept = KEPT.format(place.work) if brought.downloaded else ""
        raise DataError(f"{describe(source)}: {as_in_place(str(error))}{kept}") from error
    seen["notes"] = tuple(map(as_in_place, seen["notes"]))
    licence = config.dataset.licence or brought.licence
    return made_manifest(config, named(source), tree_of(staging), seen, brought.version, brought.archives, licence)


def _refuse_what_is_no_images(seen: Mapping[str, Any], allowed: float) -> None:
    """Most files unreadable is no data set with faults, but something else (pointers of Git LFS, pages of errors)."""
    bad, good = len(seen["unreadable"]), sum(sum(of_split.values()) for of_split in seen["images"].values())
    if bad > max(0.5, allowed) * (bad + good):
        name, reason = next(iter(seen["unreadable"].items()))
        raise DataError(f"{bad:,} of {bad + good:,} images cannot be read, for example {name}: {reason}.")


def _nothing_worked(failures: Sequence[TlcliError], loaded: Loaded) -> TlcliError:
    dataset, options = loaded.config.dataset, shlex.join(loaded.options)
    if not failures:
        where = f"{dataset.path} is not there, and " if dataset.path else ""
        return DataError(f"{where}the config '{loaded.name}' names no source to fetch it from; put the images there.")
    kind = next(kind for kind in (NetworkError, ResourceError, DataError) if any(isinstance(e, kind) for e in failures))
    lines = "\n".join(f"  - {error}" for error in failures)
    hand = f"By hand: get the archive in a browser, then run: tlcli fetch {options} --from PATH/TO/archive.zip"
    page = next(filter(None, map(page_of, dataset.sources)), None)
    at = f" (it is at {page})" if page else ""
    folders = f"; or put the images into {dataset.path} yourself" if dataset.path else ""
    return kind(f"No source of '{loaded.name}' worked; what is on disk was not touched.\n{lines}\n{hand}{at}{folders}.")
