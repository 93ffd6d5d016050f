"""Brings the data set to its folder from the first source that works, or says of each why it did not."""

import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tlcli.config.load import Loaded
from tlcli.config.schema import Config
from tlcli.config.sources import ArchiveSource, FolderSource, PackageSource, Source, UrlSource, kind_of
from tlcli.data.manifest import Manifest, folders_of, read_manifest, tree_of, write_manifest
from tlcli.data.place import Place, held
from tlcli.data.sources import folder, package
from tlcli.disk import sync_disk
from tlcli.errors import DataError, NetworkError, ResourceError, TlcliError, UsageError
from tlcli.progress import SILENT, Progress
from tlcli.workflows.bring import NETWORKED, Brought, bring, page_of
from tlcli.workflows.dataset import in_place
from tlcli.workflows.look import described, made_manifest, read_as, seen_in

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
    """Makes the pictures of a config be there, and says what is there.

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
    if origin is None and not force and (there := _there(config, progress)):
        _tidy(there.root)
        return there
    sources = config.dataset.sources if origin is None else (_source_of(origin),)
    networked = sum(isinstance(source, NETWORKED) for source in sources)
    silence = min(20.0, _SILENCE / max(1, networked))
    failures: list[TlcliError] = []
    for source in sources:
        try:
            fetched = _fetched(source, loaded, asked, silence, progress)
        except (NetworkError, DataError, ResourceError) as error:
            failures.append(error)
        else:
            return replace(fetched, failures=tuple(str(error) for error in failures))
    raise _nothing_worked(failures, loaded)


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


def _there(config: Config, progress: Progress) -> Fetched | None:
    """What lies at dataset.path already; None where nothing does, or another version than the config pins."""
    root = config.dataset.path
    if root is None or not root.is_dir() or not any(root.iterdir()):
        return None
    manifest = read_manifest(root)
    if manifest is None:
        return Fetched(root, described(root, config, {"folder": str(root)}, progress), reused=True)
    if pinned := _pinned_otherwise(manifest, config.dataset.sources):
        progress.note(f"{root} holds {pinned}; fetching what the config pins.")
        return None
    if folders_of(root) == manifest.folders and manifest.read_as == read_as(config):
        return Fetched(root, manifest, reused=True)
    now, seen = tree_of(root), seen_in(root, config, progress)
    if now.digest == manifest.tree:  # other labels or splits of the same files
        manifest = replace(manifest, **seen)
        write_manifest(root, manifest)
        return Fetched(root, manifest, reused=True)
    changed = f"Changed since it was fetched: {manifest.files:,} files then, {now.files:,} now."
    seen["notes"] = (changed, *seen["notes"])
    there: dict[str, Any] = {"files": now.files, "bytes": now.bytes, "tree": now.digest, "folders": now.folders}
    return Fetched(root, replace(manifest, **seen, **there), reused=True)


def _tidy(root: Path) -> None:
    """Removes what a process has left that was killed right after the data folder had got its name."""
    if Place(root).work.exists():
        with suppress(OSError), held(root) as place:
            place.forget_downloads()


def _pinned_otherwise(manifest: Manifest, sources: Sequence[Source]) -> str:
    """What is there, if the config pins another version or archive of the same source."""
    for source in sources:
        if _named(source) != manifest.source:
            continue
        version = getattr(source, "version", None)
        if version is not None and str(version) != manifest.version:
            return f"version {manifest.version or 'unknown'} of {describe(source)}"
        sha256 = getattr(source, "sha256", None)
        if sha256 is not None and [archive["sha256"] for archive in manifest.archives] != [sha256]:
            return f"another archive of {describe(source)}"
    return ""


def describe(source: Source) -> str:
    """The source in a few words."""
    kind, value = next(iter(_named(source).items()))
    return f"{kind} {value}"


def _named(source: Source) -> dict[str, str]:
    """The source as a manifest names it: what it is, without what may be secret in it."""
    kind = kind_of(source) or ""
    value = str(getattr(source, kind))
    return {kind: value.partition("?")[0] if kind == "url" else value}


def _fetched(
    source: Source, loaded: Loaded, asked: _Asked, silence: float, progress: Progress
) -> Fetched:  # fmt: skip
    config = loaded.config
    if root := in_place(source):
        version = package.version(source.package) if isinstance(source, PackageSource) else None
        return Fetched(root, described(root, config, _named(source), progress, version), reused=True)
    if asked.offline and isinstance(source, NETWORKED):
        raise NetworkError(f"{describe(source)} needs the network, and --offline was given.")
    target = config.dataset.path
    if target is None:
        raise UsageError(f"Set dataset.path to the folder where {describe(source)} is to be put.")
    if isinstance(source, FolderSource):
        folder.link(folder.locate(source.folder, source.subdir), target)
        return Fetched(target, described(target, config, _named(source), progress), reused=False)
    with held(target, progress) as place:
        if problem := place.problem():
            raise DataError(problem)
        if not asked.force and (there := _there(config, SILENT)):  # perhaps another process was faster
            if asked.origin is not None:
                raise DataError(
                    f"{target} holds what was fetched already; --force puts {describe(source)} in its place."
                )
            return there
        with place.staging() as staging:
            brought = bring(source, config.dataset, place, staging, asked.force, silence, progress)
            manifest = _checked(staging, place, brought, source, config, progress)
            write_manifest(staging, manifest)
            place.install(staging)
        brought.forget()
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
    except DataError as error:
        kept = f" The download is kept in {place.work}: put the config right, and run the same command again."
        raise DataError(f"{describe(source)}: {as_in_place(str(error))}{kept if brought.downloads else ''}") from error
    seen["notes"] = tuple(map(as_in_place, seen["notes"]))
    licence = config.dataset.licence or brought.licence
    return made_manifest(config, _named(source), tree_of(staging), seen, brought.version, brought.archives, licence)


def _nothing_worked(failures: Sequence[TlcliError], loaded: Loaded) -> TlcliError:
    dataset, config = loaded.config.dataset, shlex.quote(loaded.given)
    if not failures:
        where = f"{dataset.path} is not there, and " if dataset.path else ""
        return DataError(f"{where}the config '{loaded.name}' names no source to fetch it from; put the pictures there.")
    kind = next(kind for kind in (NetworkError, ResourceError, DataError) if any(isinstance(e, kind) for e in failures))
    lines = "\n".join(f"  - {error}" for error in failures)
    hand = f"By hand: get the archive in a browser, then run: tlcli fetch --config {config} --from PATH/TO/archive.zip"
    page = next(filter(None, map(page_of, dataset.sources)), None)
    at = f" (it is at {page})" if page else ""
    folders = f"; or put the pictures into {dataset.path} yourself" if dataset.path else ""
    return kind(f"No source of '{loaded.name}' worked; what is on disk was not touched.\n{lines}\n{hand}{at}{folders}.")
