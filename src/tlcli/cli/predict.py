"""tlcli predict."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlcli.cli import options
from tlcli.cli.console import Screen, print_error
from tlcli.errors import DataError, ResourceError, UsageError

if TYPE_CHECKING:
    from tlcli.model.prediction import Prediction
    from tlcli.workflows.predict import Predicted


def predict(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files, folders or patterns.")],
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

    An unreadable image gets a line with the reason; the other images are classified, and the exit code is 3.
    """
    from tlcli.runs.folders import find_run  # noqa: PLC0415 - keeps --help fast
    from tlcli.workflows.predict import predict as answer  # noqa: PLC0415

    if csv_file is not None and not csv_file.parent.is_dir():  # before the work
        raise UsageError(
            "usage.no_folder", f"There is no folder {csv_file.parent} for the table.", "Create it, or change --csv."
        )
    screen = Screen(as_json, quiet)
    found = find_run(runs_dir, options.config_of_runs(config), run)
    screen.progress.note(f"Model: {found}")
    predicted = answer(found, images, top, min_confidence, explain, screen.progress)
    _show(screen, predicted, top)
    if csv_file is not None:
        _write_csv(csv_file, predicted)
        screen.line(f"Table: {csv_file}")
    if explain is not None:
        screen.line(f"Explanations: {explain}")
    screen.document(_document(predicted))
    if quiet:
        for p in predicted.predictions:
            if p.error is not None:
                print_error(f"{p.path}: {p.error}")
    if any(p.error for p in predicted.predictions):
        raise typer.Exit(DataError.exit_code)


def _show(screen: Screen, predicted: "Predicted", top: int) -> None:
    """Probability, class, path: the path comes last, so that a long one breaks nothing."""
    named = [p.text for p in predicted.predictions]
    width = max(len("class"), *(len(label) for label in predicted.labels), *(len(name) for name in named))
    screen.bold(f"probability  {'class':{width}}  image")
    for p, name in zip(predicted.predictions, named, strict=True):
        if p.error is not None:
            screen.line(f"{'-':>11}  {'-':{width}}  {p.path}: {p.error}")
        ranked = list(p.top[:top])
        if p.is_none_of_these:  # what the classes share among them says nothing of that
            screen.line(f"{'-':>11}  {name:{width}}  {p.path}")
            ranked = ranked if top > 1 else []
        for rank, (label, probability) in enumerate(ranked):
            first = rank == 0 and not p.is_none_of_these
            shown = f"{_probability(probability):>11}  {name if first else label:{width}}  {p.path if first else ''}"
            screen.line(shown.rstrip())


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
    try:
        with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label", "probability", *predicted.labels, "answer", "distance", "error"])
            for p in predicted.predictions:
                numbers = p.probabilities or [""] * len(predicted.labels)
                writer.writerow([p.path, p.label, p.probability, *numbers, p.answer, p.distance, p.error])
    except OSError as error:
        raise ResourceError(
            "resource.table_not_written", f"The table {path} cannot be written: {error.strerror}.", "Change --csv."
        ) from error
