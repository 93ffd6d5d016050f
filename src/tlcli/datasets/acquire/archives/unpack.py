"""Unpacks archives that may be malicious: one bad member refuses the whole archive before anything is written."""

import errno
import hashlib
import lzma
import os
import re
import shlex
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tlcli.datasets.acquire.archives.archive import Member, RefusedError, damaged, in_parts, unsupported
from tlcli.datasets.acquire.archives.checks import DEFAULT_LIMITS, UnpackLimits, checked, folders_above
from tlcli.datasets.acquire.archives.name_encoding import encoding_note, find_encoding, wrong_encoding
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
    encoding: str | None = None,
) -> dict[str, str]:
    """Unpacks the files of a zip or tar archive into ``target``, a directory of the caller's.

    Args:
        archive: the file.
        target: where the files go; left incomplete if this raises.
        subdirs: only the contents of the first of these directories that the archive has are unpacked; "" is all of it.
        limits: what is refused.
        progress: receives every file, and how names are read where the archive does not say it.
        name: of the archive in progress, hints and messages about the disk, where its file has another.
        encoding: of names that are not marked as UTF-8; None guesses it where they are not valid UTF-8.

    Returns:
        The sha256 of each file, by its path below ``target``.

    Raises:
        RefusedError: not an archive, a damaged one (:class:`DamagedError`), or one with a member that is not a regular
            file or directory inside it.
        DataError: an archive beyond the limits, without files, or with names in an unclear encoding.
        ResourceError: the disk has no room for what the archive holds.
    """
    with _opened(archive, name, encoding) as reader:
        found, notes = _checked(reader, archive.stat().st_size, limits)
        for note in notes:
            progress.note(f"{name or archive.name}: {note}")
        files = _below(found, subdirs)
        need_room(target, sum(member.size for member in files.values()), f"Unpacking {name or archive.name}")
        with progress.stage(f"Unpacking {name or archive.name}", len(files), "files"):
            return _write(reader, files, target, progress)


def _checked(reader: Zip | Tar, packed: int, limits: UnpackLimits) -> tuple[dict[str, Member], tuple[str, ...]]:
    """The files of an archive by their paths, and how their names are read where the archive does not say it."""
    if isinstance(reader, Zip):
        notes = reader.read_names()
        return checked((member for member, _ in reader.members()), packed, limits), notes
    given = reader.encoding
    found = checked((member for member, _ in reader.members()), packed, limits)
    names = {os.fsencode(path) for path in found if not path.isascii() and _is_no_text(path)}
    if names and given:
        raise wrong_encoding(min(names), given)
    if names:
        reader.encoding = find_encoding(names, on_windows=False)
        found = checked((member for member, _ in reader.members()), packed, limits)
    return found, (encoding_note(reader.encoding, is_guess=given is None),) if reader.encoding else ()


def _is_no_text(name: str) -> bool:
    """Whether a name has bytes that are not in its encoding."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


def is_archive(path: Path) -> bool:
    """Whether a file is an archive of a supported kind."""
    try:
        check_is_archive(path)
    except DataError:
        return False
    return True


def check_is_archive(path: Path) -> None:
    """Checks that a file is an archive of a supported kind.

    Raises:
        DataError: it is not, or it does not exist.
    """
    with _opened(path):
        pass


@contextmanager
def _opened(path: Path, name: str = "", encoding: str | None = None) -> Iterator[Zip | Tar]:
    """Opens an archive; what is found wrong with it meanwhile is raised as a DataError."""
    if not path.is_file():
        raise DataError("data.archive_not_found", f"There is no archive {path}.")
    try:
        with path.open("rb") as file:
            try:
                yield _reader(file, encoding)
            except _reading_errors() as error:
                raise damaged(str(error)) from error
            except OSError as error:
                if error.errno is None:  # gzip's and bzip2's own
                    raise damaged(str(error)) from error
                if error.errno in _BAD_NAME and error.filename:
                    raise unsupported(Path(error.filename).name, error.strerror or "it cannot be written") from error
                raise
    except DataError as error:
        raise type(error)(
            error.code, f"{path}: {error.message}", _with_paths(error.hint, Path(name or path))
        ) from error


def _with_paths(hint: str, archive: Path) -> str:
    """The hint with the archive in the place of FILE, and a folder beside it in that of FOLDER."""
    stem = archive.name.removesuffix(archive.suffix).removesuffix(".tar")
    folder = archive.with_name(stem if stem != archive.name else f"{stem}-unpacked")
    if re.search(r"\.(tar|tgz)(\.|$)", archive.name, re.IGNORECASE):
        hint = hint.replace("7z x FILE -oFOLDER", "mkdir FOLDER && tar -xf FILE -C FOLDER")
    return hint.replace("FILE", shlex.quote(str(archive))).replace("FOLDER", shlex.quote(str(folder)))


_BAD_NAME = (errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
"""What systems say of names that a disk cannot hold, or cannot tell from another."""


def _reader(file: BinaryIO, encoding: str | None = None) -> Zip | Tar:
    """The reader for the kind of archive that the content says."""
    head = file.read(512)
    if not head:
        raise RefusedError("data.not_an_archive", "The file is empty.", "Download or copy it again.")
    if (text := head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()).startswith((b"<!doctype html", b"<html")):
        raise RefusedError(
            "data.archive_is_web_page",
            "It is a web page, not an archive: its address shows something to read, or asks to sign in.",
            "Download the archive itself: open the address in a browser, and use the address of its download.",
        )
    if text.startswith(b"version https://git-lfs"):
        raise RefusedError(
            "data.archive_is_lfs_pointer",
            "It is a pointer of Git LFS, not the archive that it stands for.",
            "Run git lfs pull in its repository.",
        )
    is_zip = head.startswith((b"PK\x03\x04", b"PK\x05\x06"))
    if not is_zip and is_tar(file):
        return Tar(file, encoding)
    if head.startswith(b"PK\x07\x08") or (is_zip and _PART.search(str(file.name))):
        raise in_parts()
    if is_zip or zipfile.is_zipfile(file):
        return Zip(file, encoding)
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8")):
        hint = "Give the folder of all images instead, with --from or as dataset.path."
        raise RefusedError("data.not_an_archive", "It is an image, not an archive of images.", hint)
    if kind := next((kind for mark, kind in _OTHERS.items() if head.startswith(mark)), None):
        program = "unrar x FILE FOLDER/" if kind == "a RAR archive" else "7z x FILE -oFOLDER"
        raise RefusedError(
            "data.archive_unsupported",
            f"It is {kind}; read are {_READ}.",
            f"Unpack it yourself: {program}, and give the folder: --from FOLDER, or as dataset.path.",
        )
    raise RefusedError("data.not_an_archive", f"It is no archive of these (by its content): {_READ}.")


_PART = re.compile(r"\.(\d{3}|z\d\d)$", re.IGNORECASE)
"""Names of parts: pets.zip.001, pets.z01."""
_READ = "zip, tar, tar.gz, tar.xz, tar.zst and tar.bz2"
_OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"Rar!\x1a\x07": "a RAR archive", b"MSCF": "a cabinet of Windows",
    b"!<arch>\n": "an ar archive",
}  # fmt: skip
"""What other programs unpack, by its first bytes."""


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
