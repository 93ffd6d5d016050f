"""Where a data set is put: a work folder beside it, one process at a time, and one rename at the end."""

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from tlcli.datasets.acquire.manifest import Manifest, Tree, read_manifest, tree_of, write_manifest
from tlcli.errors import DataError
from tlcli.progress import SILENT, Progress
from tlcli.system.files import cache_folder, disk_problem, sync_disk, sync_folder


class PlaceError(DataError):
    """The place itself is not free: no other source will do."""


class Place:
    """A data folder that is to be filled.

    Beside it lies ``.NAME.fetch``, with downloads and with what is being unpacked. A process that is killed leaves it
    behind, and the next one goes on with what it holds.
    """

    def __init__(self, path: Path) -> None:
        self.shown = path
        self.target = path.resolve()  # a link to a folder on another disk stays a link
        self.work = self.target.with_name(f".{self.target.name}.fetch")

    def problem(self) -> str:
        """Why what is there must not be replaced; empty where it may be: nothing, or just what fetch put there."""
        if self.target.exists() and not self.target.is_dir():
            return f"{self.shown} is a file where a folder is needed. Remove it, or set dataset.path."
        if os.path.ismount(self.target):
            return f"{self.shown} is a disk of its own, which cannot be replaced; set dataset.path to a folder in it."
        return self._somebodys_files() if self.target.exists() and any(self.target.iterdir()) else ""

    def _somebodys_files(self) -> str:
        manifest = read_manifest(self.target)
        stays = "it stays as it is. Move it away, or set dataset.path to another folder."
        if manifest is None:
            example = min(entry.name for entry in self.target.iterdir())
            return f"{self.shown} holds files that fetch did not put there, for example '{example}'; {stays}"
        if (now := tree_of(self.target)).digest != manifest.tree:
            return f"{self.shown} was changed since it was fetched ({change_since(manifest, now)}); {stays}"
        return ""

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A new folder on the same disk, removed at the end if :meth:`install` has not taken it.

        A lock beside it tells other processes that its owner lives, also those that do not share the place's lock.
        """
        folder = self.work / f"unpacked.{secrets.token_hex(4)}"
        folder.mkdir()
        with ExitStack() as stack:
            with suppress(OSError, NotImplementedError):
                stack.enter_context(_file_lock(folder.with_suffix(folder.suffix + _LOCK), timeout=0))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                folder.with_suffix(folder.suffix + _LOCK).unlink(missing_ok=True)

    @property
    def filled(self) -> bool:
        """Whether anything is there."""
        return self.target.is_dir() and any(self.target.iterdir())

    def install(self, staging: Path, manifest: Manifest, replaces: bool = True) -> bool:
        """Gives a complete folder its name; what fetch had put there before goes only now.

        Args:
            staging: the folder.
            manifest: what must be in it, and is put beside.
            replaces: whether it may take the place of what is there; else that stays, and this gives False: another
                process was faster, whom a lock failed to keep away.

        Raises:
            PlaceError: somebody's files have appeared there, or the folder is not as it was.
        """
        if tree_of(staging).digest != manifest.tree:
            raise PlaceError(f"Another program changed {staging} while it was filled; run the same command again.")
        write_manifest(staging, manifest)
        sync_disk(staging)
        if problem := self.problem():
            raise PlaceError(problem)
        old = self.work / f"old.{secrets.token_hex(3)}"
        if replaces and self.filled:
            self.target.replace(old)
        with suppress(OSError):  # an empty one; Windows replaces no folder
            self.target.rmdir()
        try:
            staging.replace(self.target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        sync_folder(self.target.parent)
        shutil.rmtree(old, ignore_errors=True)
        return True

    def forget_downloads(self) -> None:
        """Removes downloads, whole or not, and notes that were being written: the data folder is there."""
        for pattern in ("*.download", ".*.part", ".*.part.json", ".*.part.json.*.tmp"):
            for path in self.work.glob(pattern):
                path.unlink(missing_ok=True)

    def recover(self) -> None:
        """Ends what a killed process had begun: a folder that was moved aside comes back, halves are removed."""
        for old in self.work.glob("old.*"):
            if self.filled:
                self._remove(old)
            elif not self.problem():
                with suppress(OSError):  # an empty one; Windows replaces no folder
                    self.target.rmdir()
                old.replace(self.target)
        # The locks, too: of a process killed right after its folder had got another name, only the lock is left.
        halves = {path.with_suffix("") if path.suffix == _LOCK else path for path in self.work.glob("unpacked.*")}
        for half in halves:
            if not _owner_lives(half):
                self._remove(half)
                half.with_suffix(half.suffix + _LOCK).unlink(missing_ok=True)
        for dead in self.work.glob("dead.*"):
            shutil.rmtree(dead, ignore_errors=True)

    def _remove(self, folder: Path) -> None:
        """Takes its name away first: if its owner lives after all, it never gives a half-removed folder a name."""
        dead = self.work / f"dead.{secrets.token_hex(4)}"
        with suppress(OSError):
            folder.replace(dead)
        shutil.rmtree(dead, ignore_errors=True)


_LOCK = ".lock"


def _owner_lives(staging: Path) -> bool:
    from filelock import Timeout  # noqa: PLC0415 - only who fetches

    try:
        with _file_lock(staging.with_suffix(staging.suffix + _LOCK), timeout=0):
            return False
    except (Timeout, OSError, NotImplementedError):
        return True


def _file_lock(path: Path, timeout: float = -1) -> AbstractContextManager[object]:
    from filelock import FileLock  # noqa: PLC0415 - only who fetches

    return FileLock(path, timeout=timeout)


def change_since(manifest: Manifest, now: Tree) -> str:
    """What is different from what was fetched, in a few words."""
    if now.files == manifest.files:
        return "files of other sizes or times"
    return f"{abs(now.files - manifest.files):,} files {'more' if now.files > manifest.files else 'fewer'}"


@contextmanager
def held(path: Path, progress: Progress = SILENT, wait: bool = True) -> Iterator[Place]:
    """The place for a data folder, held against other processes; its work folder is there while it holds something.

    Args:
        path: the data folder.
        progress: told of waiting.
        wait: for another process that holds it.

    Raises:
        PlaceError: it can be no data folder.
        TimeoutError: another process holds it, and it was not to be waited for.
        ResourceError: the disk is full.
    """
    if not path.resolve().name:
        raise PlaceError(f"{path} cannot be a data folder; set dataset.path to a folder in it.")
    place = Place(path)
    with _lock(place.target, progress if wait else None, f"Another fetch is filling {path}; waiting for it."):
        made = [folder for folder in (place.work, *place.work.parents) if not folder.exists()] or [place.work]
        try:
            place.work.mkdir(parents=True, exist_ok=True)
            place.recover()
            yield place
        except OSError as error:
            if problem := disk_problem(error, place.target):
                raise problem from error
            raise
        finally:
            with suppress(OSError):
                for folder in made:  # a fetch that fails leaves no empty folders
                    folder.rmdir()


@contextmanager
def _lock(target: Path, waiting: Progress | None, words: str) -> Iterator[None]:
    """Saves double work only: where it cannot be had (a cache that is not to be written) all stays correct."""
    from filelock import Timeout  # noqa: PLC0415 - only who fetches

    path = cache_folder() / "locks" / f"{hashlib.sha256(os.fsencode(target)).hexdigest()[:32]}.lock"
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_file_lock(path, timeout=0))
        except Timeout:
            if waiting is None:
                raise
            waiting.note(words)
            stack.enter_context(_file_lock(path))
        except (OSError, NotImplementedError):
            pass
        yield
