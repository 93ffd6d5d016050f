"""Where things go while the cache cannot be written: memory, or a folder that lives as long as this process."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tlcli.errors import ModelError, ResourceError
from tlcli.progress import Progress
from tlcli.system.files import cache_folder

_REFUSED = frozenset(
    {
        errno.EROFS, errno.EACCES, errno.EPERM,  # not to be written
        errno.ENOTDIR, errno.EEXIST,  # a file has the place of a folder
        errno.ENOENT, errno.ESTALE, errno.ENOTCONN,  # removed meanwhile; a network's disk that is gone
    }
)  # fmt: skip
"""What the system says of a cache that is not to be had. A full or failing disk is an error, and not among these."""

_TOLD: set[Path] = set()
"""Caches of which it was told."""
_PLACES: dict[Path, Path] = {}
"""Where that is which belongs at a path of the cache."""
_folders: list[Path] = []
"""The folder for this process, once there is one."""


def refused(error: OSError | ResourceError, progress: Progress) -> bool:
    """Whether the cache cannot be written, and work goes on without it; told of once."""
    system = error if isinstance(error, OSError) else error.__cause__  # what a ResourceError was made of
    if not isinstance(system, OSError) or system.errno not in _REFUSED:
        return False
    if cache_folder() not in _TOLD:
        _TOLD.add(cache_folder())
        progress.note(
            f"The cache {cache_folder()} cannot be written ({system.strerror}): what is computed is not kept for later "
            "commands. To keep it, make it a folder that you may write to, or set TLCLI_CACHE to another."
        )
    return True


def place_of(path: Path) -> Path:
    """Where that is which belongs at a path of the cache: there, or in the folder for this process."""
    return _PLACES.get(path, path)


def made(path: Path, make: Callable[[Path], None], progress: Progress) -> Path:
    """Makes a file or folder of the cache; where that cannot be written, in a folder for this process.

    Args:
        path: its place in the cache.
        make: makes it at the path it is given, whole or not at all.
        progress: told where it is not kept.

    Returns:
        where it is.
    """
    try:
        make(path)
    except (OSError, ResourceError) as error:
        if not refused(error, progress):
            raise
    else:
        _PLACES.pop(path, None)
        return path
    import tempfile  # noqa: PLC0415 - only where it is needed

    if not _folders:
        _folders.append(Path(tempfile.mkdtemp(prefix="tlcli-")))
    spare = _folders[0] / path.parent.name / path.name
    make(spare)
    _PLACES[path] = spare
    return spare


@contextmanager
def removed_meanwhile(folder: Path) -> Iterator[None]:
    """Tells a cache that was removed from the errors of the process that wrote there.

    Raises:
        FileNotFoundError: the folder is gone, and the body failed.
    """
    try:
        yield
    except ModelError as error:
        if folder.is_dir():
            raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder)) from error


def forget() -> None:
    """Removes the folder for this process, and what was put there."""
    _PLACES.clear()
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)
