"""Reads all of the cache that has a digest, and takes out of use what is damaged: it is then computed again."""

import errno
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from tlcli.backbones.conversion import GRAPH_FILES, is_whole
from tlcli.backbones.quantization import QUANTIZED_FILES
from tlcli.engines.compiled import is_intact
from tlcli.features.store import set_aside
from tlcli.progress import SILENT, Progress
from tlcli.system.cache.entries import LASTING, Entry, Kind, digest_beside, remove
from tlcli.system.files import GONE, cache_folder, disk_unreadable, sha256_file
from tlcli.workflows.cache import read_cache

SET_ASIDE = "set aside, computed again when needed"
REMOVED = "removed, made again when needed"
IN_USE = "left, as a running process uses it; whoever opens it next makes it again"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written, or that could not be looked at."""

    kind: Kind
    path: Path
    done: str
    """What became of it; of what could not be read, why."""
    was_read: bool = True


@dataclass(frozen=True)
class Verified:
    """What verify found."""

    folder: Path
    checked: int
    """Entries; of features, files."""
    bytes: int
    damaged: tuple[Finding, ...]
    unread: tuple[Finding, ...]
    """What cannot be read, as it is another user's perhaps; it is left alone."""


def verify_cache(progress: Progress = SILENT) -> Verified:
    """Compares everything in the cache with the digests that were taken when it was written.

    Args:
        progress: told of each entry.

    Raises:
        ResourceError: the cache cannot be read, or its disk is gone.
    """
    entries = [entry for entry in read_cache().entries if entry.kind not in ("left-overs", *LASTING)]
    checked, found = 0, list[Finding]()
    with progress.stage("Checking", len(entries), "entries"):
        for entry in entries:
            if entry.kind == "features":
                shards = _shards(entry, found)
                checked += len(shards)
                found += filter(None, map(_shard_looked_at, shards))
            else:
                checked += 1
                found += filter(None, [_looked_at(entry)])
            progress.advance()
    damaged, unread = (tuple(one for one in found if one.was_read is kind) for kind in (True, False))
    return Verified(cache_folder(), checked, sum(entry.bytes for entry in entries), damaged, unread)


def _shards(entry: Entry, found: list[Finding]) -> list[Path]:
    try:
        with os.scandir(entry.path) as inside:
            return sorted(Path(one.path) for one in inside if one.name.endswith(".safetensors"))
    except OSError as error:
        if reason := _not_the_bytes(error, entry.path):
            found.append(Finding("features", entry.path, reason, was_read=False))
        return []


def _shard_looked_at(path: Path) -> Finding | None:
    """Also of those that a running process uses, as it would read rubbish: it ends with an error, and can be run again.

    What the disk cannot read is damaged, too.
    """
    with suppress(FileNotFoundError):  # removed, or set aside, meanwhile
        try:
            if sha256_file(path) == path.stem:
                return None
        except OSError as error:
            if reason := _not_the_bytes(error, path):
                return Finding("features", path, reason, was_read=False)
        done = SET_ASIDE if set_aside(path) else "left, as the cache cannot be written; no store takes it"
        return Finding("features", path, done)
    return None


def _looked_at(entry: Entry) -> Finding | None:
    if _is_sound(entry):
        return None
    place = entry.path
    try:
        files = [place, *(place.iterdir() if place.is_dir() else ())]
        for place in files:
            if place.is_file():
                sha256_file(place)
    except OSError as error:
        if reason := _not_the_bytes(error, place):
            return Finding(entry.kind, place, reason, was_read=False)
    return Finding(entry.kind, entry.path, _removed(entry)) if os.path.lexists(entry.path) else None


def _not_the_bytes(error: OSError, path: Path) -> str:
    """Why a file could not be read though its bytes may be good; empty where it is the bytes.

    Raises:
        ResourceError: the cache's disk is gone.
    """
    if error.errno in GONE:
        raise disk_unreadable(error, path) from error
    return "" if error.errno in (errno.EIO, errno.ENOENT) else error.strerror or type(error).__name__


def _is_sound(entry: Entry) -> bool:
    match entry.kind:
        case "converted backbones":
            return is_whole(entry.path, QUANTIZED_FILES if "-int8-" in entry.path.name else GRAPH_FILES)
        case "compiled graphs":
            return is_intact(entry.path)
        case "weights":
            return _weights_are_sound(entry.path)
        case _:
            return _database_is_sound(entry.path)


def _weights_are_sound(path: Path) -> bool:
    try:
        return sha256_file(path) == digest_beside(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return False


def _database_is_sound(path: Path) -> bool:
    """Each digest in it has a check of its own; here it is whether SQLite can read them. One that is held is sound."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            return bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.OperationalError:
        return True
    except sqlite3.Error:
        return False


def _removed(entry: Entry) -> str:
    """What became of a damaged entry."""
    try:
        return REMOVED if remove(entry) else IN_USE
    except OSError as error:
        return f"left, as it cannot be removed ({error.strerror})"
