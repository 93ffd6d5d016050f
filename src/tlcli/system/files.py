"""Files that are either whole or not there: temporary name, fsync, rename, fsync of the folder."""

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

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says when a disk, or a user's share of it, is full."""

FAILED = frozenset(
    getattr(errno, name)
    for name in (
        "EFBIG", "EIO", "EROFS", "ENXIO", "ENODEV", "ESTALE", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "ETIMEDOUT",
        "EREMOTEIO",
    )
    if hasattr(errno, name)
)  # fmt: skip
"""What it says when a file grows beyond a limit, and when a disk is broken, not to be written or gone."""

GONE = FAILED - {errno.EFBIG, errno.EIO, errno.EROFS, errno.ENXIO}
"""What it says of files whose disk is no longer there. EIO may be one bad place or all of it, and ENXIO a socket."""


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
        ResourceError: the disk is full, broken or gone, or the folder cannot be made; the message names the path.
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
        with suppress(OSError):  # what is no longer there, or a disk that is gone: the first error counts
            temporary.unlink()


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


def open_regular(path: Path) -> io.FileIO:
    """Opens a file to be read, unbuffered, if it is one: a named pipe would wait for ever, and a device need not end.

    Raises:
        OSError: it is none, or cannot be read.
    """
    waits_not = getattr(os, "O_NONBLOCK", 0)  # for somebody to write into a pipe; files do not know it
    file = io.FileIO(path, "rb", opener=lambda name, flags: os.open(name, flags | waits_not))
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a file, if it is one and has at most so many.

    Raises:
        OSError: it is none, has more, or cannot be read.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size <= most:
            data = file.read()
            if len(data) <= most:  # it may have grown
                return data
    raise OSError(errno.EFBIG, f"it has more than {readable(most)}", str(path))


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


def disk_problem(error: OSError, path: Path) -> ResourceError | None:
    """What to tell where writing ``path`` failed; None where its disk is not to blame.

    The system's own error names no path where writing itself fails, as a file that is open has none.
    """
    if error.errno in FULL:
        return disk_full(path)
    elsewhere = isinstance(error.filename, str) and not Path(error.filename).is_relative_to(path.parent)
    if error.errno not in FAILED or elsewhere:
        return None
    return ResourceError(
        f"{path} could not be written: {error.strerror}. Mend or reconnect its disk, or point --runs-dir, "
        "dataset.path or $TLCLI_CACHE to another, and run the command again; what was computed is kept."
    )


def disk_unreadable(error: OSError, path: Path) -> ResourceError:
    """The error for a disk that does not give what is on it."""
    mend = "Mend or reconnect its disk" if error.errno in FAILED else "Mend that"
    return ResourceError(
        f"{path} could not be read: {error.strerror}. {mend}, and run the command again; what was computed is kept."
    )


def check_disk(unreadable: Mapping[str, str], count: int, root: Path) -> None:
    """Tells a disk that fails from files that are broken: more than a tenth of them could not be read from it.

    Args:
        unreadable: files below ``root``, and why each was not read.
        count: of all files.
        root: their folder.

    Raises:
        ResourceError: it is the disk.
    """
    words = os.strerror(errno.EIO)
    failed = [name for name, reason in unreadable.items() if words in reason]
    if len(failed) * 10 > count:
        raise ResourceError(
            f"{len(failed):,} of {count:,} images could not be read from their disk, for example "
            f"{root / failed[0]}: {words}. Mend or reconnect it, and run the command again; what was computed is kept."
        )


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
    with open_regular(path) as file:
        piece = memoryview(bytearray(min(_PIECE, path.stat().st_size or _PIECE)))
        while count := file.readinto(piece):
            digest.update(piece[:count])
    return digest.hexdigest()
