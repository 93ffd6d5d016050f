"""How the cache's commands tell of its entries, and when these were used."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlcli.system.cache.entries import Entry


def when(seconds: float | None) -> str:
    """A time in seconds since 1970, to the minute."""
    return "-" if seconds is None else f"{_time(seconds):%Y-%m-%d %H:%M} UTC"


def entry_document(entry: "Entry") -> dict[str, Any]:
    """All of an entry, for JSON."""
    return {
        "kind": entry.kind, "path": str(entry.path), "bytes": entry.bytes, "files": entry.files,
        "last_used": iso(entry.last_used),
    }  # fmt: skip


def iso(seconds: float | None) -> str | None:
    """A time in seconds since 1970, for JSON."""
    return None if seconds is None else _time(seconds).isoformat()


_LAST = datetime(9999, 12, 31, tzinfo=UTC)


def _time(seconds: float) -> datetime:
    """Never later than Python's years go: where a clock jumped, disks keep such times."""
    return datetime.fromtimestamp(min(seconds, _LAST.timestamp()), UTC)
