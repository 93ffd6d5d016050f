"""Installing a data set: a work directory beside the data directory, one process at a time, one rename at the end."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tlcli.datasets.acquire.manifest import DatasetManifest, read_manifest, tree_of, write_manifest
from tlcli.errors import DataError
from tlcli.progress import SILENT, Progress
from tlcli.system.files import disk_problem, sync_disk, sync_folder

_ELSEWHERE = "Move it, or set dataset.path to another folder."


class InstallError(DataError):
    """The data directory itself cannot be used: no other source will help."""


class InstallDirectory:
    """A data directory that is to be filled.

    Beside it lies ``.NAME.fetch``, with downloads and with what is being unpacked. A process that is killed leaves it
    behind, and the next one continues with what it holds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.target = path.resolve()  # a link to a folder on another disk stays a link
        self.work = self.target.with_name(f".{self.target.name}.fetch")
        self.lock = self.target.with_name(f".{self.target.name}.fetch.lock")

    def check_replaceable(self) -> None:
        """Checks that the directory is empty, or holds just what fetch installed.

        Raises:
            InstallError: it must not be replaced.
        """
        path, target = self.path, self.target
        if target.exists() and not target.is_dir():
            raise InstallError("data.not_a_folder", f"{path} is a file where a folder is needed.", _ELSEWHERE)
        if not self.filled:
            return
        manifest = read_manifest(target)
        if manifest is None:
            example = min(entry.name for entry in target.iterdir())
            message = f"{path} holds files that fetch did not install, for example '{example}'."
            raise InstallError("data.folder_occupied", message, _ELSEWHERE)
        if (tree := tree_of(target)).tree != manifest.tree:
            message = f"{path} was changed since it was fetched ({tree.change_since(manifest)})."
            raise InstallError("data.folder_changed", message, _ELSEWHERE)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A new directory on the same disk, removed at the end unless :meth:`install` has taken it."""
        staging = self.work / f"unpacked.{secrets.token_hex(4)}"
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    @property
    def filled(self) -> bool:
        """Whether the data directory holds anything."""
        return self.target.is_dir() and any(self.target.iterdir())

    def install(self, staging: Path, manifest: DatasetManifest, replaces: bool = True) -> bool:
        """Renames a complete directory to the data directory; what fetch had installed before is removed only now.

        Args:
            staging: the directory.
            manifest: what it must hold; is written into it.
            replaces: whether it may replace what is there; else that stays, and this returns False: another process
                was faster, which a lock failed to keep away.

        Raises:
            InstallError: somebody's files have appeared there, or ``staging`` has changed.
        """
        if tree_of(staging).tree != manifest.tree:
            message = f"Another program changed {staging} while it was filled."
            raise InstallError("data.folder_changed", message, "Run the same command again.")
        write_manifest(staging, manifest)
        sync_disk(staging)
        self.check_replaceable()
        old = self.work / f"old.{secrets.token_hex(3)}"
        if replaces and self.filled:
            self.target.replace(old)
        try:
            _rename(staging, self.target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        sync_folder(self.target.parent)
        shutil.rmtree(old, ignore_errors=True)
        return True

    def remove_downloads(self) -> None:
        """Removes downloads, whole or partial, and their notes: the data set is installed."""
        for pattern in ("*.download", ".*.part", ".*.part.json", ".*.part.json.*.tmp"):
            for path in self.work.glob(pattern):
                path.unlink(missing_ok=True)

    def recover(self, locked: bool) -> None:
        """Finishes what a killed process had begun: a directory moved aside comes back, unfinished ones are removed.

        Args:
            locked: whether no other process can be unpacking.
        """
        for old in self.work.glob("old.*"):
            if not self.filled and (self.target.is_dir() or not self.target.exists()):
                _rename(old, self.target)
        unpacked = self.work.glob("unpacked.*") if locked else ()
        for folder in [*self.work.glob("old.*"), *unpacked]:
            # Renamed first: if its owner lives after all, it never installs a half-removed directory.
            with suppress(OSError):
                folder.replace(self.work / f"dead.{secrets.token_hex(4)}")
        for dead in self.work.glob("dead.*"):
            shutil.rmtree(dead, ignore_errors=True)


def _rename(folder: Path, target: Path) -> None:
    with suppress(OSError):  # an empty one; Windows replaces no folder
        target.rmdir()
    folder.replace(target)


@contextmanager
def locked_directory(path: Path, progress: Progress = SILENT, wait: bool = True) -> Iterator[InstallDirectory]:
    """The data directory at ``path``, locked against other processes.

    Args:
        path: the data directory.
        progress: receives that another process is waited for.
        wait: whether to wait for another process that has the lock.

    Raises:
        InstallError: ``path`` cannot be a data directory.
        TimeoutError: another process has the lock, and ``wait`` is False.
        ResourceError: the disk is full.
    """
    if os.path.ismount(path.resolve()):
        message = f"{path} is a mount point, which cannot be replaced."
        raise InstallError("data.mount_point", message, "Set dataset.path to a folder in it.")
    directory = InstallDirectory(path)
    with _lock(directory, progress if wait else None) as locked:
        try:
            directory.work.mkdir(parents=True, exist_ok=True)
            directory.recover(locked)
            yield directory
        except OSError as error:
            if problem := disk_problem(error, directory.target):
                raise problem from error
            raise
        finally:
            with suppress(OSError):  # unless it keeps downloads
                directory.work.rmdir()


@contextmanager
def _lock(directory: InstallDirectory, waiting: Progress | None) -> Iterator[bool]:
    """Locks the data directory, and yields whether that worked: where there are no locks, everything stays correct.

    The lock file is removed while it is locked, and so are empty folders that were created for it. A process that has
    waited for it meanwhile tries again, as filelock sees that the file has no name any more.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only fetch needs it

    path = directory.lock
    lock, created = FileLock(path), [folder for folder in path.parents if not folder.exists()]
    timeout = 0
    for _ in range(1000):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout)
            break
        except Timeout:
            if waiting is None:
                raise
            waiting.note(f"Waiting for another process that is installing {directory.path} ...")
            timeout = -1
        except (FileNotFoundError, FileExistsError):
            continue  # another process is removing the folders that it had created (mkdir raises either)
        except (OSError, NotImplementedError):
            break
    try:
        yield lock.is_locked
    finally:
        with suppress(OSError):  # Windows
            if lock.is_locked:
                path.unlink()
        lock.release()
        with suppress(OSError):
            for folder in created:
                folder.rmdir()
