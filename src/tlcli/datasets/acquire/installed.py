"""What a data directory holds already, and whether it is what the config names."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tlcli.datasets.acquire.install import InstallDirectory, locked_directory
from tlcli.datasets.acquire.manifest import DatasetManifest, SourceRecord, read_manifest, tree_of, write_manifest
from tlcli.datasets.acquire.scan import DatasetReader
from tlcli.datasets.acquire.sources.source import DatasetSource
from tlcli.progress import Progress

_FROM_SOURCE = {"source", "version", "archives", "licence", "citation", "fetched", "tlcli", "by_hand"}
"""Fields of a manifest that another scan does not change."""


def installed_dataset(
    root: Path, sources: Sequence[DatasetSource], reader: DatasetReader, progress: Progress
) -> DatasetManifest | None:  # fmt: skip
    """What the data directory holds; None if it is empty, or holds something else than ``sources`` give.

    Args:
        root: the data directory.
        sources: those of the config, any of which will do; empty accepts anything.
        reader: scans the directory where it has changed since it was fetched.
        progress: receives what is there instead of what ``sources`` give.
    """
    if not root.is_dir() or all(path.name.startswith(".") for path in root.iterdir()):
        return None
    manifest = read_manifest(root)
    if manifest is None:
        return reader.describe(root, SourceRecord(kind="folder", name=str(root)))
    if sources and not manifest.by_hand and not any(_gives(source, manifest) for source in sources):
        same = any(source.record == manifest.source for source in sources)
        which = f"version {manifest.version} of " if manifest.version else "another archive of " if same else ""
        progress.note(f"{root} holds {which}{manifest.source}. Fetching what the config names.")
        return None
    tree = tree_of(root)
    if tree.tree == manifest.tree and manifest.read_as == reader.read_as:
        return manifest
    now = reader.describe(root, manifest.source)
    now = now.model_copy(update={field: getattr(manifest, field) for field in _FROM_SOURCE})
    if tree.tree == manifest.tree:  # other labels or splits of the same files
        with suppress(OSError):  # a read-only directory is scanned each time
            write_manifest(root, now)
        return now
    change = tree.change_since(manifest)
    return now.model_copy(update={"notes": (f"Changed since it was fetched: {change}.", *now.notes)})


def _gives(source: DatasetSource, manifest: DatasetManifest) -> bool:
    """Whether a source gives what the manifest describes."""
    return (
        source.record == manifest.source
        and (source.version is None or str(source.version) == manifest.version)
        and (source.sha256 is None or [archive.sha256 for archive in manifest.archives] == [source.sha256])
    )


def remove_leftovers(root: Path) -> None:
    """Removes what a process has left that was killed right after it had installed the data directory."""
    directory = InstallDirectory(root)
    if directory.work.exists() or directory.lock.exists():
        with suppress(OSError), locked_directory(root, wait=False) as directory:
            directory.remove_downloads()
