"""Which cache entries running processes use, and when each entry was last used.

An entry is what is kept and removed as a unit: the folder of a feature store, of a converted or compiled backbone, of
random weights, the database of digests. A process that opens one takes a shared lock on its lock file, an empty file in
the cache's ``locks``, until the process ends, however it ends; the lock file's time is when the entry was last used.
Removing an entry takes the lock exclusively. Lock files themselves stay.

Locks only spare running processes an error: what is read is checked, and where locks do not work, or the cache is
read-only, a reader finds an entry whole or not at all.
"""

import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tlcli.system.files import cache_folder

fcntl: Any = importlib.import_module("fcntl") if importlib.util.find_spec("fcntl") else None
"""None on Windows, which does not remove an open file."""

IDLE_SECONDS = 24 * 3600.0
"""Where there are no locks, an entry counts as unused when it was last used so long ago."""

_open_locks: dict[Path, int] = {}
"""File descriptors of the locks that this process has taken, by lock file."""


def lock_file(entry: Path) -> Path:
    """Returns the empty file whose lock and time stand for an entry."""
    folder = cache_folder()
    return folder / "locks" / f"{'-'.join(entry.relative_to(folder).parts)}.lock"


def mark_in_use(entry: Path, used: bool = True) -> None:
    """Keeps other processes from removing an entry, present or about to be created, as long as this process lives.

    Args:
        entry: in the cache; a path elsewhere is ignored.
        used: record that it is used now; an entry that is only inspected is not.
    """
    if not entry.is_relative_to(cache_folder()):
        return
    path = lock_file(entry)
    with suppress(OSError):  # a read-only cache, or a file system without locks
        if path in _open_locks and os.fstat(_open_locks[path]).st_nlink == 0:  # the cache was deleted meanwhile
            os.close(_open_locks.pop(path))
        if path not in _open_locks:
            _open_locks[path] = _open(path)
            if fcntl:
                fcntl.flock(_open_locks[path], fcntl.LOCK_SH)  # an exclusive lock lasts as long as a rename
    if used:
        with suppress(OSError):
            os.utime(path)


@contextmanager
def alone(entry: Path) -> Iterator[None]:
    """One process at a time works on an entry, others wait; they do not where there are no locks."""
    path = lock_file(entry.with_name(f"{entry.name}.alone"))
    descriptor = None
    with suppress(OSError):
        descriptor = _open(path)
        if fcntl:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def release_all() -> None:
    """Releases all locks of this process: for programs that live longer than their use of the cache."""
    while _open_locks:
        os.close(_open_locks.popitem()[1])


def last_used(entry: Path) -> float:
    """Returns when an entry was last used, in seconds since 1970; without a lock file, when it was written."""
    with suppress(OSError):
        return lock_file(entry).stat().st_mtime
    with suppress(OSError):
        return entry.stat().st_mtime
    return 0.0


@contextmanager
def exclusive(entry: Path) -> Iterator[bool]:
    """Yields whether no process uses the entry; if so, none can mark it as used within the body.

    Raises:
        OSError: the cache cannot be written.
    """
    path, before = lock_file(entry), last_used(entry)
    is_new = not path.exists()
    descriptor = _open(path)
    try:
        if is_new:  # its creation is no use of the entry
            os.utime(path, (before, before))
        yield _try_exclusive(descriptor, before)
    finally:
        os.close(descriptor)


def _try_exclusive(descriptor: int, last: float) -> bool:
    if fcntl:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError:  # a disk without locks
            pass
    return time.time() - last > IDLE_SECONDS


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return os.open(path, os.O_RDONLY)  # another user's, or a read-only cache: enough for a lock
