"""Checks cache entries with the checks that opening them makes, and takes damaged ones out of use."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tlcli.backbones.graph import GRAPH_FILES
from tlcli.backbones.quantization import QUANTIZED_FILES
from tlcli.backbones.weights import RANDOM_FILES
from tlcli.engines.compiled import is_intact
from tlcli.evaluation.duplicate_pairs import PAIRS_FILES
from tlcli.finetuning.request import ANSWERS
from tlcli.system.cache.entries import OF_FILES, Entry, Kind, remove
from tlcli.system.cache.folders import is_whole
from tlcli.system.cache.shards import SUFFIX
from tlcli.system.files import GONE, disk_unreadable, open_regular, sha256_file
from tlcli.system.remote.kept import is_sound

Action = Literal["removed", "in use", "kept"]


@dataclass(frozen=True)
class Finding:
    """A damaged or unreadable part of the cache."""

    kind: Kind
    path: Path
    problem: Literal["damaged", "unreadable"]
    """Unreadable is what may be sound, such as another user's file."""
    action: Action
    reason: str = ""
    """The system's reason why it was kept."""


def parts(entry: Entry) -> list[Path]:
    """Returns what is checked separately: each file of features, digests and images, and other entries as a whole."""
    if entry.kind in OF_FILES:
        with suppress(OSError):  # an unreadable folder is reported as a whole
            suffix = "" if entry.kind == "remote images" else SUFFIX
            return sorted(path for path in entry.path.iterdir() if path.suffix == suffix)
    return [entry.path]


def check(entry: Entry, path: Path) -> Finding | None:
    """Checks a part of an entry; a damaged one is removed, so that it is computed again when needed.

    Returns:
        None where it is sound, or was removed by another process meanwhile.

    Raises:
        ResourceError: the cache's disk is disconnected.
    """
    with suppress(OSError, ValueError):
        if _IS_SOUND[entry.kind](path):
            return None
    if reason := _unreadable(path):
        return Finding(entry.kind, path, "unreadable", "kept", reason)
    if not os.path.lexists(path):
        return None
    try:
        if entry.kind in OF_FILES:  # also those in use: their reader ends with an error, and can be run again
            path.unlink(missing_ok=True)
            return Finding(entry.kind, path, "damaged", "removed")
        return Finding(entry.kind, path, "damaged", "removed" if remove(entry) else "in use")
    except OSError as error:
        return Finding(entry.kind, path, "damaged", "kept", error.strerror or str(error))


def _unreadable(path: Path) -> str:
    """Returns why a file or folder cannot be opened though its bytes may be good; empty where that is not so."""
    try:
        for file in path.iterdir() if path.is_dir() else [path]:
            if not file.is_dir():
                open_regular(file).close()
    except OSError as error:
        if error.errno in GONE:
            raise disk_unreadable(error, path) from error
        return "" if error.errno in (errno.EIO, errno.ENOENT) else error.strerror or type(error).__name__
    return ""


def _backbone_is_sound(folder: Path) -> bool:
    return is_whole(folder, QUANTIZED_FILES if "-int8-" in folder.name else GRAPH_FILES)


def _database_is_sound(path: Path) -> bool:
    """Each digest in it has a check of its own; this is whether SQLite can read them. A locked one counts as sound."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            return bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return isinstance(error, sqlite3.OperationalError)


_IS_SOUND: dict[Kind, Callable[[Path], bool]] = {
    "features": lambda path: sha256_file(path) == path.stem,
    "converted backbones": _backbone_is_sound,
    "compiled graphs": is_intact,
    "weights": lambda folder: is_whole(folder, RANDOM_FILES),
    "fine-tuned blocks": lambda folder: is_whole(folder, ANSWERS),
    "near duplicates": lambda folder: is_whole(folder, PAIRS_FILES),
    "file digests": _database_is_sound,
    "object digests": lambda path: sha256_file(path) == path.stem,
    "remote images": is_sound,
}
