"""Frees the disk of what is in the cache and nobody uses; all of it can be computed again."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tlcli.progress import SILENT, Progress
from tlcli.system.cache.entries import LASTING, Entry, remove
from tlcli.system.cache.locks import alone
from tlcli.system.files import cache_folder
from tlcli.workflows.cache import read_cache

Reason = Literal["left over", "not used for long", "the cache is too large"]


@dataclass(frozen=True)
class Removed:
    """An entry that is gone; or would be, in a dry run."""

    entry: Entry
    reason: Reason


@dataclass(frozen=True)
class Pruned:
    """What prune did."""

    folder: Path
    dry_run: bool
    removed: tuple[Removed, ...]
    in_use: tuple[Entry, ...]
    """Were to go, and stay: a running process uses them."""
    failed: tuple[tuple[Entry, str], ...]
    """Could not be removed, and why."""
    bytes: int
    """Of the cache, now."""

    @property
    def freed(self) -> int:
        """Bytes."""
        return sum(removed.entry.bytes for removed in self.removed)


def prune_cache(
    older_than: float | None = None, max_bytes: int | None = None, dry_run: bool = False, progress: Progress = SILENT
) -> Pruned:
    """Removes left-overs of killed processes and damaged files, and what the arguments name. What a running process
    uses stays.

    Args:
        older_than: seconds; what was not used for so long goes.
        max_bytes: of the cache; the entries that were used least recently go until it is no larger.
        dry_run: tell what would go, and remove nothing.
        progress: told of the stage.

    Raises:
        ResourceError: the cache cannot be read.
    """
    entries = read_cache().entries
    size = sum(entry.bytes for entry in entries)
    removed, in_use, failed = list[Removed](), list[Entry](), list[tuple[Entry, str]]()
    with progress.stage("Looking for what can go"):
        for entry, reason in _candidates(entries, older_than, max_bytes is not None):
            if reason == "the cache is too large" and size <= (max_bytes or 0):
                break
            try:
                if _unused(entry) if dry_run else remove(entry):
                    removed.append(Removed(entry, reason))
                    size -= entry.bytes
                else:
                    in_use.append(entry)
            except OSError as error:
                failed.append((entry, error.strerror or str(error)))
    return Pruned(cache_folder(), dry_run, tuple(removed), tuple(in_use), tuple(failed), size)


def _candidates(
    entries: tuple[Entry, ...], older_than: float | None, by_size: bool
) -> Iterator[tuple[Entry, Reason]]:  # fmt: skip
    """In the order in which they go; those that go when they must, for the size, last."""
    now = time.time()
    yield from ((entry, "left over") for entry in entries if entry.kind == "left-overs")
    lasting = [entry for entry in entries if entry.kind not in ("left-overs", *LASTING)]
    lasting.sort(key=lambda entry: entry.last_used)
    old = [entry for entry in lasting if older_than is not None and now - entry.last_used >= older_than]
    yield from ((entry, "not used for long") for entry in old)
    if by_size:
        yield from ((entry, "the cache is too large") for entry in lasting if entry not in old)


def _unused(entry: Entry) -> bool:
    if entry.guard is None:
        return True
    with alone(entry.guard) as unused:
        return unused
