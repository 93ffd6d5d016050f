"""tlcli runs compare: compares two runs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tlcli.cli import completion, options
from tlcli.cli.console import Screen, plain_table

if TYPE_CHECKING:
    from tlcli.runs.comparison import Comparison
    from tlcli.workflows.runs import ComparedRuns

_LISTED = 5
"""Images of each side that are listed; --json has all."""
_MANY_EVALUATIONS = 5
"""The best of five equally good runs exceeds its true accuracy by 1.2 standard errors on average."""


def compare(
    a: Annotated[str, typer.Argument(metavar="A", autocompletion=completion.runs, help=options.A_RUN)],
    b: Annotated[str, typer.Argument(metavar="B", autocompletion=completion.runs, help="The run to compare it with.")],
    runs_dir: options.RunsDirOption = options.RUNS_DIR,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Compare the accuracies of two evaluated runs on the same test images.

    Paired, image by image: McNemar's exact test, and a 95 % interval of the difference.
    """
    from tlcli.workflows.runs import compare as compare_runs  # noqa: PLC0415 - keeps --help fast

    screen = Screen(as_json, quiet)
    compared = compare_runs(runs_dir, a, b)
    found = compared.comparison
    screen.line(f"A: {found.a.run}")
    screen.line(f"B: {found.b.run}")
    _show_left_out(screen, found)
    screen.line()
    screen.table(_table(found))
    _show_images(screen, "A", [f"  {one.path}: {one.label}, not {one.by_b}" for one in found.only_a_correct])
    _show_images(screen, "B", [f"  {one.path}: {one.label}, not {one.by_a}" for one in found.only_b_correct])
    screen.line()
    _show_settings(screen, compared)
    screen.bold(verdict(found))
    if found.test_evaluations >= _MANY_EVALUATIONS:
        screen.line(
            f"{found.test_evaluations} runs in {runs_dir} were evaluated on these test images: choosing the best of "
            "them overfits the test images. Choose by validation accuracy, and evaluate once."
        )
    screen.document(_document(compared))


def _table(found: "Comparison") -> Table:
    """Images that A, B, both, only one and neither classify correctly; and their shares."""
    table = plain_table("", "images", "share", title="Correctly classified test images")
    only_a, only_b = len(found.only_a_correct), len(found.only_b_correct)
    counts = {
        "by A": found.both_correct + only_a,
        "by B": found.both_correct + only_b,
        "by both": found.both_correct,
        "by A only": only_a,
        "by B only": only_b,
        "by neither": found.both_wrong,
    }
    for name, count in counts.items():
        table.add_row(name, f"{count:,}", f"{count / found.images:.4f}", end_section=name in ("by B", "by neither"))
    table.add_row("of", f"{found.images:,}", "")
    return table


def verdict(found: "Comparison") -> str:
    """The result of the comparison, as a sentence."""
    points, low, high = (
        100 * share for share in (found.difference.difference, found.difference.low, found.difference.high)
    )
    p = f"p = {found.difference.p:.2g}"
    grouped = found.groups < found.images
    test = f"{found.groups:,} groups kept whole, {p}" if grouped else f"McNemar's exact test, {p}"
    if not found.difference.significant:
        return (
            f"No evidence that one is better: B - A is {points:+.1f} points (95 % interval {low:.1f} to {high:.1f}; "
            f"{test})"
        )
    better = "B"
    if points < 0:
        better, points, low, high = "A", -points, -high, -low
    return f"{better} is better by {points:.1f} points (95 % interval {low:.1f} to {high:.1f}; {test})"


def _show_left_out(screen: Screen, found: "Comparison") -> None:
    """The test images that were not compared."""
    for letter, other, side in (("A", "B", found.a), ("B", "A", found.b)):
        if side.not_common:
            seen = side.trained_on_by_other
            trained = f", {seen:,} of which {other} was trained on" if seen else ""
            screen.line(
                f"Left out: {side.not_common:,} of {side.evaluated:,} test images of {letter}, on which {other} was "
                f"not evaluated{trained}"
            )
    if found.left_out:
        screen.line(
            f"Left out: {found.left_out:,} test images of both that A or B was trained on (duplicates in other splits)"
        )


def _show_images(screen: Screen, letter: str, lines: list[str]) -> None:
    if lines:
        screen.line()
        screen.line(f"Classified correctly by {letter} only:")
        screen.some(lines, _LISTED)


def _show_settings(screen: Screen, compared: "ComparedRuns") -> None:
    lines = ["  {}: {} -> {}".format(key, *map(_value, both)) for key, both in compared.settings.items()]
    if not compared.comparison.same_data:
        lines.append("  Trained on other images, labels or splits.")
    if lines:
        for line in ["Changes from A to B:", *lines, ""]:
            screen.line(line)


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)


def _document(compared: "ComparedRuns") -> Any:
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 - keeps --help fast

    found, difference = compared.comparison, compared.comparison.difference
    return to_jsonable_python(
        {
            **vars(found),
            "difference": difference.difference,
            "difference_ci95": (difference.low, difference.high),
            "p": difference.p,
            "better": ("b" if difference.difference > 0 else "a") if difference.significant else None,
            "settings": {key: {"a": a, "b": b} for key, (a, b) in compared.settings.items()},
        }
    )
