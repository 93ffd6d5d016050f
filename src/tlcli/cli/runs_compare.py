"""tlcli runs compare: compares two runs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tlcli.cli import completion, options
from tlcli.cli.console import Screen, plain_table
from tlcli.system.extras import require

if TYPE_CHECKING:
    from tlcli.runs.comparison import Comparison
    from tlcli.workflows.runs import ComparedRuns

_IMAGES = {"test": "test images", "out_of_fold": "training and validation images"}
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
    """Compare the accuracies of two runs on the same images.

    On test images, where both runs are evaluated; and by their cross-validation on training and validation images,
    which needs no test images. Paired, image by image: McNemar's exact test, and a 95 % interval of the difference, for
    cross-validation corrected for what its folds share.
    """
    require("train", "tlcli runs compare", ("scipy",))
    from tlcli.workflows.runs import compare as compare_runs  # noqa: PLC0415 - keeps --help fast

    screen = Screen(as_json, quiet)
    compared = compare_runs(runs_dir, a, b)
    found = [one for one in (compared.test, compared.out_of_fold) if one is not None]
    screen.line(f"A: {found[0].a.run}")
    screen.line(f"B: {found[0].b.run}")
    for one in found:
        _show(screen, one)
    screen.line()
    _show_settings(screen, compared, found[0].same_data)
    for one in found:
        is_own = one.on == "test" or (one.a.is_own_head and one.b.is_own_head)
        images = "" if len(found) == 1 else f"{_IMAGES[one.on].capitalize()}: "
        of = "" if is_own else "Heads of logistic regression on the frozen networks, not the models: "
        screen.bold(f"{images}{of}{verdict(one)}")
    if compared.test is None:
        screen.line(
            "By cross-validation of both runs on their training and validation images; no test images were used."
        )
    for letter, side in (("A", found[-1].a), ("B", found[-1].b)):
        if not side.is_own_head:
            screen.line(
                f"Cross-validation of {letter} is of logistic regression on the features of the frozen network, not of "
                f"its own model{': to compare that, evaluate both runs' if compared.test is None else ''}."
            )
    if found[0].test_evaluations >= _MANY_EVALUATIONS:
        screen.line(
            f"{found[0].test_evaluations} runs in {runs_dir} were evaluated on these test images: choosing the best of "
            "them overfits the test images. Choose by cross-validation, and evaluate once."
        )
    screen.document(_document(compared))


def _show(screen: Screen, found: "Comparison") -> None:
    """Counts, and images that only one classifies correctly."""
    screen.line()
    _show_left_out(screen, found)
    screen.table(_table(found))
    _show_images(screen, "A", [f"  {one.path}: {one.label}, not {one.by_b}" for one in found.only_a_correct])
    _show_images(screen, "B", [f"  {one.path}: {one.label}, not {one.by_a}" for one in found.only_b_correct])


def _table(found: "Comparison") -> Table:
    """Images that A, B, both, only one and neither classify correctly; and their shares."""
    table = plain_table("", "images", "share", title=f"Correctly classified {_IMAGES[found.on]}")
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
    if found.on == "out_of_fold":
        test = f"corrected for what the folds share, {p}"
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
    """The images that were not compared."""
    images, measured = _IMAGES[found.on], "evaluated" if found.on == "test" else "cross-validated"
    for letter, other, side in (("A", "B", found.a), ("B", "A", found.b)):
        if side.not_common:
            seen = side.trained_on_by_other
            trained = f", {seen:,} of which {other} was trained on" if seen else ""
            screen.line(
                f"Left out: {side.not_common:,} of {side.evaluated:,} {images} of {letter}, on which {other} was "
                f"not {measured}{trained}"
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


def _show_settings(screen: Screen, compared: "ComparedRuns", same_data: bool) -> None:
    lines = ["  {}: {} -> {}".format(key, *map(_value, both)) for key, both in compared.settings.items()]
    if not same_data:
        lines.append("  Trained on other images, labels or splits.")
    if lines:
        for line in ["Changes from A to B:", *lines, ""]:
            screen.line(line)


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)


def _document(compared: "ComparedRuns") -> Any:
    """The comparison on test images, or in place of it by cross-validation; the latter also under its own key."""
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 - keeps --help fast

    out_of_fold = compared.out_of_fold and _figures(compared.out_of_fold)
    found = _figures(compared.test) if compared.test else out_of_fold or {}
    settings = {key: {"a": a, "b": b} for key, (a, b) in compared.settings.items()}
    return to_jsonable_python({**found, "settings": settings, "out_of_fold": out_of_fold})


def _figures(found: "Comparison") -> dict[str, Any]:
    difference = found.difference
    return {
        **vars(found),
        "difference": difference.difference,
        "difference_ci95": (difference.low, difference.high),
        "p": difference.p,
        "better": ("b" if difference.difference > 0 else "a") if difference.significant else None,
    }
