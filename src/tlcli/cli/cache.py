"""tlcli cache: what is in it, whether it is as it was written, and how to make it smaller."""

from typing import TYPE_CHECKING, Any

import typer

from tlcli.cli import cache_prune
from tlcli.cli.cache_words import entry_document, iso, when
from tlcli.cli.console import Screen, plain_table
from tlcli.cli.options import DebugOption, JsonOption, QuietOption, refuse_options
from tlcli.errors import ResourceError
from tlcli.system.files import readable

if TYPE_CHECKING:
    from tlcli.workflows.cache import Overview
    from tlcli.workflows.cache_verify import Verified

app = typer.Typer()
app.command("prune")(cache_prune.prune)


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Show what is in the cache: kinds, sizes, when each was last used.

    verify checks it, prune makes it smaller. All that prune takes can be computed again.
    """
    if context.invoked_subcommand is not None:
        refuse_options(context, f"tlcli cache {context.invoked_subcommand} --json")
        return
    from tlcli.workflows.cache import look_over_cache  # noqa: PLC0415 - keeps --help fast

    screen = Screen(as_json, quiet)
    found = look_over_cache()
    screen.line(f"Cache: {found.folder}{'' if found.exists else ' (not there yet)'}")
    screen.line(f"Size: {readable(found.bytes)}; free on its disk: {readable(found.free)}")
    if found.entries:
        table = plain_table("kind", "entries", "size", "last used")
        for kind, of_kind in found.sums().items():
            table.add_row(kind, f"{of_kind.entries:,}", readable(of_kind.bytes), when(of_kind.last_used))
        screen.table(table)
    if found.others:
        screen.line(f"Not tlcli's, and left alone: {len(found.others):,} other names, for example {found.others[0]}")
    left = any(entry.kind == "left-overs" for entry in found.entries)
    screen.next_command("tlcli", *(["cache", "prune" if left else "verify"] if found.entries else ["train"]))
    screen.document(_overview(found))


@app.command()
def verify(
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Compare all that is in the cache with the digests taken when it was written.

    What is damaged is set aside or removed, so that the next command computes it again; the exit code is 6 then.
    """
    from tlcli.workflows.cache_verify import verify_cache  # noqa: PLC0415 - keeps --help fast

    screen = Screen(as_json, quiet)
    verified = verify_cache(screen.progress)
    for damage in verified.damaged:
        screen.line(f"Damaged: {damage.path} ({damage.kind}): {damage.done}")
    for one in verified.unread:
        screen.line(f"Cannot be read, and is left alone: {one.path} ({one.kind}): {one.done}")
    bad, unread = len(verified.damaged), len(verified.unread)
    outcome = f"{bad:,} damaged" if bad else "all as they were written"
    if unread:
        outcome = f"{bad:,} damaged, {unread:,} not to be read"
    screen.line(f"Checked: {verified.checked:,} files and folders, {readable(verified.bytes)}; {outcome}")
    if bad:
        screen.next_command("tlcli", "cache", "prune")
    screen.document(_verified(verified))
    if bad:
        raise typer.Exit(ResourceError.exit_code)


def _overview(found: "Overview") -> dict[str, Any]:
    return {
        "folder": str(found.folder),
        "exists": found.exists,
        "bytes": found.bytes,
        "free_bytes": found.free,
        "kinds": {
            kind: {"entries": s.entries, "bytes": s.bytes, "last_used": iso(s.last_used)}
            for kind, s in found.sums().items()
        },
        "entries": [entry_document(entry) for entry in found.entries],
        "others": [str(path) for path in found.others],
    }


def _verified(verified: "Verified") -> dict[str, Any]:
    damaged = [{"kind": one.kind, "path": str(one.path), "done": one.done} for one in verified.damaged]
    unread = [{"kind": one.kind, "path": str(one.path), "reason": one.done} for one in verified.unread]
    return {
        "folder": str(verified.folder), "checked": verified.checked, "bytes": verified.bytes, "damaged": damaged,
        "unread": unread,
    }  # fmt: skip
