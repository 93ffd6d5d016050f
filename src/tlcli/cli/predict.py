"""tlcli predict."""

import csv
import io
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlcli.cli import options
from tlcli.cli.console import LONGEST_NAME, Screen, print_error
from tlcli.errors import DataError, ResourceError, UsageError
from tlcli.system.files import whole_file

if TYPE_CHECKING:
    from tlcli.model.sorting import Sorting
    from tlcli.workflows.predict import Predicted


def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...", help="Image files, folders, patterns or addresses; - reads a list from standard input."
        ),
    ],
    config: options.ConfigOption = None,
    run: options.RunOption = None,
    runs_dir: options.RunsDirOption = options.RUNS_DIR,
    top: Annotated[int, typer.Option(min=1, metavar="K", help="Show the K most probable classes.")] = 1,
    min_confidence: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="PROBABILITY", help='Answer "unsure" where the probability is lower.'),
    ] = 0.0,
    coverage: Annotated[
        float | None,
        typer.Option(
            metavar="0.8|0.9|0.95|0.99",
            help="Also list the classes among which the image's is with this probability.",
        ),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option("--explain", metavar="DIR", help="Also draw the evidence for each answer."),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write a table with a column for each class.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of --csv if it exists.")] = False,
    copy_to: Annotated[
        Path | None,
        typer.Option("--copy-to", metavar="DIR", help="Copy the images into a folder for each class in a new folder."),
    ] = None,
    link_to: Annotated[
        Path | None, typer.Option("--link-to", metavar="DIR", help="The same with symbolic links to the images.")
    ] = None,
    threads: options.ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Classify images with a trained model: that of the latest run, of --run, or of the latest run of --config.

    Probabilities are calibrated on validation images and on held-out folds of the training images. The answer for an
    image whose features are farther from all training images than these are from one another is "none of these".

    Addresses are https://, http:// (downloaded, and removed afterwards) or file://. A list on standard input has one of
    these in each line, or NUL characters between them, as find -print0 writes them.

    An unreadable image gets a line with the reason; the other images are classified, and the exit code is 3.

    --copy-to and --link-to sort the images into folders named after the classes; what is "unsure", "none of these" or
    unreadable has folders of these names. The images themselves stay where they are.
    """
    from tlcli.reports.notes import mostly_none_of_these  # noqa: PLC0415 - keeps --help fast
    from tlcli.runs.folders import find_run  # noqa: PLC0415
    from tlcli.workflows.predict import listed_images  # noqa: PLC0415
    from tlcli.workflows.predict import predict as answer  # noqa: PLC0415

    if csv_file is not None:
        _check_table(csv_file, overwrite)
    sorting = _sorting(copy_to, link_to)
    screen = Screen(as_json, quiet)
    listed = listed_images(_on_stdin(screen)) if "-" in images else []
    given = [path for image in images for path in (listed if image == "-" else [image])]
    found = find_run(runs_dir, options.config_of_runs(config), run)
    screen.progress.note(f"Model: {found}")
    _note_other_settings(screen, found, config)
    predicted = answer(found, given, top, min_confidence, explain, screen.progress, sorting, coverage)
    _show(screen, predicted, top)
    if csv_file is not None:
        _write_csv(csv_file, predicted)
        screen.line(f"Table: {csv_file}")
    if explain is not None:
        screen.line(f"Explanations: {explain}")
    if sorting is not None:
        screen.line(_sorted_line(sorting, predicted))
    if note := mostly_none_of_these(predicted.predictions, predicted.limit):
        screen.line(note)
    screen.document(_document(predicted))
    if quiet:
        for p in predicted.predictions:
            if p.error is not None:
                print_error(f"{p.path}: {p.error}")
    if any(p.error for p in predicted.predictions):
        raise typer.Exit(DataError.exit_code)


def _note_other_settings(screen: Screen, run: Path, config: str | None) -> None:
    """The run of a config may have been trained before it was edited, or with --set."""
    if config is None:
        return
    from tlcli.config.build_run import setting_differences  # noqa: PLC0415 - keeps --help fast
    from tlcli.config.load import find_config, load_config  # noqa: PLC0415

    differing = setting_differences(run, load_config(find_config(config)).config)
    if differing:
        listed = ", ".join(f"{key} {before}, now {now}" for key, (before, now) in list(differing.items())[:5])
        screen.progress.note(f"This run was trained with other settings than {config} has now: {listed}.")


def _on_stdin(screen: Screen) -> bytes:
    if sys.stdin.isatty():
        screen.progress.note("Reading a list of images, one in each line, until Ctrl-D.")
    return sys.stdin.buffer.read()


def _show(screen: Screen, predicted: "Predicted", top: int) -> None:
    """Probability, class, path: the path comes last, so that a long one breaks nothing."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - keeps --help fast

    from tlcli.reports.names import distinct_names  # noqa: PLC0415

    shown: dict[str | None, str] = {None: ""}
    shown.update(zip(predicted.labels, distinct_names(predicted.labels, LONGEST_NAME), strict=True))
    named = [
        shown[p.best_guess] if p.refusal is None else f"{p.refusal} ({shown[p.best_guess]}?)"
        for p in predicted.predictions
    ]
    width = max(map(cell_len, ("class", *shown.values(), *named)))

    def row(number: str, name: str, path: str = "") -> str:
        return f"{number:>11}  {set_cell_size(name, width)}  {path}".rstrip()

    screen.bold(row("probability", "class", "image"))
    for p, name in zip(predicted.predictions, named, strict=True):
        path = p.path.replace("\n", "\\n")
        if p.error is not None:
            screen.line(row("-", "-", f"{path}: {p.error}"))
        ranked = list(p.top[:top])
        if p.is_none_of_these:  # what the classes share among them says nothing of that
            screen.line(row("-", name, path))
            ranked = ranked if top > 1 else []
        for rank, (label, probability) in enumerate(ranked):
            first = rank == 0 and not p.is_none_of_these
            screen.line(row(_probability(probability), name if first else shown[label], path if first else ""))
        if p.prediction_set and len(p.prediction_set) > 1 and not p.is_none_of_these:
            screen.line(row("", "one of", ", ".join(shown[label] for label in p.prediction_set)))


def _probability(value: float) -> str:
    """Not 1 where it is less: below a --min-confidence of 1 it would be called unsure without reason."""
    return f"{value:.4f}" if value < 0.99995 or value == 1 else ">0.9999"


def _document(predicted: "Predicted") -> list[dict[str, object]]:
    records = [p.document() for p in predicted.predictions]
    for record, explained in zip(records, predicted.explained, strict=False):  # none where none were asked for
        near = explained.explanation.neighbours if explained.explanation else ()
        record["explanation"] = explained.card and str(explained.card)
        record["nearest"] = [{"path": n.name, "label": n.label, "similarity": n.similarity} for n in near]
    for record, target in zip(records, predicted.sorted_to, strict=False):
        record["sorted_to"] = target and str(target)
    return records


COLUMNS = ("path", "label", "answer", "best_guess", "probability", "distance", "error")
"""Of the table of --csv, before those of the classes."""


def _check_table(path: Path, overwrite: bool) -> None:
    """Before the work: there is a folder for the table, and no file is replaced unasked. An empty one holds nothing."""
    if not path.parent.is_dir():
        raise UsageError(
            "usage.no_folder", f"There is no folder {path.parent} for the table.", "Create it, or change --csv."
        )
    if path.is_file() and path.stat().st_size and not overwrite:
        raise UsageError(
            "usage.file_exists", f"{path} exists.", "Give another file to --csv, or replace it with --overwrite."
        )


def _sorting(copy_to: Path | None, link_to: Path | None) -> "Sorting | None":
    folder = copy_to or link_to
    if folder is None:
        return None
    if copy_to and link_to:
        raise UsageError("usage.copy_and_link", "--copy-to and --link-to are both given.", "Give one of them.")
    from tlcli.model.sorting import Sorting  # noqa: PLC0415 - keeps --help fast

    return Sorting(folder, links=link_to is not None)


def _sorted_line(sorting: "Sorting", predicted: "Predicted") -> str:
    """Where the images are, and how many in each folder; an image that was named twice is there once."""
    targets = {target for target in predicted.sorted_to if target is not None}
    counts = Counter(target.parent.name for target in targets)
    listed = ", ".join(f"{count:,} {name}" for name, count in counts.most_common(10))
    return f"{'Linked' if sorting.links else 'Copied'} to {sorting.folder}: {listed or 'no image'}"


def _write_csv(path: Path, predicted: "Predicted") -> None:
    from tlcli.runs.files import class_columns  # noqa: PLC0415 - keeps --help fast

    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow([*COLUMNS, *class_columns(predicted.labels, COLUMNS)])
    for p in predicted.predictions:
        numbers = p.probabilities or [""] * len(predicted.labels)
        writer.writerow([p.path, p.label, p.answer, p.best_guess, p.probability, p.distance, p.error, *numbers])
    data = table.getvalue().encode(errors="backslashreplace")
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, a pipe
            path.write_bytes(data)
            return
        with whole_file(path) as temporary:  # what is replaced stays until the new one is complete
            temporary.write_bytes(data)
    except (OSError, ResourceError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        raise ResourceError(
            "resource.table_not_written", f"The table {path} cannot be written: {getattr(cause, 'strerror', error)}.",
            "Change --csv.",
        ) from error  # fmt: skip
