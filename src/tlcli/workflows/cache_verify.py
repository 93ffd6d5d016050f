"""Reads all of the cache that has a digest, and takes out of use what is damaged: it is then computed again."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from tlcli.backbones.export_ir import GRAPH_FILES, is_whole
from tlcli.backbones.quantize import QUANTIZED_FILES
from tlcli.cache.entries import Entry, Kind, remove
from tlcli.digests import digests_of
from tlcli.disk import cache_folder, sha256_file
from tlcli.features.engines.compiled import as_written
from tlcli.features.store import set_aside
from tlcli.progress import SILENT, Progress
from tlcli.workflows.cache import read_cache

SET_ASIDE = "set aside, computed again when needed"
REMOVED = "removed, made again when needed"
IN_USE = "left, as a running process uses it; whoever opens it next makes it again"


@dataclass(frozen=True)
class Damage:
    """Something that is not as it was written."""

    kind: Kind
    path: Path
    done: str
    """What became of it."""


@dataclass(frozen=True)
class Verified:
    """What verify found."""

    folder: Path
    checked: int
    """Entries; of features, files."""
    bytes: int
    damaged: tuple[Damage, ...]


def verify_cache(progress: Progress = SILENT) -> Verified:
    """Compares everything in the cache with the digests that were taken when it was written.

    Args:
        progress: told of each entry.

    Raises:
        ResourceError: the cache cannot be read.
    """
    entries = [entry for entry in read_cache().entries if entry.kind not in ("locks", "left-overs")]
    checked, damaged = 0, list[Damage]()
    with progress.stage("Checking", len(entries), "entries"):
        for entry in entries:
            if entry.kind == "features":
                shards = sorted(entry.path.glob("*.safetensors"))
                checked += len(shards)
                damaged += _damaged_shards(shards)
            else:
                checked += 1
                if not _is_sound(entry):
                    damaged.append(Damage(entry.kind, entry.path, _removed(entry)))
            progress.advance()
    return Verified(cache_folder(), checked, sum(entry.bytes for entry in entries), tuple(damaged))


def _damaged_shards(shards: list[Path]) -> Iterator[Damage]:
    """Those that a running process uses, too, as it would read rubbish: it ends with an error, and can be run again."""
    for path in shards:
        with suppress(FileNotFoundError):  # removed, or set aside, meanwhile
            if _shard_is_sound(path):
                continue
            done = SET_ASIDE if set_aside(path) else "left, as the cache cannot be written; no store takes it"
            yield Damage("features", path, done)


def _shard_is_sound(path: Path) -> bool:
    """Raises FileNotFoundError where it is gone."""
    try:
        return sha256_file(path) == path.stem
    except FileNotFoundError:
        raise
    except OSError:  # what the disk cannot read is damaged, too
        return False


def _is_sound(entry: Entry) -> bool:
    match entry.kind:
        case "converted backbones":
            return is_whole(entry.path, QUANTIZED_FILES if "-int8-" in entry.path.name else GRAPH_FILES)
        case "compiled graphs":
            return as_written(entry.path)
        case "weights":
            found = digests_of([entry.path], anew=True)
            return not (found.changed or found.errors)
        case _:
            return _database_is_sound(entry.path)


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
    if not entry.path.exists():
        return "gone meanwhile"
    try:
        return REMOVED if remove(entry) else IN_USE
    except OSError as error:
        return f"left, as it cannot be removed ({error.strerror})"
