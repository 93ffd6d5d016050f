"""tlcli cache: what is in the cache, whether it is as it was written, and removing what is no longer needed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlcli.errors import ResourceError
from tlcli.progress import SILENT, Progress
from tlcli.system.cache.entries import KINDS, Entry, Kind, remove, scan
from tlcli.system.files import cache_folder, free_bytes

if TYPE_CHECKING:
    from tlcli.diagnostics.cache_check import Finding


@dataclass(frozen=True)
class KindSummary:
    """The entries of one kind."""

    entries: int
    bytes: int
    last_used: datetime | None
    """The last use of any of them; None where there are none."""


@dataclass(frozen=True)
class CacheContents:
    """What is in the cache."""

    folder: Path
    exists: bool
    bytes: int
    free_bytes: int
    kinds: dict[Kind, KindSummary]
    """All of them."""
    entries: list[Entry]


@dataclass(frozen=True)
class Verification:
    """What verify found."""

    folder: Path
    checked: int
    """Entries; of features, files."""
    bytes: int
    damaged: "tuple[Finding, ...]"
    unreadable: "tuple[Finding, ...]"


@dataclass(frozen=True)
class Pruned:
    """An entry that prune chose, and what became of it; in a dry run, what would."""

    entry: Entry
    reason: Literal["leftover", "old", "over size"]
    outcome: Literal["removed", "in use", "failed"]
    error: str = ""
    """The system's reason why it could not be removed."""


@dataclass(frozen=True)
class Pruning:
    """What prune did, or in a dry run would do."""

    folder: Path
    dry_run: bool
    pruned: tuple[Pruned, ...]
    freed_bytes: int
    bytes: int
    """Of the cache, afterwards."""


def show_cache() -> CacheContents:
    """Lists the cache.

    Raises:
        ResourceError: the cache cannot be read.
    """
    entries, folder = _scan(), cache_folder()
    kinds = {kind: _summary([entry for entry in entries if entry.kind == kind]) for kind in KINDS}
    size = sum(entry.bytes for entry in entries)
    return CacheContents(folder, folder.is_dir(), size, free_bytes(folder), kinds, entries)


def verify_cache(progress: Progress = SILENT) -> Verification:
    """Compares everything in the cache with the digests taken when it was written; damaged entries are removed, and
    computed again when they are needed.

    Raises:
        ResourceError: the cache cannot be read, or its disk is disconnected.
    """
    from tlcli.diagnostics.cache_check import check, parts  # noqa: PLC0415 - imports NumPy

    entries = [entry for entry in _scan() if entry.kind != "leftovers"]
    checked, found = 0, list["Finding"]()
    with progress.stage("Verifying", len(entries), "entries"):
        for entry in entries:
            results = [check(entry, path) for path in parts(entry)]
            checked += len(results)
            found += filter(None, results)
            progress.advance()
    damaged = tuple(finding for finding in found if finding.problem == "damaged")
    unreadable = tuple(finding for finding in found if finding.problem == "unreadable")
    return Verification(cache_folder(), checked, sum(entry.bytes for entry in entries), damaged, unreadable)


def prune_cache(
    older_than: timedelta | None = None, max_bytes: int | None = None, dry_run: bool = False,
    progress: Progress = SILENT,
) -> Pruning:  # fmt: skip
    """Removes leftovers of killed processes, and what the arguments name; entries in use stay.

    Args:
        older_than: remove what was last used so long ago.
        max_bytes: remove the least recently used entries until the cache is no larger.
        dry_run: remove nothing.
        progress: receives the stage.

    Raises:
        ResourceError: the cache cannot be read.
    """
    entries = _scan()
    size = before = sum(entry.bytes for entry in entries)
    pruned = list[Pruned]()
    with progress.stage("Pruning"):
        for entry, reason in _candidates(entries, older_than, max_bytes is not None):
            if reason == "over size" and size <= (max_bytes or 0):
                break
            try:
                removed = remove(entry, dry_run)
            except OSError as error:
                pruned.append(Pruned(entry, reason, "failed", error.strerror or str(error)))
                continue
            pruned.append(Pruned(entry, reason, "removed" if removed else "in use"))
            size -= entry.bytes if removed else 0
    return Pruning(cache_folder(), dry_run, tuple(pruned), before - size, size)


def _scan() -> list[Entry]:
    """Lists the cache; empty where it does not exist yet."""
    try:
        return scan(cache_folder())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ResourceError(
            "resource.cache_unreadable",
            f"The cache {cache_folder()} cannot be read: {error.strerror}.",
            "Make it a folder that you may read, or set TLCLI_CACHE to another.",
        ) from error


def _summary(entries: list[Entry]) -> KindSummary:
    newest = max((entry.last_used for entry in entries), default=None)
    return KindSummary(len(entries), sum(entry.bytes for entry in entries), newest)


def _candidates(
    entries: list[Entry], older_than: timedelta | None, by_size: bool
) -> Iterator[tuple[Entry, Literal["leftover", "old", "over size"]]]:  # fmt: skip
    """In the order in which they are removed; those that are removed only for the size last."""
    yield from ((entry, "leftover") for entry in entries if entry.kind == "leftovers")
    others = sorted((entry for entry in entries if entry.kind != "leftovers"), key=lambda entry: entry.last_used)
    now = datetime.now(UTC)
    old = [entry for entry in others if older_than is not None and now - entry.last_used >= older_than]
    yield from ((entry, "old") for entry in old)
    if by_size:
        yield from ((entry, "over size") for entry in others if entry not in old)
