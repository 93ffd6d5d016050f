"""tlcli evaluate."""

from typing import Annotated

import typer

from tlcli.cli import options
from tlcli.cli.console import Screen, confusion_table, metrics_table, per_class_table, reuse
from tlcli.errors import DataError

_MATRIX = 12
"""Classes up to which the confusion matrix is printed; the report has larger ones."""


def evaluate(
    config: options.ConfigOption = None,
    run: options.RunOption = None,
    runs_dir: options.RunsDirOption = options.RUNS_DIR,
    fail_under: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="ACCURACY", help="Exit with 3 when the test accuracy is lower."),
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
    """
    from tlcli.evaluation.split_metrics import metrics_document  # noqa: PLC0415 - keeps --help fast
    from tlcli.reports.notes import headline, never_measured  # noqa: PLC0415
    from tlcli.runs.folders import find_run  # noqa: PLC0415
    from tlcli.workflows.evaluate import evaluate as measure  # noqa: PLC0415

    screen = Screen(as_json, quiet)
    done = measure(find_run(runs_dir, config, run), verify, screen.progress)
    test = done.metrics["test"]
    screen.table(metrics_table(done.metrics))
    screen.line()
    screen.table(per_class_table(test.per_class))
    if len(test.labels) <= _MATRIX:
        screen.line()
        screen.table(confusion_table(test.confusion_matrix, test.labels))
    screen.line()
    screen.bold(headline(done.metrics, "test"))
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
    which = options.again("--run", run) or [
        *options.again("--runs-dir", runs_dir, options.RUNS_DIR),
        *options.again("--config", config),
    ]
    screen.next_command("tlcli", "predict", "IMAGE", *which)
    screen.document(metrics_document(done.metrics))
    limit = done.fail_under if fail_under is None else fail_under
    if limit is not None and test.accuracy < limit:
        raise DataError(
            "data.accuracy_below_limit",
            f"The test accuracy {test.accuracy:.4f} is below {limit:g}.",
            "The limit is --fail-under or evaluate.fail_under.",
        )
