"""tlcli runs compare: compares two runs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tlcli.cli.console import Screen, plain_table
from tlcli.cli.options import RUNS_DIR, DebugOption, JsonOption, QuietOption, RunsDirOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlcli.runs.comparison import Comparison, Disagreement, Side
    from tlcli.workflows.runs import ComparedRuns

_LISTED = 5
"""Images of each side that are listed; --json has all."""
_MANY_EVALUATIONS = 5
"""The best of five equally good runs exceeds its true accuracy by 1.2 standard errors on average."""


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A run: its directory, NAME/TIME-xxxx, the end of that (94e2), latest, or latest~1."
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The run to compare it with.")],
    runs_dir: RunsDirOption = RUNS_DIR,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Compare the accuracies of two evaluated runs on the same test images.

    Paired, image by image: McNemar's exact test, and a 95 % interval of the difference.
    """
    from tlcli.workflows.runs import compare as compare_runs  # noqa: PLC0415 - keeps --help fast

    screen = Screen(as_json, quiet)
    compared = compare_runs(runs_dir, a, b)
    found = compared.comparison
    for letter, side in (("A", found.a), ("B", found.b)):
        screen.line(f"{letter}: {side.name}")
    for line in _left_out(found):
        screen.line(line)
    screen.line()
    screen.table(compare_table(found))
    for title, images in (("A", found.only_a), ("B", found.only_b)):
        for line in _listed(title, images):
            screen.line(line)
    screen.line()
    for line in _settings(compared):
        screen.line(line)
    screen.bold(verdict(found))
    if found.test_evaluations >= _MANY_EVALUATIONS:
        screen.line(
            f"{found.test_evaluations} runs in {runs_dir} were evaluated on these test images: choosing the best of "
            "them overfits the test images. Choose by validation accuracy, and evaluate once."
        )
    screen.document(_compared_document(compared))


def compare_table(found: "Comparison") -> Table:
    """Images that A, B, both, only one and neither classify correctly; and their shares."""
    table = plain_table("", "images", "share", title="Correctly classified test images")
    counts = {
        "by A": found.a.correct,
        "by B": found.b.correct,
        "by both": found.both,
        "by A only": len(found.only_a),
        "by B only": len(found.only_b),
        "by neither": found.neither,
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
    if points < 0:
        points, low, high = -points, -high, -low
    better = "B" if found.difference.difference > 0 else "A"
    return f"{better} is better by {points:.1f} points (95 % interval {low:.1f} to {high:.1f}; {test})"


def _left_out(found: "Comparison") -> list[str]:
    """The test images that were not compared."""
    lines = []
    for letter, other, side in (("A", "B", found.a), ("B", "A", found.b)):
        if side.not_common:
            seen = side.trained_on_by_other
            trained = f", {seen:,} of which {other} was trained on" if seen else ""
            lines.append(
                f"Left out: {side.not_common:,} of {side.evaluated:,} test images of {letter}, on which {other} was "
                f"not evaluated{trained}"
            )
    if found.left_out:
        lines.append(
            f"Left out: {found.left_out:,} test images of both that A or B was trained on (duplicates in other splits)"
        )
    return lines


def _listed(letter: str, images: "Sequence[Disagreement]") -> list[str]:
    """Images that only this run classifies correctly, with the prediction of the other."""
    if not images:
        return []
    shown = [f"  {p.path}: {p.label}, not {p.by_b if letter == 'A' else p.by_a}" for p in images[:_LISTED]]
    more = [f"  and {len(images) - _LISTED:,} more (--json lists all)"] if len(images) > _LISTED else []
    return ["", f"Classified correctly by {letter} only:", *shown, *more]


def _settings(compared: "ComparedRuns") -> list[str]:
    lines = [f"{key}: {_value(a)} -> {_value(b)}" for key, (a, b) in compared.settings.items()]
    lines += [] if compared.comparison.same_data else ["Trained on other images, labels or splits."]
    return ["Changes from A to B:", *(f"  {line}" for line in lines), ""] if lines else []


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)


def _compared_document(compared: "ComparedRuns") -> dict[str, Any]:
    found = compared.comparison

    def side(of: "Side") -> dict[str, Any]:
        return {
            "run": of.name,
            "path": str(of.path),
            "accuracy": of.correct / found.images,
            "evaluated": of.evaluated,
            "not_common": of.not_common,
            "trained_on_by_other": of.trained_on_by_other,
        }

    difference = found.difference
    return {
        "a": side(found.a),
        "b": side(found.b),
        "images": found.images,
        "left_out": found.left_out,
        "both_correct": found.both,
        "only_a_correct": [vars(image) for image in found.only_a],
        "only_b_correct": [vars(image) for image in found.only_b],
        "both_wrong": found.neither,
        "difference": difference.difference,
        "difference_ci95": [difference.low, difference.high],
        "p": difference.p,
        "better": ("b" if difference.difference > 0 else "a") if difference.significant else None,
        "settings": {key: {"a": a, "b": b} for key, (a, b) in compared.settings.items()},
        "same_data": found.same_data,
        "test_evaluations": found.test_evaluations,
    }
