"""Files that are written whole or not at all (temporary name, fsync, rename, fsync of the folder); disk errors."""

import errno
import hashlib
import io
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tlcli.errors import ResourceError
from tlcli.system.addresses import STORES, scheme_of

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of a full disk, or of a user's quota that is used up."""

FAILED = frozenset(
    getattr(errno, name)
    for name in (
        "EFBIG", "EIO", "EROFS", "ENXIO", "ENODEV", "ESTALE", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "ETIMEDOUT",
        "EREMOTEIO",
    )
    if hasattr(errno, name)
)  # fmt: skip
"""Error numbers of a file above a size limit, and of a disk that is broken, read-only or disconnected."""

GONE = FAILED - {errno.EFBIG, errno.EIO, errno.EROFS, errno.ENXIO}
"""Error numbers of a disconnected disk. EIO may be one bad sector or the whole disk, and ENXIO a socket."""


def cache_folder() -> Path:
    """Returns ``$TLCLI_CACHE``, or the platform's cache folder for tlcli where that is not set, or is an address, which
    features alone are kept at (:mod:`tlcli.system.remote.folder`).

    Raises:
        ResourceError: ``$TLCLI_CACHE`` is an address of another kind, or begins with the home folder of a user who has
            none.
    """
    configured = os.environ.get("TLCLI_CACHE", "")
    if (scheme := scheme_of(configured)) and scheme not in STORES:
        raise ResourceError(
            "resource.cache_address",
            f"TLCLI_CACHE is an address of the kind {scheme}://, where features cannot be kept. Allowed: a folder, "
            f"{', '.join(f'{one}://' for one in STORES[:5])}.",
            "Correct TLCLI_CACHE.",
        )
    if configured and not scheme:
        try:
            return Path(configured).expanduser()
        except RuntimeError as error:
            raise ResourceError(
                "resource.no_home_folder",
                f"TLCLI_CACHE={configured} is in the home folder of a user who has none.",
                "Set TLCLI_CACHE to an absolute path.",
            ) from error
    import platformdirs  # noqa: PLC0415 - only where the variable is not set

    return Path(platformdirs.user_cache_dir("tlcli", appauthor=False))


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; what the body writes there appears at ``path``, or not at all.

    Raises:
        ResourceError: the disk is full, broken or disconnected, or the folder cannot be created; the message names
            the path.
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
        if problem := disk_problem(error, path):
            raise problem from error
        raise
    finally:
        with suppress(OSError):  # already renamed, or a disconnected disk: the first error counts
            temporary.unlink()


def make_folder(folder: Path) -> None:
    """Creates a folder and its parents where they are missing.

    Raises:
        ResourceError: the folder cannot be created; the message names it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(folder) from error
        raise ResourceError(
            "resource.folder_not_created",
            f"The folder {folder} cannot be created: {error.strerror}.",
            "Point --runs-dir, dataset.path or TLCLI_CACHE, whichever it belongs to, to a writable folder.",
        ) from error


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text with ``\\n`` line ends, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(text.encode())


def open_regular(path: Path) -> io.FileIO:
    """Opens a regular file for reading, unbuffered; a named pipe would block for ever, and a device may never end.

    Raises:
        OSError: the path is no regular file, or unreadable.
    """
    non_blocking = getattr(os, "O_NONBLOCK", 0)  # opening a pipe returns at once; regular files ignore it
    file = io.FileIO(path, "rb", opener=lambda name, flags: os.open(name, flags | non_blocking))
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_regular(path: Path, most: int) -> bytes:
    """Returns the bytes of a regular file of at most ``most`` bytes.

    Raises:
        OSError: the path is no regular file, larger, or unreadable.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size <= most:
            data = file.read()
            if len(data) <= most:  # it may have grown
                return data
    raise OSError(errno.EFBIG, f"it has more than {format_size(most)}", str(path))


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
    """Makes all files below ``folder`` survive a power cut; one fsync for each of thousands would take minutes.

    Raises:
        OSError: something could not be written.
    """
    if sys.platform.startswith("linux"):  # no other system can flush a single disk
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
    """Returns the free bytes of the disk that holds ``path``, or will hold it."""
    existing = filter(os.path.exists, [path, *path.absolute().parents])  # Path.exists raises where it lacks permission
    return shutil.disk_usage(next(existing)).free


def need_room(
    path: Path, needed: int, what: str, hint: str = "Free some space, or set dataset.path to a folder on another disk."
) -> None:
    """Checks that ``needed`` bytes are free on the disk where ``path`` will be.

    Raises:
        ResourceError: less is free; the message names both.
    """
    if needed > (free := free_bytes(path)):
        raise ResourceError(
            "resource.not_enough_disk_space",
            f"{what} needs {format_size(needed)} in {path.parent}, and {format_size(free)} are free there.",
            hint,
        )


def format_size(count: int) -> str:
    """Formats bytes for people: 14.8 MB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def disk_problem(error: OSError, path: Path) -> ResourceError | None:
    """Returns the error to raise where writing ``path`` failed; None where its disk is not the cause.

    The system's own error names no path where a write to an open file fails.
    """
    if error.errno in FULL:
        return disk_full(path)
    elsewhere = isinstance(error.filename, str) and not Path(error.filename).is_relative_to(path.parent)
    if error.errno not in FAILED or elsewhere:
        return None
    return ResourceError(
        "resource.write_failed",
        f"{path} could not be written: {error.strerror}.",
        "Fix or reconnect its disk, or point --runs-dir, dataset.path or TLCLI_CACHE to another, and run the command "
        "again; everything computed so far is kept.",
    )


def disk_unreadable(error: OSError, path: Path) -> ResourceError:
    """Returns the error to raise where the disk does not return the bytes of ``path``."""
    return ResourceError(
        "resource.unreadable_file",
        f"{path} could not be read: {error.strerror}.",
        f"{'Fix or reconnect its disk' if error.errno in FAILED else 'Fix that'}, and run the command again; "
        "everything computed so far is kept.",
    )


def check_disk(unreadable: Mapping[str, str], count: int, root: Path) -> None:
    """Distinguishes a failing disk from broken files: it fails where more than a tenth of the files gave an I/O error.

    Args:
        unreadable: the reason why a file could not be read, by its path relative to ``root``.
        count: of all files.
        root: their folder.

    Raises:
        ResourceError: the disk fails.
    """
    reason = os.strerror(errno.EIO)
    failed = [name for name, given in unreadable.items() if reason in given]
    if len(failed) * 10 > count:
        raise ResourceError(
            "resource.failing_disk",
            f"{len(failed):,} of {count:,} images could not be read from their disk, for example {root / failed[0]}: "
            f"{reason}.",
            "Fix or reconnect the disk, and run the command again; everything computed so far is kept.",
        )


def disk_full(path: Path) -> ResourceError:
    """Returns the error to raise where the disk of ``path`` is full, with the free space."""
    return ResourceError(
        "resource.disk_full",
        f"The disk is full: {path} could not be written ({format_size(free_bytes(path))} free).",
        "Free some space, or point --runs-dir, dataset.path or TLCLI_CACHE to another disk.",
    )


_CHUNK = 16 << 20


def sha256_file(path: Path) -> str:
    """Returns the hex sha256 of a file's bytes.

    In chunks so large that a thread beside others takes the interpreter lock a few times and not hundreds:
    :func:`hashlib.file_digest` reads 256 KB, and waits up to 5 ms for the lock each time.

    Raises:
        OSError: the path is no regular file, or unreadable.
    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        chunk = memoryview(bytearray(min(_CHUNK, path.stat().st_size or _CHUNK)))
        while count := file.readinto(chunk):
            digest.update(chunk[:count])
    return digest.hexdigest()
