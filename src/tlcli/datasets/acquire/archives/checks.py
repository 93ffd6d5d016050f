"""What an archive may hold: names that stay inside the target and differ on every disk, within the limits."""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from tlcli.datasets.acquire.archives.archive import Member, malicious
from tlcli.errors import DataError

_FREE_OF_RATIO = 2**26
_MAX_PATH, _MAX_PART, _MAX_DEPTH = 4096, 255, 100
"""Characters of a path, characters between its slashes, slashes: the first two are what disks can hold at most."""
_MEAN_NAME = 128
"""Characters that names may have, on average, if an archive has as many members as it may: they are kept in memory."""


@dataclass(frozen=True)
class UnpackLimits:
    """What an archive may hold; declared sizes are not believed, bytes are counted as they come."""

    members: int = 2_000_000
    total_bytes: int = 200 * 10**9
    ratio: float = 200.0
    """Unpacked bytes for each packed byte, where they are more than 64 MiB."""


DEFAULT_LIMITS = UnpackLimits()


def checked(members: Iterable[Member], packed: int, limits: UnpackLimits) -> dict[str, Member]:
    """Returns the files of an archive by their paths, after all members have been found harmless.

    Args:
        members: of the archive.
        packed: its bytes.
        limits: what it may hold.

    Raises:
        DataError: a member is malicious (:class:`RefusedError`), or there are too many, or they are too large.
    """
    files: dict[str, Member] = {}
    keys: dict[str, str] = {}  # of files: the name as disks that ignore case and accents' composition compare it
    folders: set[str] = set()  # likewise
    declared = characters = 0
    for number, member in enumerate(members, 1):
        path = _inside(member.name)
        declared += member.size
        if declared > limits.total_bytes or declared > max(_FREE_OF_RATIO, limits.ratio * packed):
            raise _beyond_limits(f"it expands to {declared:,} bytes or more")
        key = unicodedata.normalize("NFC", path).casefold()
        if member.is_file:
            if key in keys or not path:
                raise malicious(member.name, "another member has the same name" if path else "it has no name")
            files[path], keys[key] = member, path
        elif member.size:
            raise malicious(member.name, "it is a directory with content")
        above = folders_above(key if member.is_file else f"{key}/")
        new = set(above) - folders - {""}
        folders |= new
        characters += len(path) + sum(map(len, new))
        if max(number, len(folders)) > limits.members or characters > _MEAN_NAME * limits.members:
            raise _beyond_limits(f"it has more than {limits.members:,} members or directories, or very long names")
    if clash := folders & keys.keys():
        raise malicious(keys[min(clash)], "it is a file and a directory")
    return files


def folders_above(path: str) -> Iterator[str]:
    """Yields every directory above a path: a/b/c gives a/b and a."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _inside(name: str) -> str:
    """The path without ``.`` and doubled slashes; "" for the target itself."""
    if len(name) > _MAX_PATH or name.count("/") > _MAX_DEPTH or max(map(len, name.split("/"))) > _MAX_PART:
        raise malicious(name, "its name is too long")
    if "\0" in name or "\\" in name:
        raise malicious(name, "its name has a NUL or a backslash")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or (":" in name and PureWindowsPath(name).drive):
        raise malicious(name, "its name leads outside")
    return "" if path == PurePosixPath() else str(path)


def _beyond_limits(reason: str) -> DataError:
    message = f"The archive is beyond the limits: {reason}."
    return DataError("data.archive_too_large", message, "If you trust it, raise dataset.limits.")
