"""Who uses what of the cache now, and when it was last used.

An entry is what is kept and removed as one: the folder of a store, of a converted or compiled network, a file of
weights, the database of digests. Whoever opens one holds a shared lock on its marker, an empty file in the cache's
``locks``, until the process ends, however it ends; the marker's time says when the entry was last used. Who wants to
remove an entry takes the marker alone. All this spares running processes an error and nothing more: what is read is
checked, and where locks lie, or cannot be had (a cache that is not to be written), a reader finds an entry whole, or
not there.
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
"""Windows has none, and does not let go of a file that is open."""

QUIET = 24 * 3600.0
"""Seconds without use after which nobody is taken to use an entry, where there are no locks."""

_PATIENCE, _PAUSE = 2.0, 0.01
"""Seconds: a marker is held alone for the moment of a rename; locks that hang are no reason not to work."""

_HELD: dict[Path, int] = {}
"""Descriptors of the markers that this process holds."""


def marker_of(entry: Path) -> Path:
    """The empty file whose lock and time stand for an entry."""
    folder = cache_folder()
    return folder / "locks" / f"{'-'.join(entry.relative_to(folder).parts)}.lock"


def hold(entry: Path, used: bool = True) -> None:
    """Keeps others from removing an entry, there already or about to be made, as long as this process lives.

    Args:
        entry: in the cache; elsewhere there is nobody to keep off.
        used: note that it is used now; what is only looked at is not.
    """
    if not entry.is_relative_to(cache_folder()):
        return
    marker = marker_of(entry)
    with suppress(OSError):  # not to be written, or locks that are none
        if marker in _HELD and not _is(_HELD[marker], marker):  # the cache was removed, and perhaps made again
            os.close(_HELD.pop(marker))
        if marker not in _HELD:
            _HELD[marker] = _locked(marker)
    if used:
        with suppress(OSError):
            os.utime(marker)


def release() -> None:
    """Lets go of all that this process holds: for programs that live longer than what they use."""
    while _HELD:
        os.close(_HELD.popitem()[1])


def last_used(entry: Path) -> float:
    """When an entry was last used, in seconds since 1970; what was made without a marker, when it was written."""
    with suppress(OSError):
        return marker_of(entry).stat().st_mtime
    times = [0.0]
    with suppress(OSError):
        times.append(entry.stat().st_mtime)
        with os.scandir(entry) as inside:
            times += [one.stat().st_mtime for one in inside]
    return max(times)


@contextmanager
def alone(entry: Path) -> Iterator[bool]:
    """Whether nobody uses the entry; if so, nobody begins to within the body.

    Raises:
        OSError: the cache cannot be written.
    """
    marker = marker_of(entry)
    known, before = marker.exists(), last_used(entry)
    descriptor = _opened(marker)
    unused = False
    try:
        if not known:  # it was not used now
            os.utime(marker, (before, before))
        unused = _taken(descriptor, marker, before)
        yield unused
    finally:
        if unused and not (known and entry.exists()):
            marker.unlink(missing_ok=True)
        os.close(descriptor)


def _taken(descriptor: int, marker: Path, before: float) -> bool:
    if fcntl:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _is(descriptor, marker)  # else somebody else removed it, and who came since holds another
        except BlockingIOError:
            return False
        except OSError:  # a disk without locks
            pass
    return time.time() - before > QUIET


def _locked(marker: Path) -> int:
    """The descriptor of a marker, with the lock where one can be had.

    Raises:
        OSError: it cannot be opened.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        descriptor = _opened(marker)
        try:
            while fcntl and time.monotonic() < until:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(_PAUSE)
            # Whoever held it alone may have removed it: then another file has its name, or will have.
            if time.monotonic() >= until or _is(descriptor, marker):
                return descriptor
        except OSError:
            return descriptor
        os.close(descriptor)


def _opened(marker: Path) -> int:
    try:
        return os.open(marker, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        marker.parent.mkdir(parents=True, exist_ok=True)
        return os.open(marker, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return os.open(marker, os.O_RDONLY)  # another user's, or not to be written: enough for a lock


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
