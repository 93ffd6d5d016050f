"""What fetch put into a folder, kept in it: the file that makes the second fetch a matter of a moment."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tlcli.system.files import write_text

NAME = ".tlcli-fetch.json"
_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """Where the files of a folder came from, and what they were found to be."""

    source: Mapping[str, Any]
    """As the config names it: {"kaggle": "owner/name", "subdir": "data"}."""
    version: str | None
    """As the source counts versions."""
    archives: tuple[Mapping[str, Any], ...]
    """Name, sha256 and bytes of each archive that was unpacked."""
    files: int
    bytes: int
    tree: str
    """Digest of every file's path, size and time of change: equal while nobody touches the folder."""
    folders: str
    """Digest of every folder's path and time of change: equal while no file is added, renamed or removed."""
    licence: str | None
    citation: str | None
    fetched: str
    """When, in UTC, as ISO 8601."""
    tlcli: str
    """The version that fetched."""
    read_as: str
    """Digest of how the config finds labels and splits."""
    images: Mapping[str, Mapping[str, int]]
    """Images for each split and class."""
    unreadable: Mapping[str, str]
    """Images that cannot be read, each with the reason."""
    notes: tuple[str, ...]
    by_hand: bool = False
    """Whether it came from a place that was named on the command line instead of the config's."""
    format: int = _FORMAT


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Puts the manifest into the folder."""
    text = json.dumps(asdict(manifest), indent=2, ensure_ascii=False)
    write_text(folder / NAME, text.encode(errors="backslashreplace").decode() + "\n")


def read_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest; None where it has none that this version can read."""
    try:
        value = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    names = {field.name for field in fields(Manifest)}
    if not isinstance(value, dict) or value.keys() != names or value["format"] != _FORMAT:
        return None
    lists = [value["archives"], value["notes"]]
    mappings = [value["source"], value["images"], value["unreadable"]]
    if not all(isinstance(one, list) for one in lists) or not all(isinstance(one, dict) for one in mappings):
        return None
    return Manifest(**{**value, "archives": tuple(value["archives"]), "notes": tuple(value["notes"])})


@dataclass(frozen=True)
class Tree:
    """What lies in a folder, without looking into the files."""

    files: int
    bytes: int
    digest: str
    """See :attr:`Manifest.tree`."""
    folders: str
    """See :attr:`Manifest.folders`."""


def tree_of(folder: Path) -> Tree:
    """Every file below the folder but the manifest itself."""
    count, total, hashing = 0, 0, hashlib.sha256()
    for name, path in sorted(
        (f"{below}{entry.name}", entry.path) for below, entries in _walk(folder) for entry in entries
    ):
        status = os.lstat(path)
        count += 1
        total += status.st_size
        hashing.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return Tree(count, total, hashing.hexdigest(), folders_of(folder))


def folders_of(folder: Path) -> str:
    """The digest of the folders alone, which takes a tenth of the time: a second fetch asks no more.

    Of the topmost folder the names of its files are taken, since writing the manifest changes its time.
    """
    hashing = hashlib.sha256()
    for below, entries in sorted(_walk(folder), key=lambda found: found[0]):
        known = (folder / below).stat().st_mtime_ns if below else sorted(entry.name for entry in entries)
        hashing.update(f"{below}\0{known}\n".encode(errors="surrogateescape"))
    return hashing.hexdigest()


def _walk(folder: Path) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """Each folder, as a path below the topmost one that ends with ``/`` or is empty, and the files in it."""
    pending = [""]
    while pending:
        below = pending.pop()
        with os.scandir(folder / below) as scanned:
            entries = list(scanned)
        inner = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
        pending += [f"{below}{name}/" for name in inner]
        yield below, [e for e in entries if e.name not in inner and (below or e.name != NAME)]
