"""What the readers of zip and tar archives have in common: members, the interface, and what can be wrong."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

CHUNK = 1 << 20


class DamageError(Exception):
    """The archive is damaged; the text is the reason."""


class MemberError(Exception):
    """A member for which the whole archive is refused as malicious."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(name, reason)


class UnsupportedMemberError(MemberError):
    """A member that is encrypted or compressed by a method that is not supported."""


@dataclass(frozen=True)
class Member:
    """A file or directory of an archive, not yet checked."""

    name: str
    is_file: bool
    size: int
    """Bytes, as the archive declares them; contents that are longer or shorter are refused."""
    info: zipfile.ZipInfo | None = None


class Archive(Protocol):
    """An open zip or tar archive."""

    in_any_order: bool
    """Whether :meth:`chunks` accepts members in any order and from several threads; else only the member that
    :meth:`members` yielded last."""

    def members(self) -> Iterator[Member]:
        """Yields all members; raises :class:`MemberError` for links, devices, overlaps and the like."""

    def chunks(self, member: Member) -> Iterator[bytes]:
        """Yields the content of a member in pieces of at most a MiB, not more bytes in total than it declares."""
