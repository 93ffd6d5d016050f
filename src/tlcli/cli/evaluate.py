"""tlcli evaluate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlcli.cli import options
from tlcli.cli.console import Screen, confusion_table, metrics_table, per_class_table, reuse
from tlcli.errors import DataError

if TYPE_CHECKING:
    from tlcli.evaluation.split_metrics import Metrics
    from tlcli.features.pipeline import Extraction
    from tlcli.runs.external import ExternalResult
    from tlcli.workflows.evaluate import Evaluated

_MATRIX = 12
"""Classes up to which the confusion matrix is printed; the report has larger ones."""


def evaluate(
    config: options.ConfigOption = None,
    run: options.RunOption = None,
    runs_dir: options.RunsDirOption = options.RUNS_DIR,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="Measure these labelled images instead: the run's own, where they have moved to, or an external test "
            "set.",
        ),
    ] = None,
    fail_under: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="ACCURACY", help="Exit with 3 when the accuracy is lower."),
    ] = None,
    verify: options.VerifyOption = False,
    threads: options.ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Measure a run on its test images: metrics with their intervals, baselines, calibration, a report.

    By default this is the latest run, with --config the latest run of that config. No other command measures the test
    images.

    With --data, all images of another labelled folder (those of its test split, if it has splits) are measured and
    kept beside the run's own results, with a check for duplicates of training images.
    """
    from tlcli.evaluation.split_metrics import metrics_document  # noqa: PLC0415 - keeps --help fast
    from tlcli.runs.folders import find_run  # noqa: PLC0415
    from tlcli.workflows.evaluate import evaluate as measure  # noqa: PLC0415

    screen = Screen(as_json, quiet)
    found = find_run(runs_dir, options.config_of_runs(config), run)
    done = measure(found, verify, screen.progress, data)
    which = options.again("--run", run) or [
        *options.again("--runs-dir", runs_dir, options.RUNS_DIR),
        *options.again("--config", config),
    ]
    if done.external and done.results:
        _show_external(screen, done.external, done.results, done.features)
        screen.next_command("tlcli", "predict", "IMAGE", *which)
        screen.document({"external": done.external.as_json()})
        _check_limit(done.external.metrics, "external", fail_under)
        return
    _show_own(screen, done)
    screen.next_command("tlcli", "predict", "IMAGE", *which)
    filtered = {"filtered": done.filtered.model_dump()} if done.filtered else {}
    screen.document({**metrics_document(done.metrics), **filtered})
    _check_limit(done.metrics["test"], "test", done.fail_under if fail_under is None else fail_under)


def _show_own(screen: Screen, done: "Evaluated") -> None:
    from tlcli.reports.notes import filtered_images, headline, never_measured  # noqa: PLC0415 - keeps --help fast

    test = done.metrics["test"]
    screen.table(metrics_table(done.metrics))
    screen.line()
    screen.table(per_class_table(test.per_class))
    if len(test.labels) <= _MATRIX:
        screen.line()
        screen.table(confusion_table(test.confusion_matrix, test.labels))
    screen.line()
    screen.bold(headline(done.metrics, "test", done.filtered))
    if note := filtered_images(done.filtered):
        screen.line(note)
    for sentence in never_measured({"test": test}):
        screen.line(sentence)
    for name, reason in done.bad.items():
        screen.line(f"Left out: {name}: {reason}")
    if text := done.text:
        for sentence in (
            text.cross_validation,
            text.near_duplicates,
            text.learning_curve,
            text.none_of_these,
            text.repeated_test_use,
        ):
            if sentence:
                screen.line(sentence)
    screen.line(reuse(done.features))
    screen.line(f"Results: {done.run_dir}")
    if done.text:
        screen.line(f"Report: {done.run_dir / 'report.html'}")


def _show_external(screen: Screen, result: "ExternalResult", folder: Path, features: "Extraction") -> None:
    from tlcli.reports.external import leaks, summary  # noqa: PLC0415 - keeps --help fast

    metrics = result.metrics
    screen.table(metrics_table({"external": metrics}))
    screen.line()
    screen.table(per_class_table(metrics.per_class, "external test set"))
    if len(metrics.labels) <= _MATRIX:
        screen.line()
        screen.table(confusion_table(metrics.confusion_matrix, metrics.labels, "external test set"))
    screen.line()
    screen.bold(f"External test set {result.name}: {summary(result)}")
    for name, reason in result.skipped.items():
        screen.line(f"Left out: {name}: {reason}")
    screen.line(leaks(result))
    screen.line(reuse(features))
    screen.line(f"Results: {folder}")


def _check_limit(metrics: "Metrics", what: str, limit: float | None) -> None:
    if limit is not None and metrics.accuracy < limit:
        raise DataError(
            "data.accuracy_below_limit",
            f"The {what} accuracy {metrics.accuracy:.4f} is below {limit:g}.",
            "The limit is --fail-under or evaluate.fail_under.",
        )
