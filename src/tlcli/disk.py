"""Files that are either whole or not there: temporary name, fsync, rename, fsync of the folder."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlcli.errors import ResourceError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says when a disk, or a user's share of it, is full."""


def cache_folder() -> Path:
    """``$TLCLI_CACHE``, or the platform's cache folder for tlcli."""
    if configured := os.environ.get("TLCLI_CACHE"):
        return Path(configured).expanduser()
    import platformdirs  # noqa: PLC0415 - only where the variable is not set

    return Path(platformdirs.user_cache_dir("tlcli", appauthor=False))


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; what is written there appears at ``path`` at the end, or not at all.

    Raises:
        ResourceError: the disk is full; the message names the path and what is free.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(3).hex()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(path) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text with ``\\n`` line ends, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(text.encode())


def sync_folder(folder: Path) -> None:
    """Makes a rename in ``folder`` survive a power cut (Windows cannot open folders, and does not need it)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_full(path: Path) -> ResourceError:
    """The error for a full disk, with what is free there."""
    free = shutil.disk_usage(next(p for p in [path, *path.parents] if p.exists())).free
    return ResourceError(
        f"The disk is full: {path} could not be written ({free / 1e6:.0f} MB free). "
        "Free some space, or point --runs-dir, dataset.path or $TLCLI_CACHE to another disk."
    )


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
