"""tlcli doctor."""

from typing import TYPE_CHECKING, Annotated

import typer

from tlcli.cli.console import Screen
from tlcli.cli.options import DebugOption, JsonOption, QuietOption, ThreadsOption

if TYPE_CHECKING:
    from tlcli.workflows.doctor import Diagnosis


def doctor(
    no_self_test: Annotated[
        bool, typer.Option("--no-self-test", help="Look only; leave out the test on made images (5 seconds).")
    ] = False,
    threads: ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Look over this installation and this machine; for bug reports, too.

    Versions, cores, memory, instruction sets, the engine that would be chosen and why, weights, cache, Kaggle token
    (its place, never its value), and a test on made images. Nothing is downloaded or changed. Ends with 0 unless
    there is a problem.
    """
    from tlcli.workflows.doctor import doctor as run  # noqa: PLC0415 - keeps --help fast

    screen = Screen(as_json, quiet)
    found = run(not no_self_test, screen.progress)
    _show(screen, found)
    screen.document(found.as_json())
    raise typer.Exit(found.exit_code)


_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def _show(screen: Screen, found: "Diagnosis") -> None:
    for section in found.sections:
        screen.heading(section.name, section.verdict, _STYLES[section.verdict])
        screen.facts(section.rows)
        for advice in section.advice:
            screen.line(f"  -> {advice}")
        screen.line()
    counts = {verdict: sum(one.verdict == verdict for one in found.sections) for verdict in ("problem", "warning")}
    told = [f"{count} {word}{'s' if count > 1 else ''}" for word, count in counts.items() if count]
    screen.bold(f"{', '.join(told) if told else 'All is well'} in {len(found.sections)} sections.")
