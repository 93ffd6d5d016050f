"""tlcli doctor."""

from typing import TYPE_CHECKING, Annotated

import typer

import tlcli
from tlcli.cli.console import Screen
from tlcli.cli.options import DebugOption, JsonOption, QuietOption, ThreadsOption
from tlcli.system.files import format_size

if TYPE_CHECKING:
    from tlcli.diagnostics.checks import Section, Value

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(
    no_self_test: Annotated[
        bool, typer.Option("--no-self-test", help="Skip the test with generated images (5 seconds).")
    ] = False,
    threads: ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Check this installation and this machine; the output belongs in bug reports.

    Versions, cores, memory, instruction sets, the engine that auto chooses and why, weights, cache, Kaggle token (where
    it is, never its value), and a test with generated images. Nothing is downloaded or changed. The exit code is 0
    unless there is a problem.
    """
    from tlcli.workflows.doctor import CHECKS  # noqa: PLC0415 - keeps --help fast
    from tlcli.workflows.doctor import doctor as run  # noqa: PLC0415

    screen = Screen(as_json, quiet)
    found = run(CHECKS[:-1] if no_self_test else CHECKS, screen.progress)
    for section in found.sections:
        _show(screen, section)
    problems = sum(len(section.problems) for section in found.sections)
    warnings = sum(len(section.warnings) for section in found.sections)
    screen.bold(f"{problems} problems, {warnings} warnings in {len(found.sections)} sections.")
    sections = {section.name: section for section in found.sections}
    screen.document({"tlcli": tlcli.__version__, "exit_code": found.exit_code, "sections": sections})
    raise typer.Exit(found.exit_code)


def _show(screen: Screen, section: "Section") -> None:
    screen.heading(section.name, section.verdict, _STYLES[section.verdict])
    facts = section.facts.items()
    screen.facts([(name.removesuffix("_bytes").replace("_", " "), _text(name, value)) for name, value in facts])
    for error in (*section.problems, *section.warnings):
        screen.line(f"  -> {error}")
    screen.line()


def _text(name: str, value: "Value") -> str:
    """A fact for people."""
    if value is None or isinstance(value, bool):
        return {None: "unknown", True: "yes", False: "no"}[value]
    if name.endswith("_bytes") and isinstance(value, int):
        return format_size(value)
    if isinstance(value, dict):
        value = [f"{key} {of}" for key, of in value.items()]
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)
