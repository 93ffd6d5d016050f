"""tlcli evaluate."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlcli.cli import completion, options
from tlcli.cli.console import Screen, confusion_table, confusions_table, metrics_table, per_class_table, reuse
from tlcli.errors import DataError
from tlcli.system.extras import TRAINING, require
from tlcli.system.remote.path import as_path

if TYPE_CHECKING:
    from tlcli.config.schema import Evaluate as EvaluateSection
    from tlcli.evaluation.split_metrics import Metrics
    from tlcli.features.pipeline import Extraction
    from tlcli.runs.external import ExternalResult
    from tlcli.workflows.evaluate import Evaluated

_MATRIX = 12
"""Classes up to which the confusion matrix is printed where it fits; else its largest confusions are."""


def evaluate(
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    run: options.RunOption = None,
    runs_dir: options.RunsDirOption = options.RUNS_DIR,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="Measure these labelled images instead: the run's own, where they have moved to, or an external test "
            "set. A folder, a manifest, or an address of either.",
        ),
    ] = None,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-under",
            metavar="METRIC=LIMIT",
            autocompletion=completion.gates,
            help="Exit with 3 when a metric is lower: accuracy=0.9 (or 0.9), accuracy.lower=0.88 (the lower end of the "
            "95 % interval), recall.CLASS=0.95; repeatable.",
        ),
    ] = None,
    verify: options.VerifyOption = False,
    threads: options.ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Measure a run on its test images: metrics with their intervals, baselines, calibration, a report.

    By default this is the latest run; with --config the latest one that was trained with the settings and the data set
    that this config has now, and its section evaluate applies. No other command measures the test images.

    With --data, all images of another labelled folder (those of its test split, if it has splits) are measured and
    kept beside the run's own results, with a check for duplicates of training images.
    """
    require("train", "tlcli evaluate", TRAINING)
    from tlcli.evaluation.gates import parse_gates  # noqa: PLC0415 - keeps --help fast
    from tlcli.workflows.evaluate import evaluate as measure  # noqa: PLC0415

    options.refuse_settings_alone(config, set_)
    gates = parse_gates(fail_under or ())
    screen = Screen(as_json, quiet)
    found, section = _run_of(screen, runs_dir, config, set_ or [], run, data is not None)
    done = measure(found, verify, screen.progress, None if data is None else as_path(data, Path()), gates, section)
    if done.external and done.results:
        _show_external(screen, done.external, done.results, done.features)
    else:
        _show_own(screen, done)
    for result in done.gates:
        screen.line(f"{'Passed' if result.passed else 'Failed'}: {result}")
    is_named = run is not None or config is not None
    which = ["--run", str(run or found)] if is_named else options.again("--runs-dir", runs_dir, options.RUNS_DIR)
    screen.next_command("tlcli", "predict", "IMAGE", *which)
    screen.document(_document(done))
    _check_gates(done)


def _run_of(
    screen: Screen, runs_dir: Path, config: str | None, overrides: list[str], run: Path | None, has_data: bool
) -> "tuple[Path, EvaluateSection | None]":
    """The run to measure, and the section of the config that was asked for."""
    from tlcli.runs.folders import find_run  # noqa: PLC0415 - keeps --help fast

    asked = options.config_of_runs(config)
    if asked is None or config is None:
        return find_run(runs_dir, None, run), None
    from tlcli.config.build_run import find_matching_run  # noqa: PLC0415
    from tlcli.config.load import find_config, load_config  # noqa: PLC0415

    loaded = load_config(find_config(config), overrides)
    found = find_matching_run(runs_dir, asked, loaded, run, has_data)
    screen.progress.note(f"Run: {found.folder}")
    if found.newer:
        screen.progress.note(f"{len(found.newer):,} newer runs of this config were trained with other settings.")
    return found.folder, loaded.config.evaluate


def _document(done: "Evaluated") -> dict[str, Any]:
    """The metrics of each split, or the external result; and what a script decides by."""
    from tlcli.evaluation.split_metrics import metrics_document  # noqa: PLC0415 - keeps --help fast

    measured: dict[Any, Any] = (
        {"external": done.external.as_json()} if done.external else dict(metrics_document(done.metrics))
    )
    leaks = done.external.leaks if done.external else done.text and done.text.found.near_duplicates
    return {
        "run_dir": str(done.run_dir),
        **measured,
        **({"out_of_fold": done.out_of_fold.as_json()} if done.out_of_fold else {}),
        **({"filtered": done.filtered.model_dump()} if done.filtered else {}),
        "cross_validation": done.cross_validation and asdict(done.cross_validation),
        "transfer": done.transfer and asdict(done.transfer),
        "no_transfer": done.no_transfer,
        "leaks": leaks and {"exact": leaks.count("exact"), "near": leaks.count("near"), **asdict(leaks)},
        "gates": [asdict(result) for result in done.gates],
    }


def _show_own(screen: Screen, done: "Evaluated") -> None:
    metrics: dict[str, Metrics] = {str(split): of_split for split, of_split in done.metrics.items()}
    of = "test images"
    if done.out_of_fold:
        metrics["out of fold"], of = done.out_of_fold, "training and validation images, out of fold"
    test = done.out_of_fold or done.metrics["test"]
    screen.table(metrics_table(metrics))
    screen.line()
    screen.table(per_class_table(test.per_class, of))
    _show_confusions(screen, test, of)
    screen.line()
    for line in _headlines(done):
        screen.bold(line)
    for sentence in filter(None, _sentences(done, test)):
        screen.line(sentence)
    screen.line(reuse(done.features))
    screen.line(f"Results: {done.run_dir}")
    if done.text:
        screen.line(f"Report: {done.run_dir / 'report.html'}")


def _headlines(done: "Evaluated") -> list[str]:
    """The test accuracy; before it, or in its place, that of cross-validation where there are few or no test images."""
    from tlcli.reports.notes import cross_validated, headline, is_small_test  # noqa: PLC0415 - keeps --help fast

    validated = done.cross_validation and cross_validated(done.cross_validation)
    if done.out_of_fold is not None:
        return [validated] if validated else []
    test = headline(done.metrics, "test", done.filtered)
    return [validated, test] if validated and is_small_test(done.metrics["test"]) else [test]


def _sentences(done: "Evaluated", measured: "Metrics") -> list[str]:
    """What else should be known, and what to do first; empty texts among them."""
    from tlcli.reports.notes import filtered_images, never_measured, transfer  # noqa: PLC0415 - keeps --help fast

    found = [filtered_images(done.filtered), *never_measured({"test": measured})]
    found += [f"Left out: {name}: {reason}" for name, reason in done.bad.items()]
    found.append(transfer(done.transfer, done.no_transfer))
    if text := done.text:
        found += [
            text.small_test,
            text.thresholds if text.decision else "",
            text.cross_validation,
            text.near_duplicates,
            text.learning_curve,
            text.none_of_these,
            text.repeated_test_use,
            text.first,
        ]
    return found


def _show_confusions(screen: Screen, metrics: "Metrics", of: str) -> None:
    matrix, labels = metrics.confusion_matrix, metrics.labels
    table = confusion_table(matrix, labels, of) if len(labels) <= _MATRIX else None
    if table is None or not screen.fits(table):
        if metrics.accuracy == 1:
            return
        table = confusions_table(matrix, labels, of)
    screen.line()
    screen.table(table)


def _show_external(screen: Screen, result: "ExternalResult", folder: Path, features: "Extraction") -> None:
    from tlcli.reports.external import leaks, summary  # noqa: PLC0415 - keeps --help fast

    metrics = result.metrics
    screen.table(metrics_table({"external": metrics}))
    screen.line()
    screen.table(per_class_table(metrics.per_class, "external test set"))
    _show_confusions(screen, metrics, "external test set")
    screen.line()
    screen.bold(f"External test set {result.name}: {summary(result)}")
    for name, reason in result.skipped.items():
        screen.line(f"Left out: {name}: {reason}")
    screen.line(leaks(result))
    screen.line(reuse(features))
    screen.line(f"Results: {folder}")


def _check_gates(done: "Evaluated") -> None:
    missed = [result for result in done.gates if not result.passed]
    if missed:
        raise DataError(
            "data.gate_missed",
            f"{len(missed):,} of {len(done.gates):,} limits are missed: {'; '.join(map(str, missed))}.",
            "The limits are those of --fail-under and evaluate.fail_under.",
        )
