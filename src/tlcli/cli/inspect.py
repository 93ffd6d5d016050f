"""tlcli inspect."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlcli.cli.console import Screen, counts_table, reuse
from tlcli.cli.options import (
    RUNS_DIR,
    ConfigOption,
    DebugOption,
    JsonOption,
    QuietOption,
    RunsDirOption,
    SetOption,
    ThreadsOption,
    VerifyOption,
    again,
)

if TYPE_CHECKING:
    from tlcli.workflows.inspection import Inspection

_LISTED = 10
"""Lines of each finding; --json has all."""


def inspect(
    config: ConfigOption = None,
    set_: SetOption = None,
    write_exclude: Annotated[
        Path | None,
        typer.Option("--write-exclude", metavar="FILE", help="Write a list of what is better left out, with reasons."),
    ] = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    verify: VerifyOption = False,
    threads: ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Look over the images before training: leaks, copies, suspicious labels, outliers, odd files.

    Nothing is changed or deleted. Every image passes the frozen backbone once; train finds the features. A page is
    written beside the config's runs.
    """
    from tlcli.config.load import find_config, load_config  # noqa: PLC0415 - keeps --help fast
    from tlcli.workflows.inspect import inspect as run  # noqa: PLC0415

    screen = Screen(as_json, quiet)
    loaded = load_config(find_config(config), set_ or ())
    found = run(loaded, verify, screen.progress)
    _show(screen, found)
    given = [*again("--config", config), *(word for one in set_ or () for word in ("--set", one))]
    following = [*given, *(("--set", f"dataset.exclude={write_exclude}") if write_exclude else ())]
    if write_exclude is not None:
        from tlcli.datasets.exclusion import propose_exclusions, write_exclusion  # noqa: PLC0415

        listed = propose_exclusions(
            found.unreadable,
            [(one.first, one.second, None if one.kind == "exact" else one.likeness) for one in found.copies],
            [(one.image, one.likelier, one.believed) for one in found.issues],
            [(one.image, one.distance) for one in found.outliers],
        )
        write_exclusion(write_exclude, f"Data folder: {found.index.root}", listed)
        active = sum(one.active for one in listed)
        screen.line(f"To leave out: {write_exclude} ({active:,} images, and {len(listed) - active:,} to decide on)")
    elif found.copies or found.issues or found.unreadable:
        listing = shlex.join(["tlcli", "inspect", *given, "--write-exclude", "exclude.txt"])
        screen.line(f"To get a list of what is better left out: {listing}")
    from tlcli.workflows.inspect_page import write_inspect_page  # noqa: PLC0415

    page = runs_dir / loaded.name / "inspect.html"
    with screen.progress.stage("Writing the page"):
        commands = [["tlcli", "inspect", *given, "--write-exclude", "exclude.txt"]]
        commands.append(["tlcli", "train", *given, "--set", "dataset.exclude=exclude.txt"])
        write_inspect_page(page, loaded, found, [shlex.join(command) for command in commands])
    screen.line(reuse(found.features))
    screen.line(f"Page: {page}")
    screen.next_command("tlcli", "train", *following)
    screen.document({**found.as_json(), "page": str(page)})


def _show(screen: Screen, found: "Inspection") -> None:
    for note in found.index.notes:
        screen.line(note)
    screen.table(counts_table(found.index.counts()))
    _listed(screen, "Not to be read", [f"{name}: {reason}" for name, reason in found.unreadable.items()])
    _listed(screen, "Odd", [f"{name}: {'; '.join(what)}" for name, what in found.odd.items()])
    pairs = [
        (one.is_leak, f"{one.second.name} ({one.second.split}) {sign} {one.first.name} ({one.first.split})")
        for one in found.copies
        for sign in ("=" if one.kind == "exact" else f"~ {one.likeness:.2f}",)
    ]
    signs = " (= the same bytes, ~ alike, 1 is the same)"
    between = ", ".join(f"{splits} {count:,}" for splits, count in found.leaks_between.items())
    leaks, within = ([text for is_leak, text in pairs if is_leak is kind] for kind in (True, False))
    _listed(screen, f"Leaks between splits{signs if leaks else ''}", leaks)
    if between:
        screen.line(f"  by splits: {between}")
    _listed(screen, f"Copies within a split{signs if within and not leaks else ''}", within)
    suspects = [
        f"{one.image.name}: {one.image.label}, perhaps {one.likelier} (probability of its label {one.believed:.2f})"
        for one in found.issues
    ]
    _listed(screen, "Suspicious labels", suspects)
    _listed(screen, "Outliers", [f"{one.image.name}: distance {one.distance:.2f}" for one in found.outliers])


def _listed(screen: Screen, title: str, lines: list[str]) -> None:
    screen.line()
    screen.bold(f"{title}: {len(lines):,}")
    for line in lines[:_LISTED]:
        screen.line(f"  {line}")
    if (more := len(lines) - _LISTED) > 0:
        screen.line(f"  and {more:,} more (--json lists them all)")
