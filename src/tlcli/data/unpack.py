"""Unpacks archives that may be hostile: every member is checked, and one bad member refuses the whole archive.

The standard parsers read the archive, but nothing of their extraction is used: Python 3.11.7's ``tarfile.extractall``
can be led outside, and ``zipfile`` expands overlapping members without limit.
"""

import lzma
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Self, TypeAlias

from tlcli.errors import DataError
from tlcli.progress import SILENT, Progress

_CHUNK = 1 << 20

_DAMAGED = (
    zipfile.BadZipFile, zipfile.LargeZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error,
    EOFError, NotImplementedError, OverflowError, ValueError,
)  # fmt: skip
"""What the standard parsers raise on broken archives; besides, an OSError without a number."""
_READ_WHOLE = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
"""Tar records (long names and the like) that tarfile reads into memory, however long they say they are."""


@dataclass(frozen=True)
class Limits:
    """What an archive may hold; declared sizes are not believed, bytes are counted as they come."""

    members: int = 2_000_000
    total_bytes: int = 200 * 2**30
    ratio: float = 200.0
    """Unpacked bytes a packed byte (above 64 MiB unpacked, so that small files may be as they like)."""


Opener: TypeAlias = zipfile.ZipFile | tarfile.TarFile


@dataclass(frozen=True)
class _Member:
    path: PurePosixPath
    source: zipfile.ZipInfo | tarfile.TarInfo


class _Header(tarfile.TarInfo):
    """A tar header that is checked before tarfile acts on it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As the base class, but a negative size (tarfile would go round in circles) and long records are refused."""
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.size > _CHUNK and header.type in _READ_WHOLE):
            raise tarfile.TarError(f"a header says {header.size:,} bytes")
        return header


def unpack(
    archive: Path, target: Path, subdirs: tuple[str, ...] = (), limits: Limits = Limits(), progress: Progress = SILENT
) -> None:  # fmt: skip
    """Unpacks the files of a zip or tar archive into ``target``, an empty folder of the caller's.

    Args:
        archive: the file.
        target: where the files go; left incomplete if this raises.
        subdirs: only what lies below the first of these folders that the archive has; all of it where it has none.
        limits: what is refused.
        progress: told of every file.

    Raises:
        DataError: not an archive, a damaged one, or one with a member that is not a plain file or folder inside it.
    """
    try:
        with _opened(archive) as opened:
            members = _checked(archive, opened, limits)
            members = _below(members, subdirs)
            with progress.stage(f"Unpacking {archive.name}", len(members), "files"):
                _write(archive, opened, members, target, limits, progress)
    except _DAMAGED as error:
        raise _damaged(archive, error) from error
    except RuntimeError as error:  # what zipfile raises for an encrypted member
        raise DataError(f"The archive {archive} cannot be read: {error}.") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> DataError:
    return DataError(f"The archive {archive} is damaged: {error}. Fetch it again.")


def _opened(archive: Path) -> Opener:
    if not archive.is_file():
        raise DataError(f"There is no archive {archive}.")
    try:
        return tarfile.open(archive, tarinfo=_Header)  # first, since a tar that ends in a small zip passes for a zip
    except tarfile.ReadError:
        if zipfile.is_zipfile(archive):
            return zipfile.ZipFile(archive)
        raise DataError(f"{archive} is neither a zip nor a tar archive (by its content).") from None


def _checked(archive: Path, opened: Opener, limits: Limits) -> list[_Member]:
    """Every regular file of the archive, after all members have been found harmless."""
    files: dict[str, _Member] = {}
    declared = 0
    for number, source in enumerate(_sources(archive, opened), 1):
        name, is_file, size = _kind(archive, source)
        path = _inside(archive, name)
        declared += size
        _refuse_size(archive, name, declared, limits)
        if number > limits.members:
            raise DataError(f"The archive {archive} has more than {limits.members} members.")
        key = unicodedata.normalize("NFC", path.as_posix()).casefold()
        if is_file:
            if key in files or not path.parts:
                raise _refused(archive, name, "another member has the same name" if path.parts else "it has no name")
            files[key] = _Member(path, source)
    folders = {folder.as_posix() for key in files for folder in PurePosixPath(key).parents}
    if clash := folders & files.keys():
        raise _refused(archive, str(files[min(clash)].path), "it is a file, and others lie below it")
    return list(files.values())


def _sources(archive: Path, opened: Opener) -> Iterator[zipfile.ZipInfo | tarfile.TarInfo]:
    if isinstance(opened, zipfile.ZipFile):
        _refuse_overlap(archive, opened.infolist())
        yield from opened.infolist()
    else:
        yield from opened  # one by one: a member is looked at before tarfile passes over its content
        _check_end(opened)


def _check_end(opened: tarfile.TarFile) -> None:
    """tarfile takes a broken header, or a file cut off at one, for the end; a whole archive has zeros there."""
    file = opened.fileobj
    if file is None:
        raise TypeError(opened)
    file.seek(opened.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")
    for _ in range(64):  # MiB of padding at most; the checksum of a compressed archive is compared at the very end
        if not file.read(_CHUNK):
            return
    raise tarfile.ReadError("it goes on after its end")


def _kind(archive: Path, source: zipfile.ZipInfo | tarfile.TarInfo) -> tuple[str, bool, int]:
    """Name, whether it is a file (else a folder), and the size it declares.

    Raises:
        DataError: it is a link, a device or the like.
    """
    if isinstance(source, tarfile.TarInfo):
        if not (source.isreg() or source.isdir()):
            raise _refused(archive, source.name, "it is a link or a device")
        if source.size < 0:
            raise _refused(archive, source.name, "its size is negative")
        return source.name, source.isreg(), source.size
    kind = stat.S_IFMT(source.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refused(archive, source.filename, "it is a link or a device")
    # orig_filename: zipfile cuts names at a NUL byte and turns the system's separator into "/".
    return source.orig_filename, not source.is_dir(), source.file_size


def _inside(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if "\0" in name or "\\" in name:
        raise _refused(archive, name, "its name has a NUL or a backslash")
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive:
        raise _refused(archive, name, "its name leads outside")
    return path


def _refused(archive: Path, name: str, reason: str) -> DataError:
    return DataError(f"The archive {archive} is refused, nothing was unpacked: member {name!r}: {reason}.")


def _refuse_overlap(archive: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Members that share packed bytes are a bomb (12 KB become 500 MB); honest archives have none."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise _refused(archive, info.filename, "it overlaps another member")
        end = info.header_offset + 30 + info.compress_size  # 30: fixed part of a local header


def _refuse_size(archive: Path, name: str, unpacked: int, limits: Limits) -> None:
    if unpacked > limits.total_bytes or (unpacked > 2**26 and unpacked > limits.ratio * archive.stat().st_size):
        raise _refused(archive, name, f"it expands beyond the limits ({unpacked:,} bytes)")


def _below(members: list[_Member], subdirs: tuple[str, ...]) -> list[_Member]:
    for subdir in subdirs:
        below = [
            _Member(member.path.relative_to(subdir), member.source)
            for member in members
            if member.path.is_relative_to(subdir) and member.path != PurePosixPath(subdir)
        ]
        if below:
            return below
    return members


def _write(
    archive: Path, opened: Opener, members: list[_Member], target: Path, limits: Limits, progress: Progress
) -> None:  # fmt: skip
    written = 0
    for member in members:
        path = target / member.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with _reading(opened, member) as source, path.open("xb") as file:
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                _refuse_size(archive, str(member.path), written, limits)
                file.write(chunk)
        progress.advance()


def _reading(opened: Opener, member: _Member) -> IO[bytes]:
    if isinstance(member.source, zipfile.ZipInfo):
        if not isinstance(opened, zipfile.ZipFile):
            raise TypeError(opened)
        return opened.open(member.source)
    if not isinstance(opened, tarfile.TarFile):
        raise TypeError(opened)
    file = opened.extractfile(member.source)
    if file is None:
        raise tarfile.TarError(f"{member.path} has no content")
    return file
