"""Unpacks archives that may be malicious: one bad member refuses the whole archive before anything is written."""

import errno
import hashlib
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tlcli.datasets.acquire.archives.archive import Member, RefusedError, damaged, unsupported
from tlcli.datasets.acquire.archives.checks import DEFAULT_LIMITS, UnpackLimits, checked, folders_above
from tlcli.datasets.acquire.archives.tar_reader import Tar, is_tar
from tlcli.datasets.acquire.archives.zip_reader import Zip
from tlcli.errors import DataError
from tlcli.progress import SILENT, Progress
from tlcli.system.files import need_room


def unpack(
    archive: Path,
    target: Path,
    subdirs: Sequence[str] = ("",),
    limits: UnpackLimits = DEFAULT_LIMITS,
    progress: Progress = SILENT,
    name: str = "",
) -> dict[str, str]:
    """Unpacks the files of a zip or tar archive into ``target``, a directory of the caller's.

    Args:
        archive: the file.
        target: where the files go; left incomplete if this raises.
        subdirs: only the contents of the first of these directories that the archive has are unpacked; "" is all of it.
        limits: what is refused.
        progress: receives every file.
        name: of the archive in progress and messages about the disk, where its file has another.

    Returns:
        The sha256 of each file, by its path below ``target``.

    Raises:
        RefusedError: not an archive, a damaged one (:class:`DamagedError`), or one with a member that is not a regular
            file or directory inside it.
        DataError: an archive beyond the limits, or without files.
        ResourceError: the disk has no room for what the archive holds.
    """
    with _opened(archive) as reader:
        found = checked((member for member, _ in reader.members()), archive.stat().st_size, limits)
        files = _below(found, subdirs)
        need_room(target, sum(member.size for member in files.values()), f"Unpacking {name or archive.name}")
        with progress.stage(f"Unpacking {name or archive.name}", len(files), "files"):
            return _write(reader, files, target, progress)


def is_archive(path: Path) -> bool:
    """Whether a file is an archive of a supported kind."""
    try:
        with _opened(path):
            return True
    except DataError:
        return False


@contextmanager
def _opened(path: Path) -> Iterator[Zip | Tar]:
    """Opens an archive; what is found wrong with it meanwhile is raised as a DataError."""
    if not path.is_file():
        raise DataError("data.archive_not_found", f"There is no archive {path}.")
    try:
        with path.open("rb") as file:
            try:
                yield _reader(file)
            except _reading_errors() as error:
                raise damaged(str(error)) from error
            except OSError as error:
                if error.errno is None:  # gzip's and bzip2's own
                    raise damaged(str(error)) from error
                if error.errno in _BAD_NAME and error.filename:
                    raise unsupported(Path(error.filename).name, error.strerror or "it cannot be written") from error
                raise
    except DataError as error:
        raise type(error)(error.code, f"{path}: {error.message}", error.hint) from error


_BAD_NAME = (errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
"""What systems say of names that a disk cannot hold, or cannot tell from another."""


def _reader(file: BinaryIO) -> Zip | Tar:
    """The reader for the kind of archive that the content says."""
    head = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"7z\xbc\xaf\x27\x1c", b"rar!\x1a\x07")):
        raise RefusedError(
            "data.archive_unsupported",
            "It is a 7z or RAR archive; supported are zip, tar, tar.gz, tar.xz, tar.zst and tar.bz2.",
            "Unpack it yourself, and give the directory with --from.",
        )
    if head.startswith((b"<!doctype html", b"<html")):
        raise RefusedError(
            "data.archive_is_web_page",
            "It is a web page, not an archive: its address shows something to read, or asks to sign in.",
            "Give the address of the archive itself.",
        )
    is_zip = head.startswith((b"pk\x03\x04", b"pk\x05\x06"))
    if not is_zip and is_tar(file):
        return Tar(file)
    if is_zip or zipfile.is_zipfile(file):
        return Zip(file)
    raise RefusedError("data.not_an_archive", "It is neither a zip nor a tar archive (by its content).")


def _reading_errors() -> tuple[type[Exception], ...]:
    import zstandard  # noqa: PLC0415 - 8 ms that few commands need

    return zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError


def _below(files: Mapping[str, Member], subdirs: Sequence[str]) -> dict[str, Member]:
    for subdir in subdirs:
        folder = str(PurePosixPath(subdir)) + "/" if subdir else ""
        if below := {path.removeprefix(folder): files[path] for path in files if path.startswith(folder)}:
            return below
    if not files:
        raise DataError("data.archive_empty", "The archive holds no file.")
    there = sorted({folder for path in files for folder in folders_above(path)}, key=lambda f: (f.count("/"), f))
    listed = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "") or "none"
    raise DataError(
        "data.archive_subdir_not_found",
        f"The archive has no directory '{subdirs[0]}' (subdir of the source); its directories: {listed}.",
    )


def _write(reader: Zip | Tar, files: Mapping[str, Member], target: Path, progress: Progress) -> dict[str, str]:
    """Writes the files, one after the other: threads would wait for each other's Python more than they gain."""
    for folder in sorted({path.rpartition("/")[0] for path in files}):
        os.makedirs(os.path.join(target, folder), exist_ok=True)  # noqa: PTH103, PTH118 - pathlib takes tenfold
    paths = {member: path for path, member in files.items()}
    digests = {}
    for member, chunks in reader.members():
        if path := paths.get(member):
            digests[path] = _save(chunks, f"{target}/{path}")
            progress.advance()
    if len(digests) < len(files):
        raise damaged("it changed while it was read")
    return digests


def _save(chunks: Iterator[bytes], path: str) -> str:
    """Writes a file that must not exist yet, and returns its sha256."""
    digest = hashlib.sha256()
    with open(path, "xb") as file:  # noqa: PTH123 - pathlib takes time for each of many files
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
