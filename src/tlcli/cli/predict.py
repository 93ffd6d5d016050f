"""tlcli predict."""

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlcli.cli import options
from tlcli.cli.console import LONGEST_NAME, Screen, print_error
from tlcli.errors import DataError, ResourceError, UsageError

if TYPE_CHECKING:
    from tlcli.model.prediction import Prediction
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
    explain: Annotated[
        Path | None,
        typer.Option("--explain", metavar="DIR", help="Also draw the evidence for each answer."),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write a table with a column for each class.")
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
    """
    from tlcli.reports.notes import mostly_none_of_these  # noqa: PLC0415 - keeps --help fast
    from tlcli.runs.folders import find_run  # noqa: PLC0415
    from tlcli.workflows.predict import listed_images  # noqa: PLC0415
    from tlcli.workflows.predict import predict as answer  # noqa: PLC0415

    if csv_file is not None and not csv_file.parent.is_dir():  # before the work
        raise UsageError(
            "usage.no_folder", f"There is no folder {csv_file.parent} for the table.", "Create it, or change --csv."
        )
    screen = Screen(as_json, quiet)
    listed = listed_images(_on_stdin(screen)) if "-" in images else []
    given = [path for image in images for path in (listed if image == "-" else [image])]
    found = find_run(runs_dir, options.config_of_runs(config), run)
    screen.progress.note(f"Model: {found}")
    predicted = answer(found, given, top, min_confidence, explain, screen.progress)
    _show(screen, predicted, top)
    if csv_file is not None:
        _write_csv(csv_file, predicted)
        screen.line(f"Table: {csv_file}")
    if explain is not None:
        screen.line(f"Explanations: {explain}")
    if note := mostly_none_of_these(predicted.predictions, predicted.limit):
        screen.line(note)
    screen.document(_document(predicted))
    if quiet:
        for p in predicted.predictions:
            if p.error is not None:
                print_error(f"{p.path}: {p.error}")
    if any(p.error for p in predicted.predictions):
        raise typer.Exit(DataError.exit_code)


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
        shown[p.label] if p.answer == p.label else f"{p.answer} ({shown[p.label]}?)" for p in predicted.predictions
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


def _probability(value: float) -> str:
    """Not 1 where it is less: below a --min-confidence of 1 it would be called unsure without reason."""
    return f"{value:.4f}" if value < 0.99995 or value == 1 else ">0.9999"


def _document(predicted: "Predicted") -> list[dict[str, object]]:
    records = [_record(p) for p in predicted.predictions]
    for record, explained in zip(records, predicted.explained, strict=False):  # none where none were asked for
        near = explained.explanation.neighbours if explained.explanation else ()
        record["explanation"] = explained.card and str(explained.card)
        record["nearest"] = [{"path": n.name, "label": n.label, "similarity": n.similarity} for n in near]
    return records


def _record(p: "Prediction") -> dict[str, object]:
    top = [{"label": label, "probability": probability} for label, probability in p.top]
    return {
        "path": p.path, "label": p.label, "probability": p.probability, "top": top, "answer": p.answer,
        "distance": p.distance, "error": p.error, "error_code": p.error_code,
    }  # fmt: skip


def _write_csv(path: Path, predicted: "Predicted") -> None:
    from tlcli.runs.files import class_columns  # noqa: PLC0415 - keeps --help fast

    try:
        with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.writer(file)
            before, after = ("path", "label", "probability"), ("answer", "distance", "error")
            writer.writerow([*before, *class_columns(predicted.labels, before + after), *after])
            for p in predicted.predictions:
                numbers = p.probabilities or [""] * len(predicted.labels)
                writer.writerow([p.path, p.label, p.probability, *numbers, p.answer, p.distance, p.error])
    except OSError as error:
        raise ResourceError(
            "resource.table_not_written", f"The table {path} cannot be written: {error.strerror}.", "Change --csv."
        ) from error
