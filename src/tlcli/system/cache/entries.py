"""What lies in the cache, by its names alone: nothing that tlcli did not put there is taken for its own.

The folder may be anybody's, if ``$TLCLI_CACHE`` was set wrongly; so what has another name is counted and left alone.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tlcli.system.cache.locks import alone, last_used

Kind = Literal[
    "features", "converted backbones", "compiled graphs", "weights", "first uses", "digests", "locks", "left-overs"
]
KINDS: tuple[Kind, ...] = (
    "features", "converted backbones", "compiled graphs", "weights", "first uses", "digests", "locks", "left-overs",
)  # fmt: skip
LASTING: tuple[Kind, ...] = ("first uses", "locks")
"""What stays whatever is pruned: which weights were used first cannot be computed again."""

DATABASE = "digests-1.sqlite"
"""Digests of files; see :mod:`tlcli.datasets.digests`."""

_BESIDE = ("-journal", "-wal", "-shm")
"""What SQLite puts beside it."""

_NETWORK = r"[a-z0-9_]+-(int8-)?[0-9a-f]{16}"
_FOLDERS: dict[str, tuple[Kind, re.Pattern[str]]] = {
    "features": ("features", re.compile(r"[0-9a-f]{32}")),
    "backbones": ("converted backbones", re.compile(_NETWORK)),
    "compiled": ("compiled graphs", re.compile(rf"{_NETWORK}-[a-z0-9]+(-few)?")),
    "weights": ("weights", re.compile(r"[a-z0-9_]+-(random-\d+\.(safetensors|sha256)|imagenet\.sha256)")),
}
"""Of each folder: what it holds, and the names of its entries."""

_UNFINISHED = re.compile(r"\.(?P<name>.+?)\.\d+(\.[0-9a-f]{6,8})?(\.tmp)?")
"""A temporary file or staging folder: the name that it is to get, the process's number, something random."""
_MARKER = re.compile(r"(?P<folder>[a-z]+)-(?P<name>.+)\.lock")


@dataclass(frozen=True)
class Entry:
    """What is kept and removed as one."""

    kind: Kind
    path: Path
    bytes: int
    files: int
    last_used: float
    """Seconds since 1970."""
    guard: Path | None
    """The entry that whoever uses this holds: itself, or that of which it is a left-over; None where nobody uses it."""


@dataclass(frozen=True)
class Contents:
    """All that is in a cache."""

    entries: tuple[Entry, ...]
    others: tuple[Path, ...]
    """What tlcli did not put there."""


def contents(folder: Path) -> Contents:
    """What lies in a cache; what other processes remove meanwhile is left out.

    Raises:
        OSError: it cannot be read.
    """
    entries, others = list[Entry](), list[Path]()
    for path in sorted(folder.iterdir()):
        if path.name in _FOLDERS and path.is_dir():
            with suppress(FileNotFoundError):
                _look_into(path, entries, others)
        elif path.name == "locks" and path.is_dir():
            with suppress(FileNotFoundError):
                entries += _locks(path)
        elif path.name == DATABASE and path.is_file():
            beside = [path, *(path.with_name(DATABASE + end) for end in _BESIDE)]
            entries.append(_entry("digests", path, [file for file in beside if file.is_file()], guard=path))
        elif not path.name.startswith(f"{DATABASE}-"):
            others.append(path)
    return Contents(tuple(entries), tuple(others))


def remove(entry: Entry) -> bool:
    """Removes an entry that nobody uses: it is gone at once for who looks for it, and then its bytes.

    Returns:
        False where a running process uses it; it stays.

    Raises:
        OSError: it cannot be removed.
    """
    with alone(entry.guard) if entry.guard else nullcontext(True) as unused:
        if not unused:
            return False
        gone = entry.path
        if entry.path.is_dir() and not gone.name.startswith("."):
            gone = staging_of(entry.path)
            entry.path.rename(gone)
        elif entry.kind == "digests":
            remove_database(gone)
        elif not gone.is_dir():
            gone.unlink(missing_ok=True)
            if gone.suffix == ".safetensors":
                digest_beside(gone).unlink(missing_ok=True)
    for _ in range(100):
        with suppress(FileNotFoundError):  # another prune removes it, too
            if not gone.is_dir():
                return True
            shutil.rmtree(gone)
    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(gone))


def remove_database(path: Path) -> None:
    """Removes an SQLite database and what lies beside it, which it would take for its own when it is made anew."""
    for end in ("", *_BESIDE):
        path.with_name(path.name + end).unlink(missing_ok=True)


def digest_beside(weights: Path) -> Path:
    """Where the sha256 of a random network's weights stands."""
    return weights.with_suffix(".sha256")


def staging_of(path: Path) -> Path:
    """A new name beside an entry for what is not it yet, or no more. A killed process may have had this one's number,
    and processes of other machines and containers have it now: hence the random end."""
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")


def _look_into(folder: Path, entries: list[Entry], others: list[Path]) -> None:
    kind, names = _FOLDERS[folder.name]
    for path in sorted(folder.iterdir()):
        unfinished = _UNFINISHED.fullmatch(path.name)
        is_own = path.is_file() if kind == "weights" else path.is_dir()
        if unfinished and names.fullmatch(unfinished["name"]) and not path.is_symlink():
            guard = path.with_name(unfinished["name"])
            entries.append(_entry("left-overs", path, _files(path), guard))
        elif is_own and names.fullmatch(path.name) and not path.is_symlink():
            if kind == "weights":
                entries += _weights(path)
                continue
            files, left = list[Path](), list[Path]()
            for file in _files(path):
                (left if file != path and _is_left_over(file) else files).append(file)
            entries += [
                _entry("left-overs", file, [file], None if file.suffix == ".damaged" else path) for file in left
            ]
            # Without digests nobody takes a network for whole: killed, or at work on it now.
            whole = kind == "features" or path / "digests.json" in files
            entries.append(_entry(kind if whole else "left-overs", path, files, path))
        else:
            others.append(path)


def _weights(path: Path) -> Iterator[Entry]:
    """A random network and its digest are one entry; either without the other is a left-over."""
    if path.name.endswith("-imagenet.sha256"):
        yield _entry("first uses", path, [path], None)
    elif path.suffix != ".sha256":
        both = [path, digest_beside(path)]
        yield _entry("weights" if both[1].is_file() else "left-overs", path, both, path)
    elif not path.with_suffix(".safetensors").exists():
        yield _entry("left-overs", path, [path], path.with_suffix(".safetensors"))


def _is_left_over(file: Path) -> bool:
    return file.suffix == ".damaged" or _UNFINISHED.fullmatch(file.name) is not None


def _locks(folder: Path) -> Iterator[Entry]:
    """Markers of entries that are gone are left-overs; the others, and those of fetch, stay."""
    for path in sorted(folder.iterdir()):
        named = _MARKER.fullmatch(path.name)
        if named and named["folder"] in _FOLDERS:
            guard = folder.parent / named["folder"] / named["name"]
            yield _entry("locks" if guard.exists() else "left-overs", path, [path], guard)
        else:
            yield _entry("locks", path, [path], None)


def _entry(kind: Kind, path: Path, files: list[Path], guard: Path | None) -> Entry:
    size, count, newest = 0, 0, 0.0
    for file in files:
        with suppress(OSError):
            status = file.lstat()
            size, count, newest = size + status.st_size, count + 1, max(newest, status.st_mtime)
    if guard == path:
        newest = last_used(path)
    return Entry(kind, path, size, count, newest, guard)


def _files(path: Path) -> list[Path]:
    """The file, or all files below the folder."""
    if not path.is_dir():
        return [path]
    return [Path(parent, name) for parent, _, names in os.walk(path) for name in sorted(names)]
