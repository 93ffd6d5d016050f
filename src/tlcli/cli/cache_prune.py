"""tlcli cache prune: what goes, and what stays as a running process uses it."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlcli.cli.cache_words import entry_document, when
from tlcli.cli.console import Screen
from tlcli.cli.options import DebugOption, JsonOption, QuietOption, again
from tlcli.errors import ResourceError, UsageError
from tlcli.system.files import readable

if TYPE_CHECKING:
    from tlcli.system.cache.entries import Entry
    from tlcli.workflows.cache_prune import Pruned


def prune(
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="TIME", help="Also what was not used for so long: 12h, 30d, 8w."),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="Also the least recently used, until no more is left: 5GB."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would go; remove nothing.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Remove what killed processes have left in the cache, and damaged files; with options also what is old.

    What a running process uses stays. What goes is computed again when it is needed.
    """
    from tlcli.workflows.cache_prune import prune_cache  # noqa: PLC0415 - keeps --help fast

    seconds = _seconds(older_than) if older_than is not None else None
    size = _bytes(max_size) if max_size is not None else None
    screen = Screen(as_json, quiet)
    pruned = prune_cache(seconds, size, dry_run, screen.progress)
    _show(screen, pruned, size)
    options = [*again("--older-than", older_than), *again("--max-size", max_size)]
    screen.next_command("tlcli", "cache", *(["prune", *options] if dry_run else []))
    screen.document(_pruned(pruned))
    if pruned.failed:
        raise typer.Exit(ResourceError.exit_code)


def _show(screen: Screen, pruned: "Pruned", max_size: int | None) -> None:
    verb = "Would go" if pruned.dry_run else "Gone"
    for removed in pruned.removed:
        entry = removed.entry
        screen.line(f"{verb}: {entry.path} ({entry.kind}, {readable(entry.bytes)}): {_why(removed.reason, entry)}")
    for entry in pruned.in_use:
        screen.line(f"Stays: {entry.path} ({entry.kind}, {readable(entry.bytes)}): a running process uses it")
    for entry, reason in pruned.failed:
        screen.line(f"Stays: {entry.path} ({entry.kind}, {readable(entry.bytes)}): cannot be removed: {reason}")
    freed = "Would be freed" if pruned.dry_run else "Freed"
    screen.line(f"{freed}: {readable(pruned.freed)}; left in {pruned.folder}: {readable(pruned.bytes)}")
    if max_size is not None and pruned.bytes > max_size:
        screen.line(f"That is more than {readable(max_size)}: what stays is in use, or cannot be made again.")


def _why(reason: str, entry: "Entry") -> str:
    return reason if reason == "left over" else f"{reason}, last used {when(entry.last_used)}"


_TIMES: Mapping[str, float] = {"H": 3600, "D": 86400, "W": 604800}
_SIZES: Mapping[str, float] = {
    "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30,
}  # fmt: skip


def _seconds(given: str) -> float:
    return _number(given, "--older-than", _TIMES, "a number and h, d or w (hours, days, weeks): 12h, 30d, 8w")


def _bytes(given: str) -> int:
    return int(_number(given, "--max-size", _SIZES, "a number and a unit (B, KB, MB, GB, TB): 500MB, 5GB"))


def _number(given: str, option: str, units: Mapping[str, float], allowed: str) -> float:
    if given.strip() == "0":
        return 0
    parts = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([A-Z]+)", given.strip().upper())
    if parts is None or parts[2] not in units:
        raise UsageError(f"{option} is {given!r}; it takes {allowed}.")
    return float(parts[1]) * units[parts[2]]


def _pruned(pruned: "Pruned") -> dict[str, Any]:
    return {
        "folder": str(pruned.folder),
        "dry_run": pruned.dry_run,
        "freed_bytes": pruned.freed,
        "bytes": pruned.bytes,
        "removed": [{**entry_document(removed.entry), "reason": removed.reason} for removed in pruned.removed],
        "in_use": [entry_document(entry) for entry in pruned.in_use],
        "failed": [{**entry_document(entry), "reason": reason} for entry, reason in pruned.failed],
    }
