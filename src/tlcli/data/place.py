"""Where a data set is put: a work folder beside it, one process at a time, and one rename at the end."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tlcli.data.manifest import Tree, read_manifest, tree_of
from tlcli.disk import FULL, cache_folder, disk_full, sync_disk, sync_folder
from tlcli.errors import DataError
from tlcli.progress import SILENT, Progress


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
            return f"{self.shown} holds files that fetch did not put there; {stays}"
        if (now := tree_of(self.target)).digest != manifest.tree:
            return f"{self.shown} was changed since it was fetched ({_change(manifest.files, now)}); {stays}"
        return ""

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A new folder on the same disk, removed at the end if :meth:`install` has not taken it."""
        folder = self.work / f"unpacked.{os.getpid()}.{secrets.token_hex(3)}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def install(self, staging: Path) -> None:
        """Gives a complete folder its name; what fetch had put there before goes only now.

        Raises:
            DataError: somebody's files have appeared there.
        """
        sync_disk(staging)
        if problem := self.problem():
            raise DataError(problem)
        old = self.work / f"old.{secrets.token_hex(3)}"
        if self.target.exists() and any(self.target.iterdir()):
            self.target.replace(old)
        elif self.target.exists():
            self.target.rmdir()
        staging.replace(self.target)
        sync_folder(self.target.parent)
        shutil.rmtree(old, ignore_errors=True)

    def forget_downloads(self) -> None:
        """Removes complete downloads: the data folder is there, and whoever was to remove them was killed."""
        for path in self.work.glob("*.download"):
            path.unlink()

    def recover(self) -> None:
        """Ends what a killed process had begun: a folder that was moved aside comes back, halves are removed."""
        for old in self.work.glob("old.*"):
            if self.target.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.replace(self.target)
        for half in self.work.glob("unpacked.*"):
            shutil.rmtree(half, ignore_errors=True)


def _change(files: int, now: Tree) -> str:
    if now.files == files:
        return "files of other sizes or times"
    return f"{abs(now.files - files):,} files {'more' if now.files > files else 'fewer'}"


@contextmanager
def held(path: Path, progress: Progress = SILENT) -> Iterator[Place]:
    """The place for a data folder, held against other processes; its work folder is there while it holds something.

    Raises:
        DataError: it can be no data folder.
        ResourceError: the disk is full.
    """
    if not path.resolve().name:
        raise DataError(f"{path} cannot be a data folder; set dataset.path to a folder in it.")
    place = Place(path)
    with _lock(place.target, f"Another fetch is filling {path}; waiting for it.", progress):
        made = [folder for folder in (place.work, *place.work.parents) if not folder.exists()] or [place.work]
        try:
            place.work.mkdir(parents=True, exist_ok=True)
            place.recover()
            yield place
        except OSError as error:
            if error.errno in FULL:
                raise disk_full(place.target) from error
            raise
        finally:
            with suppress(OSError):
                for folder in made:  # a fetch that fails leaves no empty folders
                    folder.rmdir()


@contextmanager
def _lock(target: Path, waiting: str, progress: Progress) -> Iterator[None]:
    """Saves double work only: where it cannot be had (a cache that is not to be written) all stays correct."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only who fetches

    path = cache_folder() / "locks" / f"{hashlib.sha256(os.fsencode(target)).hexdigest()[:32]}.lock"
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path, timeout=0))
        except Timeout:
            progress.note(waiting)
            stack.enter_context(FileLock(path))
        except (OSError, NotImplementedError):
            pass
        yield
