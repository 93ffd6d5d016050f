"""Digests of files, recorded until a file changes, so that no command reads a data set twice.

A file counts as unchanged while its path, size, inode and times (of its content and of its inode) stay the same. The
records are in one SQLite file in the cache: each holds the digest, and a check over the digest and the file's state. A
database that is locked, damaged or read-only costs time and nothing else.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import time_ns
from typing import Literal

from tlcli.system.cache.entries import DATABASE, remove_database
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.cpu import threads
from tlcli.system.files import GONE, cache_folder, disk_unreadable, open_regular

Algorithm = Literal["sha256", "md5"]

_SETTLED = 2 * 10**9
"""Nanoseconds. A file that changed more recently may change again within one tick of its disk's clock (2 s on FAT)."""
_CHECK = 8
"""Bytes of a record's check."""
_BATCH = 2000
"""Files read between two writes of the database."""
_SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""SQLite's message about a damaged file may quote bytes of it, which Python then cannot decode."""


@dataclass
class Digests:
    """Hex digests of files."""

    of: dict[Path, str] = field(default_factory=dict)
    errors: dict[Path, str] = field(default_factory=dict)
    """Unreadable files and the reason."""
    changed: list[Path] = field(default_factory=list)
    """Files whose content differs from the record although they count as unchanged; only with ``recompute``."""


def digest_of(path: Path, algorithm: Algorithm = "sha256") -> str:
    """Hex digest of one file, which is read only if it changed since its digest was recorded.

    Raises:
        OSError: the file is unreadable.
        ResourceError: its disk is gone.
    """
    found = digests_of([path], algorithm)
    return found.of[path] if path in found.of else _read(path, algorithm)[1]


def digests_of(paths: Iterable[Path], algorithm: Algorithm = "sha256", recompute: bool = False) -> Digests:
    """Hex digests of many files; those without a record are read by several threads.

    Args:
        paths: any number of files, each once.
        algorithm: of the digest.
        recompute: read every file, including those that count as unchanged.

    Raises:
        ResourceError: their disk is gone.
    """
    paths = list(paths)
    with _database() as database:
        recorded = {path: digest for path in paths if (digest := _recorded(database, path, algorithm))}
    found = Digests({} if recompute else dict(recorded))
    unknown = [path for path in paths if path not in found.of]
    with ThreadPoolExecutor(threads()) as pool:
        for start in range(0, len(unknown), _BATCH):
            states = {}
            try:
                batch = unknown[start : start + _BATCH]
                for path, state, digest, reason in pool.map(lambda path: _try_read(path, algorithm), batch):
                    if reason:
                        found.errors[path] = reason
                    else:
                        found.of[path] = digest
                    if state:
                        states[path] = (state, digest)
            finally:  # an interruption keeps what was read before
                _record(states, algorithm)
    found.changed = [path for path, digest in recorded.items() if found.of.get(path, digest) != digest]
    return found


def known_digest(path: Path, algorithm: Algorithm = "sha256") -> str | None:
    """The recorded digest of an unchanged file, else None; the file is not read."""
    with _database() as database:
        return _recorded(database, path, algorithm)


def remember(digests: Mapping[Path, str]) -> None:
    """Records the sha256 of files that this process has just written, before any other process knew their names."""
    states = {path: state for path in digests if (state := _state(path, settled=False))}
    _record({path: (state, digests[path]) for path, state in states.items()}, "sha256")


def _try_read(path: Path, algorithm: Algorithm) -> tuple[Path, bytes, str, str]:
    """The path, the file's state and its digest; and the reason if it is unreadable."""
    try:
        return path, *_read(path, algorithm), ""
    except (OSError, ValueError) as error:  # ValueError: a NUL in a path from a label table
        if isinstance(error, OSError) and error.errno in GONE:
            raise disk_unreadable(error, path) from error
        return path, b"", "", f"cannot be read: {getattr(error, 'strerror', None) or error}"


def _read(path: Path, algorithm: Algorithm) -> tuple[bytes, str]:
    """The file's state and its digest; the state is empty if the file changed while it was read."""
    before = _state(path)
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    return (before if before == _state(path) else b""), digest


def _state(path: Path, settled: bool = True) -> bytes:
    """Size, times and inode of a file; empty if it is unavailable, or changed too recently."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return b""
    if settled and max(status.st_mtime_ns, status.st_ctime_ns) > time_ns() - _SETTLED:
        return b""
    fields = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    return repr(fields).encode()


def _key(path: Path, algorithm: Algorithm) -> bytes:
    return hashlib.blake2b(algorithm.encode() + os.fsencode(path.absolute()), digest_size=16).digest()


def _entry(state: bytes, digest: str) -> bytes:
    """A record: the digest's bytes, and a check that fails if the file's state differs or the record is damaged."""
    raw = bytes.fromhex(digest)
    return raw + hashlib.blake2b(state + raw, digest_size=_CHECK).digest()


def _recorded(database: sqlite3.Connection | None, path: Path, algorithm: Algorithm) -> str | None:
    if database is None or not (state := _state(path)):
        return None
    try:
        row = database.execute("SELECT entry FROM files WHERE key = ?", (_key(path, algorithm),)).fetchone()
    except _SQLITE_ERRORS:
        return None
    if row is None or not isinstance(row[0], bytes):
        return None
    digest = bytes(row[0][:-_CHECK]).hex()
    return digest if _entry(state, digest) == row[0] else None


def _record(states: Mapping[Path, tuple[bytes, str]], algorithm: Algorithm) -> None:
    if not states:
        return
    rows = ((_key(path, algorithm), _entry(state, digest)) for path, (state, digest) in states.items())
    with _database(writing=True) as database:
        try:
            if database:
                with database:  # one transaction
                    database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", rows)
        except _SQLITE_ERRORS as error:
            if not isinstance(error, sqlite3.OperationalError):  # damage that opening did not find
                with suppress(OSError):
                    remove_database(cache_folder() / DATABASE)


@contextmanager
def _database(writing: bool = False) -> Iterator[sqlite3.Connection | None]:
    """The open database, or None if it is unavailable."""
    database = _open(cache_folder() / DATABASE, writing)
    try:
        yield database
    finally:
        if database is not None:
            database.close()


def _open(path: Path, writing: bool) -> sqlite3.Connection | None:
    """Opens the database; replaces one that is damaged."""
    if not (writing or os.path.isfile(path)):  # noqa: PTH113 - False also if the cache cannot be listed
        return None
    mark_in_use(path)
    for _ in range(2):
        database = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(path, timeout=5)
            database.execute("CREATE TABLE IF NOT EXISTS files (key BLOB PRIMARY KEY, entry BLOB) WITHOUT ROWID")
            database.execute("SELECT key FROM files LIMIT 1")
            return database
        except (*_SQLITE_ERRORS, OSError) as error:
            if database is not None:
                database.close()
            if isinstance(error, OSError | sqlite3.OperationalError):
                break  # locked, or read-only
            with suppress(OSError):
                remove_database(path)
    return None
