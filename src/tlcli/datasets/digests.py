"""Digests of files, remembered as long as the files look the same, so that no stage reads a data set twice.

A file looks the same when its path, size, times (of its bytes and of its inode) and inode are what they were. What is
remembered lies in one SQLite file in the cache: the digest, with a check over it and over how the file looked. A
database that is locked, broken or cannot be written costs time and nothing else.
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
"""Nanoseconds. A file that changed this recently may change again in the same tick of its disk's clock (2 s on FAT)."""
_CHECK = 8
_BATCH = 2000
"""Files read between two writes of the database: few enough to be small in memory and little to be lost."""


@dataclass
class Digests:
    """Hex digests of files."""

    of: dict[Path, str] = field(default_factory=dict)
    errors: dict[Path, str] = field(default_factory=dict)
    """Files that cannot be read, and why."""
    changed: list[Path] = field(default_factory=list)
    """Files whose bytes are others than those remembered, though they look the same; found where all are read anew."""


def digest_of(path: Path, algorithm: Algorithm = "sha256") -> str:
    """Hex digest of one file, which is read only where it does not look as it did before.

    Raises:
        OSError: it cannot be read.
        ResourceError: its disk is gone.
    """
    found = digests_of([path], algorithm)
    if path not in found.of:
        return _read(path, algorithm)[1]
    return found.of[path]


def digests_of(paths: Iterable[Path], algorithm: Algorithm = "sha256", anew: bool = False) -> Digests:
    """Hex digests of many files; those that have to be read are read by several threads.

    Args:
        paths: any number, each once.
        algorithm: of the digest.
        anew: read every file, whatever is remembered.

    Raises:
        ResourceError: their disk is gone.
    """
    found, unknown = Digests(), list[Path]()
    known: dict[Path, str] = {}
    with _database() as database:
        for path in paths:
            remembered = _remembered(database, path, algorithm) if database else None
            if remembered is None or anew:
                unknown.append(path)
            if remembered is not None:
                (known if anew else found.of)[path] = remembered
    with ThreadPoolExecutor(threads()) as pool:
        for start in range(0, len(unknown), _BATCH):
            read = pool.map(lambda path: _tried(path, algorithm), unknown[start : start + _BATCH])
            looks = {}
            try:
                for path, look, digest, reason in read:
                    if reason:
                        found.errors[path] = reason
                    else:
                        found.of[path] = digest
                    if look:
                        looks[path] = (look, digest)
            finally:  # also of what was read before an interruption
                _remember(looks, algorithm)
    found.changed = [path for path, digest in known.items() if found.of.get(path, digest) != digest]
    return found


def known_digest(path: Path, algorithm: Algorithm = "sha256") -> str | None:
    """What is remembered of a file that looks as it did then; it is not read."""
    with _database() as database:
        return _remembered(database, path, algorithm) if database else None


def remember(digests: Mapping[Path, str]) -> None:
    """Keeps the sha256 of files that this process has just written, and nobody else knew of."""
    looks = {path: look for path in digests if (look := _look(path, settled=False))}
    _remember({path: (look, digests[path]) for path, look in looks.items()}, "sha256")


def _tried(path: Path, algorithm: Algorithm) -> tuple[Path, bytes, str, str]:
    """The path, how it looks, its digest; and the reason where it cannot be read."""
    try:
        return path, *_read(path, algorithm), ""
    except (OSError, ValueError) as error:  # ValueError: a table's path with a NUL in it
        if isinstance(error, OSError) and error.errno in GONE:
            raise disk_unreadable(error, path) from error
        return path, b"", "", f"cannot be read: {getattr(error, 'strerror', None) or error}"


def _read(path: Path, algorithm: Algorithm) -> tuple[bytes, str]:
    """How the file looks and its digest; no look where it changed meanwhile."""
    before = _look(path)
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    return (before if before == _look(path) else b""), digest


def _look(path: Path, settled: bool = True) -> bytes:
    """What a file looks like from outside; empty where it cannot be told, or has not settled yet."""
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


def _entry(look: bytes, digest: str) -> bytes:
    """What is kept: the digest's bytes, and a check that fails where the file looks otherwise or it is damaged."""
    raw = bytes.fromhex(digest)
    return raw + hashlib.blake2b(look + raw, digest_size=_CHECK).digest()


def _remembered(database: sqlite3.Connection, path: Path, algorithm: Algorithm) -> str | None:
    if not (look := _look(path)):
        return None
    try:
        row = database.execute("SELECT entry FROM files WHERE key = ?", (_key(path, algorithm),)).fetchone()
    except sqlite3.Error:
        return None
    if row is None or not isinstance(row[0], bytes):
        return None
    digest = bytes(row[0][:-_CHECK]).hex()
    return digest if _entry(look, digest) == row[0] else None


def _remember(read: Mapping[Path, tuple[bytes, str]], algorithm: Algorithm) -> None:
    if not read:
        return
    rows = ((_key(path, algorithm), _entry(look, digest)) for path, (look, digest) in read.items())
    with _database(writing=True) as database:
        try:
            if database:
                with database:  # one transaction
                    database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            if not isinstance(error, sqlite3.OperationalError):  # damaged where the first look did not see it
                with suppress(OSError):
                    remove_database(cache_folder() / DATABASE)


@contextmanager
def _database(writing: bool = False) -> Iterator[sqlite3.Connection | None]:
    """The open database, or None where there is none to be had."""
    database = _opened(cache_folder() / DATABASE, writing)
    try:
        yield database
    finally:
        if database is not None:
            database.close()


def _opened(path: Path, writing: bool) -> sqlite3.Connection | None:
    """Begins it anew where it is broken."""
    if not (writing or os.path.isfile(path)):  # noqa: PTH113 - or one that cannot be seen
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
        except (sqlite3.Error, OSError) as error:
            if database is not None:
                database.close()
            if not isinstance(error, sqlite3.DatabaseError) or isinstance(error, sqlite3.OperationalError):
                break  # locked, or not ours to write
            with suppress(OSError):
                remove_database(path)
    return None
