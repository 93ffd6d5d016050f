"""What zip and tar archives have in common for who reads them, and what can be wrong with them."""

import zipfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

CHUNK = 1 << 20


class BrokenError(Exception):
    """The archive is not as it was made."""


class HostileError(Exception):
    """A member for which the whole archive is refused."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(name, reason)


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive, not yet checked."""

    name: str
    is_file: bool
    size: int
    """Bytes, as the archive declares them; contents that are longer or shorter are refused."""
    source: zipfile.ZipInfo | None = None


class Archive(Protocol):
    """An archive of either kind. Both its generators are to be closed, which closes the file."""

    in_any_order: bool
    """Whether members can be read in any order, and several at once."""

    def members(self) -> Generator[Member, None, None]:
        """All members; raises HostileError for links, devices and the like."""

    def contents(self, members: Sequence[Member]) -> Generator[tuple[Member, Iterator[bytes]], None, None]:
        """The members (in the archive's order) with their bytes in pieces of at most a MiB, to be read one by one."""
