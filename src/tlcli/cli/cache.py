"""tlcli cache: its contents, verify and prune."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from tlcli.cli.console import Screen, plain_table
from tlcli.cli.options import DebugOption, JsonOption, QuietOption, again, refuse_options
from tlcli.errors import ResourceError, UsageError
from tlcli.system.files import format_size

if TYPE_CHECKING:
    from tlcli.diagnostics.cache_check import Finding
    from tlcli.workflows.cache import Pruned

app = typer.Typer()


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Show what is in the cache: kinds, sizes, last uses.

    Everything in it can be computed again. Check it with verify, make it smaller with prune.
    """
    if context.invoked_subcommand is not None:
        refuse_options(context, f"tlcli cache {context.invoked_subcommand} --json")
        return
    from tlcli.workflows.cache import show_cache  # noqa: PLC0415 - keeps --help fast

    screen = Screen(as_json, quiet)
    found = show_cache()
    screen.line(f"Cache: {found.folder}{'' if found.exists else ' (does not exist yet)'}")
    screen.line(f"Size: {format_size(found.bytes)}; free on its disk: {format_size(found.free_bytes)}")
    if found.entries:
        table = plain_table("kind", "entries", "size", "last used")
        for kind, of in found.kinds.items():
            table.add_row(kind, f"{of.entries:,}", format_size(of.bytes), _date(of.last_used) if of.last_used else "-")
        screen.table(table)
    subcommand = "prune" if found.kinds["leftovers"].entries else "verify"
    screen.next_command("tlcli", *(["cache", subcommand] if found.entries else ["train"]))
    screen.document(found)


@app.command()
def verify(
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Compare everything in the cache with the digests taken when it was written.

    Damaged entries are removed, and computed again when they are needed; the exit code is 6 then.
    """
    from tlcli.workflows.cache import verify_cache  # noqa: PLC0415 - keeps --help fast

    screen = Screen(as_json, quiet)
    found = verify_cache(screen.progress)
    for finding in (*found.damaged, *found.unreadable):
        screen.line(_finding(finding))
    counts = f"{len(found.damaged):,} damaged, {len(found.unreadable):,} unreadable"
    screen.line(f"Verified: {found.checked:,} files and folders, {format_size(found.bytes)}; {counts}")
    screen.document(found)
    if found.damaged:
        raise typer.Exit(ResourceError.exit_code)


@app.command()
def prune(
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="TIME", help="Also remove what was last used so long ago: 12h, 30d, 8w."),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="Also remove the least recently used down to a size: 5GB."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed; remove nothing.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Remove leftovers of killed processes from the cache; with options also old entries.

    Entries in use stay. What is removed is computed again when it is needed.
    """
    from tlcli.workflows.cache import prune_cache  # noqa: PLC0415 - keeps --help fast

    age = None if older_than is None else timedelta(hours=_number(older_than, "--older-than", _HOURS, "12h, 30d, 8w"))
    size = None if max_size is None else int(_number(max_size, "--max-size", _BYTES, "500MB, 5GB"))
    screen = Screen(as_json, quiet)
    found = prune_cache(age, size, dry_run, screen.progress)
    for one in found.pruned:
        screen.line(_pruned(one, dry_run))
    freed = f"{'Would free' if dry_run else 'Freed'} {format_size(found.freed_bytes)}"
    screen.line(f"{freed}; {format_size(found.bytes)} left in {found.folder}")
    options = [*again("--older-than", older_than), *again("--max-size", max_size)]
    screen.next_command("tlcli", "cache", *(["prune", *options] if dry_run else []))
    screen.document(found)
    if any(one.outcome == "failed" for one in found.pruned):
        raise typer.Exit(ResourceError.exit_code)


def _finding(finding: "Finding") -> str:
    reason = f" ({finding.reason})" if finding.reason else ""
    return f"{finding.problem.capitalize()}: {finding.path} ({finding.kind}): {finding.action}{reason}"


def _pruned(one: "Pruned", dry_run: bool) -> str:
    done = "would be removed" if dry_run and one.outcome == "removed" else one.outcome
    error = f" ({one.error})" if one.error else ""
    what = f"{one.entry.path} ({one.entry.kind}, {format_size(one.entry.bytes)})"
    return f"{done.capitalize()}{error}: {what}: {one.reason}, last used {_date(one.entry.last_used)}"


def _date(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


_HOURS: Mapping[str, float] = {"h": 1, "d": 24, "w": 168}
_BYTES: Mapping[str, float] = {
    "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip


def _number(given: str, option: str, units: Mapping[str, float], examples: str) -> float:
    if given.strip() == "0":
        return 0
    parts = re.fullmatch(r"([0-9]{1,8}(?:\.[0-9]{1,9})?) ?([a-z]+)", given.strip().lower())
    if parts is None or parts[2] not in units:
        raise UsageError(
            "usage.invalid_quantity",
            f"{option} is {given!r}; it takes a number with a unit: {', '.join(units)}.",
            f"Give for example: {examples}.",
        )
    return float(parts[1]) * units[parts[2]]
