"""tlcli runs compare."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tlcli.cli.console import Screen, plain_table
from tlcli.cli.options import RUNS_DIR, DebugOption, JsonOption, QuietOption, RunsDirOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlcli.workflows.compare import Compared, Parted, Side

_NAMED = 5
"""Images of each side that are named; --json has them all."""
_MANY_LOOKS = 5
"""Of five equally good runs the best lies up to 1.2 standard errors above what it is, in the mean."""


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A run: its folder, NAME/TIME-xxxx, the end of that (94e2), latest, or latest~1."
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The run it is compared with, named likewise.")],
    runs_dir: RunsDirOption = RUNS_DIR,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Tell whether one run is better than another on the same test images, or whether it may be chance.

    Paired, image by image: McNemar's exact test, and an interval for the difference of the accuracies. Both runs
    must have been evaluated.
    """
    from tlcli.runs.folders import named_run  # noqa: PLC0415 - keeps --help fast
    from tlcli.workflows.compare import compare as compare_runs  # noqa: PLC0415

    screen = Screen(as_json, quiet)
    found = compare_runs(runs_dir, named_run(runs_dir, a), named_run(runs_dir, b))
    for letter, side in (("A", found.a), ("B", found.b)):
        screen.line(f"{letter}: {side.name}")
    for line in _which_images(found):
        screen.line(line)
    screen.line()
    screen.table(compare_table(found))
    for title, images in (("A", found.only_a), ("B", found.only_b)):
        for line in _named(title, images):
            screen.line(line)
    screen.line()
    for line in _settings(found):
        screen.line(line)
    screen.bold(verdict(found))
    if found.looks >= _MANY_LOOKS:
        screen.line(
            f"{found.looks} runs in {runs_dir} were evaluated on these test images: the best of many is partly luck. "
            "Choose by validation accuracy, and look at the test images once."
        )
    screen.document(_compared_document(found))


def compare_table(found: "Compared") -> Table:
    """Images that each of the two names rightly, both, one alone, none; and their shares."""
    table = plain_table("", "images", "share", title="Test images named rightly")
    counts = {
        "by A": found.a.right,
        "by B": found.b.right,
        "by both": found.both,
        "by A alone": len(found.only_a),
        "by B alone": len(found.only_b),
        "by neither": found.neither,
    }
    for name, count in counts.items():
        table.add_row(name, f"{count:,}", f"{count / found.images:.4f}", end_section=name in ("by B", "by neither"))
    table.add_row("of", f"{found.images:,}", "")
    return table


def verdict(found: "Compared") -> str:
    """The comparison in a sentence."""
    points, low, high = (
        100 * share for share in (found.difference.difference, found.difference.low, found.difference.high)
    )
    of = f"p = {found.difference.p:.2g}"
    grouped = found.groups < found.images
    test = f"{found.groups:,} groups taken whole, {of}" if grouped else f"McNemar's exact {of}"
    if not found.difference.evident:
        return (
            f"No evidence that one is better: B - A is {points:+.1f} points (95 % interval {low:.1f} to {high:.1f}; "
            f"{test})"
        )
    if points < 0:
        points, low, high = -points, -high, -low
    better = "B" if found.difference.difference > 0 else "A"
    return f"{better} is better by {points:.1f} points (95 % interval {low:.1f} to {high:.1f}; {test})"


def _which_images(found: "Compared") -> list[str]:
    """Where the two were not evaluated on the same images, what was compared."""
    lines = []
    for letter, other, side in (("A", "B", found.a), ("B", "A", found.b)):
        if side.alone:
            trained = f", {side.trained_by_other:,} of which {other} was trained on" if side.trained_by_other else ""
            lines.append(
                f"Left out: {side.alone:,} of {side.evaluated:,} test images of {letter}, on which {other} was not "
                f"evaluated{trained}"
            )
    if found.left_out:
        lines.append(
            f"Left out: {found.left_out:,} test images of both that A or B was trained on (copies in other splits)"
        )
    return lines


def _named(letter: str, images: "Sequence[Parted]") -> list[str]:
    """Images that this one alone names rightly, with what the other says."""
    if not images:
        return []
    shown = [f"  {p.path}: {p.label}, not {p.by_b if letter == 'A' else p.by_a}" for p in images[:_NAMED]]
    more = [f"  and {len(images) - _NAMED:,} more (--json lists them all)"] if len(images) > _NAMED else []
    return ["", f"Only {letter} is right:", *shown, *more]


def _settings(found: "Compared") -> list[str]:
    lines = [f"{key}: {_value(a)} -> {_value(b)}" for key, (a, b) in found.settings.items()]
    lines += [] if found.same_data else ["Trained on other images, labels or splits."]
    return ["From A to B:", *(f"  {line}" for line in lines), ""] if lines else []


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)


def _compared_document(found: "Compared") -> dict[str, Any]:
    def side(of: "Side") -> dict[str, Any]:
        return {
            "run": of.name,
            "path": str(of.path),
            "accuracy": of.right / found.images,
            "evaluated": of.evaluated,
            "not_common": of.alone,
            "trained_on_by_other": of.trained_by_other,
        }

    difference = found.difference
    return {
        "a": side(found.a),
        "b": side(found.b),
        "images": found.images,
        "left_out": found.left_out,
        "both_right": found.both,
        "only_a_right": [vars(image) for image in found.only_a],
        "only_b_right": [vars(image) for image in found.only_b],
        "both_wrong": found.neither,
        "difference": difference.difference,
        "difference_ci95": [difference.low, difference.high],
        "p": difference.p,
        "better": ("b" if difference.difference > 0 else "a") if difference.evident else None,
        "settings": {key: {"a": a, "b": b} for key, (a, b) in found.settings.items()},
        "same_data": found.same_data,
        "runs_on_these_test_images": found.looks,
    }
