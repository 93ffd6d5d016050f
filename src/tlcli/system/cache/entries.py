"""The entries of the cache, recognised by their names alone; anything with another name is not tlcli's and stays.

The folder may be anybody's, if ``$TLCLI_CACHE`` was set wrongly.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from tlcli.system.cache.locks import exclusive, last_used

Kind = Literal[
    "features", "converted backbones", "compiled graphs", "weights", "fine-tuned blocks", "near duplicates",
    "file digests", "object digests", "remote images", "leftovers",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
OF_FILES: tuple[Kind, ...] = ("features", "object digests", "remote images")
"""Kinds whose files are whole each on its own; others are folders that are written at once."""

DATABASE = "digests-1.sqlite"
"""Digests of files; see :mod:`tlcli.datasets.digests`."""

_SQLITE_SUFFIXES = ("", "-journal", "-wal", "-shm")

_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
"""Disks keep later times where a clock jumped."""

_BACKBONE = r"[a-z0-9_]+-(int8-)?[0-9a-f]{16}(-without-\d+)?"
_FOLDERS: dict[str, tuple[Kind, re.Pattern[str]]] = {
    "features": ("features", re.compile(r"[0-9a-f]{32}")),
    "backbones": ("converted backbones", re.compile(_BACKBONE)),
    "compiled": ("compiled graphs", re.compile(rf"{_BACKBONE}-[a-z0-9]+(-[0-9]+t)?(-latency)?")),
    "duplicates": ("near duplicates", re.compile(r"[0-9a-f]{32}")),
    "weights": ("weights", re.compile(r"[a-z0-9_]+-random-\d+")),
    "objects": ("object digests", re.compile(r"[0-9a-f]{32}")),
    "images": ("remote images", re.compile(r"[0-9a-f]{2}")),
    "finetuned": ("fine-tuned blocks", re.compile(r"[a-z0-9_]+-[0-9a-f]{16}(\.work)?")),
}
"""The kind of the entries in each folder, and the pattern of their names. ``weights`` also has digests of ImageNet
weights at their first use: they cannot be computed again, and so are no entries."""

_TEMPORARY = re.compile(r"\.(?P<name>.+?)\.\d+(\.[0-9a-f]{6,8})?(\.tmp)?")
"""A temporary file or staging folder: its final name, the process's number, something random."""


@dataclass(frozen=True)
class Entry:
    """What is kept and removed as a unit."""

    kind: Kind
    path: Path
    bytes: int
    files: int
    last_used: datetime
    owner: Path
    """The entry that whoever uses this marks as in use: itself, or the one that it is a leftover of."""


def scan(folder: Path) -> list[Entry]:
    """Lists a cache; what other processes remove meanwhile is left out.

    Raises:
        OSError: the folder cannot be read.
    """
    entries = list[Entry]()
    for path in sorted(folder.iterdir()):
        if path.name in _FOLDERS and path.is_dir():
            with suppress(FileNotFoundError):
                for inner in sorted(path.iterdir()):
                    entries += _entries(inner)
        elif path.name == DATABASE and path.is_file():
            entries.append(_entry("file digests", path, [file for file in _database(path) if file.is_file()], path))
    return entries


def remove(entry: Entry, dry_run: bool = False) -> bool:
    """Removes an entry that no process uses: by one rename, then its bytes.

    Args:
        entry: of :func:`scan`.
        dry_run: only check whether it could be removed.

    Returns:
        False where a running process uses it; it stays.

    Raises:
        OSError: it cannot be removed.
    """
    path = entry.path
    with exclusive(entry.owner) as unused:
        if not unused or dry_run:
            return unused
        if not path.is_dir():
            remove_database(path)
        elif not path.name.startswith("."):
            path = path.rename(staging_path(path))
    shutil.rmtree(path, ignore_errors=True)  # another prune may be removing the same
    if path.is_dir():
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(path))
    return True


def remove_database(path: Path) -> None:
    """Removes an SQLite database, or any file, and the files beside it that a new one would take for its own."""
    for file in _database(path):
        file.unlink(missing_ok=True)


def staging_path(path: Path) -> Path:
    """Returns a new hidden name beside an entry that is not complete yet, or is being removed.

    A killed process may have had the same number, and so may processes of other machines and containers: hence the
    random end.
    """
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")


def _entries(path: Path) -> Iterator[Entry]:
    """Yields the entry at a path, and the leftovers inside it; nothing for a name that is not tlcli's."""
    kind, names = _FOLDERS[path.parent.name]
    temporary = _TEMPORARY.fullmatch(path.name)
    if path.is_symlink():
        return
    if temporary and names.fullmatch(temporary["name"]):
        yield _entry("leftovers", path, _files(path), path.with_name(temporary["name"]))
    elif names.fullmatch(path.name) and path.is_dir():
        files = _files(path)
        leftovers = [file for file in files if _TEMPORARY.fullmatch(file.name)]
        for file in leftovers:
            yield _entry("leftovers", file, [file], path)
        # Without digests no process takes a folder for complete: its maker was killed, or is at work.
        is_whole = kind in OF_FILES or path / "digests.json" in files
        yield _entry(kind if is_whole else "leftovers", path, [file for file in files if file not in leftovers], path)


def _entry(kind: Kind, path: Path, files: list[Path], owner: Path) -> Entry:
    sizes, times = list[int](), [0.0]
    for file in files:
        with suppress(OSError):
            status = file.lstat()
            sizes.append(status.st_size)
            times.append(status.st_mtime)
    seconds = min(last_used(path) if owner == path else max(times), _LATEST)
    return Entry(kind, path, sum(sizes), len(sizes), datetime.fromtimestamp(seconds, UTC), owner)


def _database(path: Path) -> list[Path]:
    """The files of an SQLite database."""
    return [path.with_name(path.name + suffix) for suffix in _SQLITE_SUFFIXES]


def _files(path: Path) -> list[Path]:
    """The file, or all files below the folder."""
    if not path.is_dir():
        return [path]
    return [Path(parent, name) for parent, _, names in os.walk(path) for name in sorted(names)]
