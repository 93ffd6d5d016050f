"""Files that are either whole or not there: temporary name, fsync, rename, fsync of the folder."""

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlcli.errors import ResourceError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says when a disk, or a user's share of it, is full."""


def cache_folder() -> Path:
    """``$TLCLI_CACHE``, or the platform's cache folder for tlcli."""
    if configured := os.environ.get("TLCLI_CACHE"):
        try:
            return Path(configured).expanduser()
        except RuntimeError as error:
            raise ResourceError(
                f"There is no home folder for $TLCLI_CACHE={configured}; set it to the whole path of a folder."
            ) from error
    import platformdirs  # noqa: PLC0415 - only where the variable is not set

    return Path(platformdirs.user_cache_dir("tlcli", appauthor=False))


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; what is written there appears at ``path`` at the end, or not at all.

    Raises:
        ResourceError: the disk is full, or the folder cannot be made; the message names the path.
    """
    make_folder(path.parent)
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


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, where they are not there.

    Raises:
        ResourceError: it cannot be made; the message names it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(folder) from error
        raise ResourceError(
            f"The folder {folder} cannot be made: {error.strerror}. Point --runs-dir, dataset.path or $TLCLI_CACHE, "
            "whichever it belongs to, to a place that can be written."
        ) from error


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


def sync_disk(folder: Path) -> None:
    """Makes all files below ``folder`` survive a power cut, where fsync of each would take minutes for thousands.

    Raises:
        OSError: something could not be written.
    """
    if sys.platform.startswith("linux"):  # of the other systems none has a call for one disk
        import ctypes  # noqa: PLC0415 - 10 ms that few commands need

        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
        finally:
            os.close(descriptor)
    elif hasattr(os, "sync"):
        os.sync()


def free_bytes(path: Path) -> int:
    """What is free on the disk where ``path`` is, or will be."""
    return shutil.disk_usage(next(p for p in [path, *path.absolute().parents] if p.exists())).free


def need_room(path: Path, needed: int, what: str) -> None:
    """Checks that ``needed`` bytes are free where ``path`` will be.

    Raises:
        ResourceError: less is free; the message names both.
    """
    if needed > (free := free_bytes(path)):
        raise ResourceError(
            f"{what} needs {readable(needed)} at {path.parent}, and {readable(free)} are free there. "
            "Free some space, or set dataset.path to another disk."
        )


def readable(count: int) -> str:
    """Bytes for people: 14.8 MB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def disk_full(path: Path) -> ResourceError:
    """The error for a full disk, with what is free there."""
    return ResourceError(
        f"The disk is full: {path} could not be written ({readable(free_bytes(path))} free). "
        "Free some space, or point --runs-dir, dataset.path or $TLCLI_CACHE to another disk."
    )


_PIECE = 16 << 20


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes.

    In pieces large enough that a thread beside others asks for the interpreter's lock a few times and not hundreds:
    :func:`hashlib.file_digest` takes 256 KB, and waits up to 5 ms for each.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        piece = memoryview(bytearray(min(_PIECE, path.stat().st_size or _PIECE)))
        while count := file.readinto(piece):
            digest.update(piece[:count])
    return digest.hexdigest()
