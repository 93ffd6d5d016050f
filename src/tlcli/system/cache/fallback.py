"""The fallback while the cache cannot be written: memory, or a temporary folder that lives as long as this process."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tlcli.errors import ModelError, ResourceError
from tlcli.progress import Progress
from tlcli.system.files import cache_folder

_UNAVAILABLE = frozenset(
    {
        errno.EROFS, errno.EACCES, errno.EPERM,  # read-only
        errno.ENOTDIR, errno.EEXIST,  # a file has the name of a folder
        errno.ENOENT, errno.ESTALE, errno.ENOTCONN,  # deleted meanwhile; a network disk that is disconnected
    }
)  # fmt: skip
"""Error numbers of an unavailable cache. A full or failing disk is an error, and not among these."""

_reported: set[Path] = set()
"""Caches whose unavailability was reported."""
_moved: dict[Path, Path] = {}
"""The fallback path of each path in the cache that could not be written."""
_folders: list[Path] = []
"""The temporary folder of this process, once there is one."""


def cache_unavailable(error: OSError | ResourceError, progress: Progress) -> bool:
    """Returns whether an error means that the cache cannot be written and work goes on without it; reports it once."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if not isinstance(cause, OSError) or cause.errno not in _UNAVAILABLE:
        return False
    if cache_folder() not in _reported:
        _reported.add(cache_folder())
        progress.note(
            f"The cache {cache_folder()} cannot be written ({cause.strerror}): nothing is kept for later commands. "
            "Make it a writable folder, or set TLCLI_CACHE to another."
        )
    return True


def actual_path(path: Path) -> Path:
    """Returns where a path of the cache really is: there, or in the fallback folder of this process."""
    return _moved.get(path, path)


def create_in_cache(path: Path, create: Callable[[Path], None], progress: Progress) -> Path:
    """Creates a file or folder of the cache; where the cache cannot be written, in the fallback folder.

    Args:
        path: in the cache.
        create: creates it at the path it is given, whole or not at all.
        progress: receives a note where it is not kept.

    Returns:
        The path where it is.
    """
    try:
        create(path)
    except (OSError, ResourceError) as error:
        if not cache_unavailable(error, progress):
            raise
    else:
        _moved.pop(path, None)
        return path
    import tempfile  # noqa: PLC0415 - rarely needed

    if not _folders:
        _folders.append(Path(tempfile.mkdtemp(prefix="tlcli-")))
    fallback = _folders[0] / path.parent.name / path.name
    create(fallback)
    _moved[path] = fallback
    return fallback


@contextmanager
def report_deletion(folder: Path) -> Iterator[None]:
    """Turns the error of a process that wrote into a folder into FileNotFoundError where the folder was deleted.

    Raises:
        FileNotFoundError: the body failed, and the folder is gone.
    """
    try:
        yield
    except ModelError as error:
        if folder.is_dir():
            raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder)) from error


def remove_fallback() -> None:
    """Removes the fallback folder of this process with its content."""
    _moved.clear()
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)
