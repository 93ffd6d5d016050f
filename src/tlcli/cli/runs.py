"""tlcli runs: lists the runs."""

import json
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table

from tlcli.cli import options, runs_compare
from tlcli.cli.console import Screen, plain_table, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlcli.evaluation.cross_validation import CrossValidation
    from tlcli.evaluation.split_metrics import Metrics
    from tlcli.runs.summary import RunSummary
    from tlcli.workflows.runs import ListedRuns

_FIRST_COLUMN = 48
"""Characters of the first column, so that the table fits 80."""
_IN_THE_TABLE = ("backbone.name", "backbone.precision", "head.fit")
"""Settings that have a line of their own."""
_SETTINGS = 6
"""Settings of a run that are listed; --json has all."""

app = typer.Typer()
app.command("compare")(runs_compare.compare)


@app.callback(invoke_without_command=True)
def list_(
    context: typer.Context,
    config: options.ConfigOption = None,
    runs_dir: options.RunsDirOption = options.RUNS_DIR,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """List all runs with their accuracies, the newest first.

    Below each run are its data set, and the settings that differ between the runs listed, those of --set first. With
    --config, list those of one config. To compare two runs: tlcli runs compare.
    """
    if context.invoked_subcommand is not None:
        options.refuse_options(context, "tlcli runs compare A B --runs-dir DIR")
        return
    from tlcli.workflows.runs import list_runs  # noqa: PLC0415 - keeps --help fast

    screen = Screen(as_json, quiet)
    listed = list_runs(runs_dir, options.config_of_runs(config))
    if listed.runs:
        screen.table(_table(listed.runs))
    else:
        screen.line(f"There is no finished run{f' of {config}' if config else ''} in {runs_dir} yet.")
    for name, reason in listed.broken.items():
        screen.line(f"Broken: {name}: {reason}")
    screen.next_command(
        "tlcli",
        *_next(listed),
        *options.again("--runs-dir", runs_dir, options.RUNS_DIR),
        *([] if listed.runs else options.again("--config", config)),
    )
    screen.document(_document(listed))


def _next(listed: "ListedRuns") -> list[str]:
    """Compare the two newest runs of one config that can be compared, where there are two."""
    if not listed.runs:
        return ["train"]
    for measured in (
        [run for run in listed.runs if run.cross_validation], [run for run in listed.runs if run.test],
    ):  # fmt: skip
        alike = [run.run for run in measured if run.path.parent == measured[0].path.parent]
        if len(alike) > 1:
            return ["runs", "compare", alike[1], alike[0]]
    if waiting := [run for run in listed.runs if not run.test and run.images.get("test", 1)]:
        return ["evaluate", "--run", str(waiting[0].path)]
    return ["predict", "IMAGE"]


def _table(listed: "Sequence[RunSummary]") -> Table:
    """The runs as a table that fits 80 columns: name, time, backbone, data set, and the settings that differ."""
    heading = "run\nstarted\nbackbone, head\ndata set, settings that differ"
    figures = "cross-validation\n95 % interval\nbalanced accuracy\nvalidation, test\n95 % interval"
    table = plain_table(heading, figures, "images\nseconds")
    first = table.columns[0]
    first.max_width, first.overflow = _FIRST_COLUMN, "fold"
    for run in listed:
        started = f"{run.started:%Y-%m-%d %H:%M} UTC" if run.started else "-"
        validated, test = "-\n-\n-", "-\n-"
        if found := run.cross_validation:
            balanced = "-" if found.balanced_accuracy is None else f"{found.balanced_accuracy:.4f}"
            of = "" if found.is_own_head else " (log. reg.)"
            validated = f"{_with_interval(found.accuracy, found.accuracy_ci95, of)}\n{balanced}"
        if run.test:
            test = _with_interval(run.test.accuracy, run.test.accuracy_ci95)
        name = f"{run.run}\n{run.name}" if run.name else run.run
        lines = [name, started, f"{run.backbone} {run.precision}, {run.fit}", run.data, *_settings(run)]
        table.add_row(
            escape(printable("\n".join(lines))),
            f"{validated}\n{run.validation.accuracy:.4f}, {test}",
            f"{sum(run.images.values()):,}\n{run.seconds:,.1f}",
        )
    return table


def _settings(run: "RunSummary") -> list[str]:
    from tlcli.reports.names import cut, one_line  # noqa: PLC0415 - keeps --help fast

    lines = [
        cut(one_line(f"{key}={_value(value)}"), _FIRST_COLUMN)
        for key, value in run.settings.items()
        if key not in _IN_THE_TABLE
    ]
    more = len(lines) - _SETTINGS
    return lines if more <= 0 else [*lines[:_SETTINGS], f"and {more:,} more settings (--json)"]


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _document(listed: "ListedRuns") -> dict[str, Any]:
    return {
        "runs": [
            {
                **vars(run),
                "path": str(run.path),
                "started": run.started and run.started.isoformat(),
                "validation": _accuracy(run.validation),
                "cross_validation": run.cross_validation and _cross_validated(run.cross_validation),
                "test": run.test and _accuracy(run.test),
            }
            for run in listed.runs
        ],
        "broken": [{"run": name, "reason": reason} for name, reason in listed.broken.items()],
    }


def _with_interval(accuracy: float, ends: tuple[float, float], of: str = "") -> str:
    return f"{accuracy:.4f}{of}\n{ends[0]:.4f} - {ends[1]:.4f}"


def _cross_validated(found: "CrossValidation") -> dict[str, Any]:
    return {
        "n": found.images,
        "accuracy": found.accuracy,
        "accuracy_ci95": found.accuracy_ci95,
        "balanced_accuracy": found.balanced_accuracy,
        "is_own_head": found.is_own_head,
    }


def _accuracy(metrics: "Metrics") -> dict[str, Any]:
    return {"n": metrics.n, "accuracy": metrics.accuracy, "accuracy_ci95": metrics.accuracy_ci95}
