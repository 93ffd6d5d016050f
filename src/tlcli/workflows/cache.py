"""What is in the cache, and how large it is."""

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tlcli.errors import ResourceError
from tlcli.system.cache.entries import KINDS, Contents, Entry, Kind, contents
from tlcli.system.files import cache_folder, free_bytes


@dataclass(frozen=True)
class Sum:
    """Of the entries of a kind."""

    entries: int
    bytes: int
    last_used: float | None
    """Of the one that was used last, in seconds since 1970; None where there is none."""


@dataclass(frozen=True)
class Overview:
    """A cache, looked over."""

    folder: Path
    exists: bool
    free: int
    """Bytes on its disk."""
    entries: tuple[Entry, ...]
    others: tuple[Path, ...]
    """What tlcli did not put there."""

    @property
    def bytes(self) -> int:
        """Of all entries."""
        return sum(entry.bytes for entry in self.entries)

    def sums(self) -> dict[Kind, Sum]:
        """By kind; all of them."""
        return {kind: _sum([entry for entry in self.entries if entry.kind == kind]) for kind in KINDS}


def look_over_cache() -> Overview:
    """What lies in the cache.

    Raises:
        ResourceError: it is no folder, or cannot be read.
    """
    found, folder = read_cache(), cache_folder()
    return Overview(folder, folder.is_dir(), free_bytes(folder), found.entries, found.others)


def read_cache() -> Contents:
    """What lies in the cache; nothing where there is none yet.

    Raises:
        ResourceError: it is no folder, or cannot be read.
    """
    folder = cache_folder()
    try:
        return contents(folder)
    except FileNotFoundError:
        return Contents((), ())
    except NotADirectoryError as error:
        what = next((path for path in (folder, *folder.parents) if path.is_file()), folder)
        here = "is a file" if what == folder else f"cannot be, as {what} is a file"
        raise ResourceError(f"The cache {folder} {here}; remove it, or set TLCLI_CACHE to a folder.") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise ResourceError(
                f"The cache {folder} cannot be read ({error.strerror}); set TLCLI_CACHE to another folder."
            ) from error
        raise ResourceError(
            f"The cache {folder} cannot be read ({error.strerror}); give yourself the right to, or set TLCLI_CACHE to "
            "another folder."
        ) from error


def _sum(entries: Iterable[Entry]) -> Sum:
    listed = list(entries)
    newest = max((entry.last_used for entry in listed), default=None)
    return Sum(len(listed), sum(entry.bytes for entry in listed), newest)
