"""What lies at dataset.path already, and whether it is what the config names."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlcli.config.schema import Config
from tlcli.config.sources import Source, source_kind
from tlcli.datasets.acquire.downloads.refusals import without_secrets
from tlcli.datasets.acquire.install import Place, change_since, held
from tlcli.datasets.acquire.manifest import Manifest, folders_of, read_manifest, tree_of, write_manifest
from tlcli.progress import Progress
from tlcli.workflows.look import described, read_as, seen_in


def already_there(config: Config, progress: Progress) -> Manifest | None:
    """What lies at dataset.path; None where nothing does, or something else than the config names."""
    root = config.dataset.path
    if root is None or not root.is_dir() or all(path.name.startswith(".") for path in root.iterdir()):
        return None
    manifest = read_manifest(root)
    if manifest is None:
        return described(root, config, {"folder": str(root)}, progress)
    if not manifest.by_hand and config.dataset.sources and (other := _other(manifest, config.dataset.sources)):
        progress.note(f"{root} holds {other}; fetching what the config names.")
        return None
    if folders_of(root) == manifest.folders and manifest.read_as == read_as(config):
        return manifest
    now, seen = tree_of(root), seen_in(root, config, progress)
    if now.digest == manifest.tree:  # other labels or splits of the same files
        manifest = replace(manifest, **seen)
        with suppress(OSError):  # a folder that is read only is read anew each time
            write_manifest(root, manifest)
        return manifest
    seen["notes"] = (f"Changed since it was fetched: {change_since(manifest, now)}.", *seen["notes"])
    there: dict[str, Any] = {"files": now.files, "bytes": now.bytes, "tree": now.digest, "folders": now.folders}
    return replace(manifest, **seen, **there)


def tidy(root: Path) -> None:
    """Removes what a process has left that was killed right after the data folder had got its name."""
    if Place(root).work.exists():
        with suppress(OSError), held(root, wait=False) as place:
            place.forget_downloads()


def _other(manifest: Manifest, sources: Sequence[Source]) -> str:
    """What is there, if no source of the config is that; else nothing."""
    same = [source for source in sources if named(source) == manifest.source]
    if any(_fits(manifest, source) for source in same):
        return ""
    version = f"version {manifest.version} of " if manifest.version else "another archive of " if same else ""
    kind, value = next(iter(manifest.source.items()))
    return f"{version}{kind} {value}"


def _fits(manifest: Manifest, source: Source) -> bool:
    version, sha256 = getattr(source, "version", None), getattr(source, "sha256", None)
    digests = [archive["sha256"] for archive in manifest.archives]
    return (version is None or str(version) == manifest.version) and (sha256 is None or digests == [sha256])


def named(source: Source) -> dict[str, Any]:
    """The source as a manifest names it: what is taken from where, without what may be secret in it."""
    kind = source_kind(source) or ""
    value = str(getattr(source, kind))
    what: dict[str, Any] = {kind: without_secrets(value) if kind == "url" else value}
    if source.subdir:
        what["subdir"] = source.subdir
    if files := getattr(source, "files", ()):
        what["files"] = list(files)
    return what


def describe(source: Source) -> str:
    """The source in a few words."""
    kind, value = next(iter(named(source).items()))
    return f"{kind} {value}"
