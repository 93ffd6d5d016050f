"""Unpacks archives that may be hostile: every member is checked first, and one bad member refuses the whole archive."""

import errno
import hashlib
import itertools
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from tlcli.datasets.acquire.archives.archive import Archive, BrokenError, HostileError, Member
from tlcli.datasets.acquire.archives.opened import opened
from tlcli.errors import DataError
from tlcli.progress import SILENT, Progress
from tlcli.system.cpu import threads
from tlcli.system.files import need_room

_MOST_THREADS = 4
_BATCH = 250
"""Members that a thread takes at once: fewer cost time in handing over, more make progress jump."""
_FREE_OF_RATIO = 2**26


@dataclass(frozen=True)
class Limits:
    """What an archive may hold; declared sizes are not believed, bytes are counted as they come."""

    members: int = 2_000_000
    total_bytes: int = 200 * 10**9
    ratio: float = 200.0
    """Unpacked bytes a packed byte (above 64 MiB unpacked, so that small files may be as they like)."""


class DamagedError(DataError):
    """The archive is not as it was made; another copy may be."""


class RefusedError(DataError):
    """The archive holds what none should."""


class _BeyondLimitsError(HostileError):
    """It would be taken with other limits."""


@dataclass(frozen=True)
class _File:
    path: str
    """Below the target, with ``/``."""
    member: Member


def unpack(
    archive: Path,
    target: Path,
    subdirs: Sequence[str] = ("",),
    limits: Limits = Limits(),
    progress: Progress = SILENT,
    name: str = "",
) -> dict[str, str]:
    """Unpacks the files of a zip or tar archive into ``target``, a folder of the caller's.

    Args:
        archive: the file.
        target: where the files go; left incomplete if this raises.
        subdirs: only what lies below the first of these folders that the archive has; "" is all of it.
        limits: what is refused.
        progress: told of every file.
        name: of the archive, for people, where its file has another.

    Returns:
        The sha256 of each file, by its path below ``target``.

    Raises:
        DataError: not an archive, a damaged one, or one with a member that is not a plain file or folder inside it.
        ResourceError: the disk has no room for what the archive holds.
    """
    try:
        reader = opened(archive)
        with closing(reader.members()) as members:
            files = _below(archive, _checked(archive, members, limits), subdirs)
        need_room(target, sum(file.member.size for file in files), f"Unpacking {name or archive.name}")
        _make_folders(files, target)
        with progress.stage(f"Unpacking {name or archive.name}", len(files), "files"):
            return _write(reader, files, target, progress)
    except _BeyondLimitsError as error:
        raise DataError(str(_refused(archive, error))) from error  # another config may allow it
    except HostileError as error:
        raise _refused(archive, error) from error
    except BrokenError as error:
        raise DamagedError(f"The archive {archive} is damaged: {error}. Fetch it again.") from error
    except OSError as error:
        if error.errno not in _BAD_NAME or error.filename is None:
            raise
        name = os.path.relpath(error.filename, target)
        raise _refused(archive, HostileError(name, _BAD_NAME[error.errno])) from error


def is_archive(path: Path) -> bool:
    """Whether a file is an archive of a kind that is read here."""
    try:
        opened(path)
    except (DataError, BrokenError):
        return False
    return True


_BAD_NAME = {
    errno.EEXIST: "a file of that name is there already",
    errno.ENOTDIR: "a file is there where a folder is needed",
    errno.ENAMETOOLONG: "its name is too long for this disk",
    errno.EILSEQ: "this disk cannot hold a file of that name",
    errno.EINVAL: "this disk cannot hold a file of that name",
}


def _refused(archive: Path, error: HostileError) -> RefusedError:
    name = error.name if len(error.name) <= _SHOWN else error.name[:_SHOWN] + "..."
    return RefusedError(f"The archive {archive} is refused, nothing was unpacked: member {name!r}: {error.reason}.")


_SHOWN = 200


def _checked(archive: Path, members: Iterable[Member], limits: Limits) -> list[_File]:
    """Every regular file of the archive, after all members have been found harmless."""
    files: dict[str, _File] = {}
    folders: set[str] = set()
    declared, packed, named = 0, archive.stat().st_size, 0
    for number, member in enumerate(members, 1):
        path = _inside(member.name)
        declared += member.size
        if declared > limits.total_bytes or (declared > _FREE_OF_RATIO and declared > limits.ratio * packed):
            raise _BeyondLimitsError(
                member.name, f"it expands beyond the limits ({declared:,} bytes; see dataset.limits)"
            )
        key = unicodedata.normalize("NFC", path).casefold()
        if member.is_file:
            if key in files or not path:
                raise HostileError(member.name, "another member has the same name" if path else "it has no name")
            files[key] = _File(path, member)
        new = list(_new_folders(key if member.is_file else f"{key}/", folders))
        folders.update(new)
        named += len(path) + sum(map(len, new))
        if max(number, len(folders)) > limits.members or named > _NAME * limits.members:
            raise DataError(
                f"The archive {archive} has more than {limits.members:,} members or folders, or names as long as those "
                "of so many (see dataset.limits)."
            )
    if clash := folders & files.keys():
        raise HostileError(files[min(clash)].path, "it is a file and a folder")
    return list(files.values())


_NAME = 128
"""Characters that a name may have, on average, if an archive has as many as it may: they are kept in memory."""


def _new_folders(path: str, known: Set[str]) -> Iterator[str]:
    """The folders above a path that are not known yet."""
    return itertools.takewhile(lambda folder: folder and folder not in known, _folders(path))


def _inside(name: str) -> str:
    """The path without ``.`` and doubled slashes, which must not lead outside."""
    if len(name) > _LONGEST or name.count("/") > _DEEPEST or max(map(len, name.split("/"))) > _LONGEST_PART:
        raise HostileError(name, "its name is too long")
    if "\0" in name or "\\" in name:
        raise HostileError(name, "its name has a NUL or a backslash")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or (":" in name and PureWindowsPath(name).drive):
        raise HostileError(name, "its name leads outside")
    return "" if path == PurePosixPath() else str(path)


_LONGEST, _LONGEST_PART, _DEEPEST = 4096, 255, 100
"""Characters of a path, characters between its slashes, slashes: the first two are what disks can hold at most."""


def _folders(path: str) -> Iterator[str]:
    """Every folder above a path: a/b/c gives a/b and a."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _below(archive: Path, files: Sequence[_File], subdirs: Sequence[str]) -> list[_File]:
    for subdir in subdirs:
        folder = str(PurePosixPath(subdir)) + "/" if subdir else ""
        if below := [_File(f.path.removeprefix(folder), f.member) for f in files if f.path.startswith(folder)]:
            return below
    if not files:
        raise DataError(f"The archive {archive} holds no file.")
    there = sorted({folder for file in files for folder in _folders(file.path)}, key=lambda f: (f.count("/"), f))
    listed = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "") or "none"
    raise DataError(
        f"The archive {archive} has no folder '{subdirs[0]}' (subdir of the source); folders there: {listed}."
    )


def _make_folders(files: Sequence[_File], target: Path) -> None:
    for folder in sorted({file.path.rpartition("/")[0] for file in files}):
        os.makedirs(os.path.join(target, folder), exist_ok=True)  # noqa: PTH103, PTH118 - a tenth of pathlib's time


def _write(reader: Archive, files: Sequence[_File], target: Path, progress: Progress) -> dict[str, str]:
    paths = {file.member.name: file.path for file in files}

    def write(members: Sequence[Member]) -> dict[str, str]:
        with closing(reader.contents(members)) as contents:
            return {paths[m.name]: _save(chunks, f"{target}/{paths[m.name]}") for m, chunks in contents}

    members = [file.member for file in files]
    digests: dict[str, str] = {}
    if not reader.in_any_order:
        with closing(reader.contents(members)) as contents:
            for member, chunks in contents:
                digests[paths[member.name]] = _save(chunks, f"{target}/{paths[member.name]}")
                progress.advance()
        return digests
    pool = ThreadPoolExecutor(min(_MOST_THREADS, threads()))
    try:
        batches = [pool.submit(write, members[start : start + _BATCH]) for start in range(0, len(members), _BATCH)]
        left = set(batches)
        while left:
            done, left = wait(left, return_when=FIRST_EXCEPTION, timeout=0.1)
            for batch in done:
                digests |= batch.result()
                progress.advance(len(batch.result()))
    finally:
        pool.shutdown(cancel_futures=True)
    return digests


def _save(chunks: Iterator[bytes], path: str) -> str:
    """Writes a file that must not be there yet, and gives its sha256."""
    hashing = hashlib.sha256()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        for chunk in chunks:
            hashing.update(chunk)
            _write_all(file, chunk)
    finally:
        os.close(file)
    return hashing.hexdigest()


def _write_all(file: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(file, rest) :]
