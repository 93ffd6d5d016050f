"""Folders of the cache that are written once: whole or not at all, with the digests of their files."""

import errno
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tlcli.progress import SILENT, Progress
from tlcli.system.cache.entries import staging_path
from tlcli.system.cache.fallback import create_in_cache
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.files import disk_problem, sha256_file, sync_folder, write_text

DIGESTS = "digests.json"
"""The file with the digests of the others."""


def kept(folder: Path, write: Callable[[Path], None], files: Sequence[str], progress: Progress = SILENT) -> Path:
    """Writes a folder of the cache atomically; several processes may write the same one.

    Args:
        folder: its path in the cache; if the cache is not writable, a temporary folder of this process replaces it.
        write: writes the files into the folder that it receives.
        files: their names.
        progress: receives a note if the folder is temporary.

    Returns:
        The folder where it is.

    Raises:
        ResourceError: the disk is full, broken or gone.
    """
    mark_in_use(folder)
    return create_in_cache(folder, lambda path: _write_folder(path, write, files), progress)


def _write_folder(folder: Path, write: Callable[[Path], None], files: Sequence[str]) -> None:
    staging = staging_path(folder)
    try:
        staging.mkdir(parents=True)
        write(staging)
        digests = {name: sha256_file(staging / name) for name in files}
        write_text(staging / DIGESTS, json.dumps(digests))
        _publish(staging, folder, files)
        sync_folder(folder.parent)
    except OSError as error:
        if problem := disk_problem(error, folder):
            raise problem from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(staging: Path, folder: Path, files: Sequence[str]) -> None:
    """Renames the staging folder; an existing folder stays if it is intact, and is replaced if it is damaged."""
    while True:
        try:
            staging.replace(folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if is_whole(folder, files):  # another process was first
            return
        damaged = staging_path(folder)
        with suppress(FileNotFoundError):  # another process removed it
            folder.replace(damaged)  # one step, so that no process sees half of it
        shutil.rmtree(damaged, ignore_errors=True)


def is_whole(folder: Path, files: Sequence[str]) -> bool:
    """Whether all files of a folder of the cache are present and match their recorded digests."""
    try:
        digests = json.loads((folder / DIGESTS).read_text())
        return all(sha256_file(folder / name) == digests[name] for name in files)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
