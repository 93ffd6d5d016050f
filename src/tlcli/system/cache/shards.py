"""Folders of shards: files that are written whole, named by the sha256 of their bytes, and never changed.

Writers need no locks, and none waits for another. Where ``$TLCLI_CACHE`` is an address, the shards are objects there,
and the folder of this machine's cache holds copies of those that were written or read here.
"""

import errno
import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from tlcli.progress import Progress
from tlcli.system.cache.fallback import create_in_cache
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.files import cache_folder, disk_unreadable, whole_file
from tlcli.system.remote.folder import remote_folder

SUFFIX = ".safetensors"
_SKIPPED = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.EIO)
"""Error numbers of a file that another user's rights protect, and of one on a bad part of the disk."""


class ShardFolder:
    """The shards of one folder of the cache."""

    def __init__(self, kind: str, name: str, what: str, progress: Progress) -> None:
        """Opens a folder.

        Args:
            kind: the folder of the cache.
            name: of this folder in it.
            what: the shards are files of; for notes.
            progress: receives notes on damaged files.
        """
        self.folder = cache_folder() / kind / name
        self.remote = remote_folder(kind, name)
        self._what, self._progress = what, progress
        mark_in_use(self.folder)

    def local(self, known: Collection[str] = ()) -> Iterator[tuple[Path, bytes]]:
        """The whole shards on this machine; damaged ones are removed and reported. ``known`` are names to leave out."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")) if os.path.isdir(self.folder) else []:  # noqa: PTH112
            if path.name in known:
                continue
            try:
                data = path.read_bytes()
            except FileNotFoundError:  # another process removed it
                continue
            except OSError as error:
                if error.errno not in _SKIPPED:  # too many open files, a disk that is gone
                    raise disk_unreadable(error, path) from error
                self._progress.note(f"Skipped an unreadable file of {self._what} ({error.strerror}): {path}")
                continue
            if hashlib.sha256(data).hexdigest() == path.stem:
                yield path, data
            else:
                self.discard(path)

    def discard(self, path: Path) -> None:
        """Removes a damaged shard of this machine, and reports it."""
        with suppress(OSError):  # a read-only cache
            path.unlink()
        self._progress.note(f"Skipped a damaged file of {self._what}; what it held is computed again: {path}")

    def write(self, data: bytes) -> Path:
        """Writes a shard; where the folder is remote, there too.

        Raises:
            ResourceError: the disk is full.
            NetworkError: the remote cache refuses access, or does not answer.
        """
        path = self.keep(data)
        if self.remote:
            self.remote.put(path.name, data)
        return path

    def synchronized(self, here: set[str]) -> Iterator[tuple[Path, bytes]]:
        """Makes both sides equal where the shards are remote: sends those that only this machine has, whose writer was
        killed before it could, and yields those that it lacks.

        Args:
            here: names of the whole shards on this machine.

        Raises:
            NetworkError: the remote cache refuses access, or does not answer.
        """
        if not self.remote:
            return
        there = {name for name in self.remote.names() if name.endswith(SUFFIX)}
        for name in sorted(here - there):
            with suppress(FileNotFoundError):
                self.remote.put(name, (self.folder / name).read_bytes())
        for name, data in self.remote.get_all(sorted(there - here)):
            if data is not None and (path := self.received(name, data)):
                yield path, data

    def received(self, name: str, data: bytes) -> Path | None:
        """Keeps a copy of a remote shard, and returns its path; None, and a note, where it is damaged."""
        if hashlib.sha256(data).hexdigest() == name.removesuffix(SUFFIX):
            return self.keep(data)
        self._progress.note(f"Skipped a damaged object of {self._what}: {name}")
        return None

    def keep(self, data: bytes) -> Path:
        """Writes a shard on this machine.

        If the cache is not writable, which is reported once, it is in a temporary folder of this process.

        Raises:
            ResourceError: the disk is full.
        """

        def write(path: Path) -> None:
            with whole_file(path) as temporary:
                temporary.write_bytes(data)

        mark_in_use(self.folder)  # again, in case the cache was removed since
        path = self.folder / f"{hashlib.sha256(data).hexdigest()}{SUFFIX}"
        return create_in_cache(path, write, self._progress)
