"""The fallback while the cache cannot be written: a temporary folder that lives as long as this process."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

from tlcli.errors import ResourceError
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

_folders: list[Path] = []
"""The temporary folder of this process, once there is one."""


def actual_path(path: Path) -> Path:
    """Returns where a path of the cache really is: there, or in the fallback folder of this process."""
    fallbacks = [_fallback_path(folder, path) for folder in _folders]
    return next((fallback for fallback in fallbacks if fallback.exists()), path)


def create_in_cache(path: Path, create: Callable[[Path], None], progress: Progress) -> Path:
    """Creates a file or folder of the cache; where the cache cannot be written, in the fallback folder.

    Args:
        path: in the cache.
        create: creates it at the path it is given, whole or not at all.
        progress: receives one note in the life of the fallback folder.

    Returns:
        The path where it is.
    """
    try:
        create(path)
        return path
    except (OSError, ResourceError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _UNAVAILABLE:
            raise
        reason = cause.strerror
    if not _folders:
        import tempfile  # noqa: PLC0415 - rarely needed

        _folders.append(Path(tempfile.mkdtemp(prefix="tlcli-")))
        progress.note(
            f"The cache {cache_folder()} cannot be written ({reason}): nothing is kept for later commands. "
            "Make it a writable folder, or set TLCLI_CACHE to another."
        )
    fallback = _fallback_path(_folders[0], path)
    create(fallback)
    return fallback


def need_cache(what: str) -> None:
    """Checks that the cache can be written, for work that has no fallback.

    Args:
        what: that needs it, for a sentence: ``Fine-tuning``.

    Raises:
        ResourceError: it cannot.
    """
    import tempfile  # noqa: PLC0415 - as above

    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache_folder()):
            pass
    except OSError as error:
        raise ResourceError(
            "resource.cache_not_writable", f"{what} needs the cache, and {cache_folder()} cannot be written: "
            f"{error.strerror}.", "Make it a writable folder, or set TLCLI_CACHE to another.",
        ) from error  # fmt: skip


def _fallback_path(folder: Path, path: Path) -> Path:
    return folder / path.parent.name / path.name


def remove_fallback() -> None:
    """Removes the fallback folder of this process with its content."""
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)
