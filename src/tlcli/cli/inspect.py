"""tlcli inspect."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlcli.cli import options
from tlcli.cli.console import Screen, counts_table, reuse
from tlcli.system.extras import TRAINING, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlcli.datasets.index import LabelledImage
    from tlcli.evaluation.inspection import Duplicate, Inspection
    from tlcli.evaluation.outliers import Outlier


def inspect(
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    write_exclude: Annotated[
        Path | None,
        typer.Option(
            "--write-exclude", metavar="FILE", help="Write a list of images to leave out, each with its reason."
        ),
    ] = None,
    write_labels: Annotated[
        Path | None,
        typer.Option(
            "--write-labels", metavar="FILE", help="Write the doubted labels as a CSV file, to decide on each."
        ),
    ] = None,
    runs_dir: options.RunsDirOption = options.RUNS_DIR,
    verify: options.VerifyOption = False,
    threads: options.ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Check the images before training: leaks, duplicates, doubted labels, outliers, unreadable and unusual files.

    Nothing is changed or deleted. Every image passes the frozen backbone once, and train reuses the features. The
    findings are also written as a page, inspect.html, beside the runs of the config.
    """
    require("train", "tlcli inspect", TRAINING)
    from tlcli.config.load import config_options  # noqa: PLC0415 - keeps --help fast
    from tlcli.workflows.inspect import inspect as run  # noqa: PLC0415

    screen = Screen(as_json, quiet)
    loaded = options.load_chosen(config, set_, screen.progress, runs_dir)
    given = config_options(config, set_ or ())
    listing = shlex.join(["tlcli", "inspect", *given, "--write-exclude", "exclude.txt"])
    labels = shlex.join(["tlcli", "inspect", *given, "--write-labels", "labels.csv"])
    files = ["--set", "dataset.exclude=exclude.txt", "--set", "dataset.corrections=labels.csv"]
    training = shlex.join(["tlcli", "train", *given, *files])
    page = runs_dir / loaded.name / "inspect.html"
    done = run(loaded, page, [listing, labels, training], write_exclude, verify, screen.progress, write_labels)
    options.remember(loaded, runs_dir)
    found = done.found
    _show(screen, found, loaded.config.head.class_weight != "none")
    if done.excluded:
        active, inactive = done.excluded
        screen.line(f"List to exclude: {write_exclude} ({active:,} images, and {inactive:,} to decide on)")
    elif found.duplicates or found.unreadable or found.outliers:
        screen.line(f"To write a list of images to leave out: {listing}")
    if done.decided is not None:
        count = len(found.label_issues)
        screen.line(
            f"Doubted labels: {write_labels} ({count:,} of this inspection, {done.decided:,} decided). Fill in the "
            "column decision (keep, relabel, exclude or a class); rows left empty change nothing."
        )
    elif found.label_issues and not found.is_blind:
        screen.line(f"To decide on the doubted labels, on the page or in a file: {labels}")
    screen.line(reuse(found.features))
    screen.line(f"Page: {page}")
    screen.next_command(
        "tlcli",
        "train",
        *given,
        *options.again("--set", write_exclude and f"dataset.exclude={write_exclude}"),
        *options.again("--set", write_labels and f"dataset.corrections={write_labels}"),
    )
    screen.document({**found.document(), "page": str(page)})


def _show(screen: Screen, found: "Inspection", is_weighted: bool) -> None:
    from tlcli.reports.inspect_text import blindness  # noqa: PLC0415 - keeps --help fast
    from tlcli.reports.notes import unequal_classes  # noqa: PLC0415

    for note in (*found.index.notes, unequal_classes(found.index.counts()["train"], is_weighted)):
        if note:
            screen.line(note)
    screen.table(counts_table(found.index.counts()))
    _list(screen, "Unreadable files", [f"{name}: {reason}" for name, reason in found.unreadable.items()])
    _list(screen, "Unusual files", [f"{name}: {'; '.join(what)}" for name, what in found.unusual.items()])
    if found.suggestions:
        _list(screen, "Suggested settings", list(found.suggestions))
    _list(screen, "Leaks between splits", [_pair(one) for one in found.leaks])
    if by_splits := found.leaks_by_splits:
        screen.line(f"  By splits: {', '.join(f'{splits} {count:,}' for splits, count in by_splits.items())}")
    _list(screen, "Duplicates within a split", [_pair(one) for one in found.within_splits])
    if found.several_labels:
        _list(screen, "Images under several labels", [_labels(group) for group in found.several_labels])
    issues = [
        f"{one.image.name}: labelled {one.image.label} ({one.label_probability:.2f}), perhaps {one.suggested} "
        f"({one.suggested_probability:.2f})"
        for one in found.label_issues
    ]
    _list(screen, "Doubted labels", [] if found.is_blind else issues, len(issues))
    if found.is_blind:
        screen.line(blindness(found))
    if unchecked := len(found.index.of("test")):
        screen.line(
            f"  Labels of {unchecked:,} test images were not checked, so that the test stays fair. Before a data set "
            "has a test split for good, dataset.split.test: 0 checks all."
        )
    _list(screen, "Outliers among training and validation images", [_far(one) for one in found.outliers])
    if within := [_far(one) for one in found.farthest if not one.is_outlier]:
        _list(screen, "Farthest images within the limit (look at them, too)", within)


def _far(one: "Outlier") -> str:
    return (
        f"{one.image.name}: labelled {one.image.label}, distance {one.distance:.2f} ({one.score:.2f} times the limit)"
    )


def _pair(one: "Duplicate") -> str:
    kind = "exact duplicate" if one.kind == "exact" else f"near duplicate ({one.similarity:.2f})"
    return f"{one.second.name} ({one.second.split}): {kind} of {one.first.name} ({one.first.split})"


def _labels(group: "Sequence[LabelledImage]") -> str:
    return "; ".join(f"{one.name} ({one.split}) labelled {one.label}" for one in group)


def _list(screen: Screen, title: str, lines: list[str], count: int | None = None) -> None:
    screen.line()
    screen.bold(f"{title}: {len(lines) if count is None else count:,}")
    screen.some([f"  {line}" for line in lines])
