"""What the readers of zip and tar archives have in common: members, and what can be wrong."""

from dataclasses import dataclass

from tlcli.errors import DataError

CHUNK = 1 << 20
_SHOWN = 200
"""Characters of a member's name in a message."""


class RefusedError(DataError):
    """The file is of no use, whatever the config says."""


class DamagedError(RefusedError):
    """The archive is damaged; another copy may be whole."""


def damaged(reason: str) -> DamagedError:
    """The error for an archive that is cut or changed."""
    return DamagedError("data.archive_damaged", f"The archive is damaged: {reason}.", "Download or copy it again.")


def malicious(name: str, reason: str) -> RefusedError:
    """The error for a member for which the whole archive is refused.

    In its hint, as in that of :func:`unsupported`, FILE and FOLDER stand for paths that the caller knows.
    """
    return RefusedError(
        "data.archive_malicious",
        f"The archive is refused, nothing was unpacked: member {name[:_SHOWN]!r}: {reason}.",
        "If you trust it, unpack it yourself: 7z x FILE -oFOLDER, and give the folder: --from FOLDER, or dataset.path.",
    )


def unsupported(name: str, reason: str) -> RefusedError:
    """The error for a harmless member that cannot be unpacked here; other programs can."""
    return RefusedError(
        "data.archive_unsupported",
        f"The archive cannot be unpacked: member {name[:_SHOWN]!r}: {reason}.",
        "Unpack it yourself: 7z x FILE -oFOLDER, and give the folder: --from FOLDER, or as dataset.path.",
    )


def in_parts() -> RefusedError:
    """The error for a part of an archive; other programs find the other parts beside it."""
    return RefusedError(
        "data.archive_unsupported",
        "It is one part of an archive in several parts.",
        "Put all parts side by side, unpack them yourself: 7z x FILE -oFOLDER, and give the folder: --from FOLDER, or "
        "as dataset.path.",
    )


@dataclass(frozen=True)
class Member:
    """A file or directory of an archive, not yet checked."""

    name: str
    """With ``/`` between its parts, whatever the archive has there."""
    is_file: bool
    size: int
    """Bytes, as the archive declares them; contents that are longer or shorter are refused."""
