"""tlcli runs: lists the runs."""

from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table

from tlcli.cli import runs_compare
from tlcli.cli.console import Screen, plain_table
from tlcli.cli.options import (
    RUNS_DIR,
    ConfigOption,
    DebugOption,
    JsonOption,
    QuietOption,
    RunsDirOption,
    again,
    refuse_options,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlcli.evaluation.split_metrics import Metrics
    from tlcli.runs.summary import RunSummary
    from tlcli.workflows.runs import ListedRuns

app = typer.Typer()
app.command("compare")(runs_compare.compare)


@app.callback(invoke_without_command=True)
def list_(
    context: typer.Context,
    config: ConfigOption = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """List all runs with their accuracies, the newest first.

    With --config, list those of one config. To compare two runs: tlcli runs compare.
    """
    if context.invoked_subcommand is not None:
        refuse_options(context, "tlcli runs compare A B --runs-dir DIR")
        return
    from tlcli.workflows.runs import list_runs  # noqa: PLC0415 - keeps --help fast

    screen = Screen(as_json, quiet)
    listed = list_runs(runs_dir, config)
    if listed.runs:
        table = runs_table(listed.runs)
        if screen.fits(table):
            screen.table(table)
        else:
            for line in _blocks(listed.runs):
                screen.line(line)
    else:
        screen.line(f"There is no finished run{f' of {config}' if config else ''} in {runs_dir} yet.")
    for name, reason in listed.broken.items():
        screen.line(f"Broken: {name}: {reason}")
    screen.next_command(
        "tlcli",
        *_next(listed),
        *again("--runs-dir", runs_dir, RUNS_DIR),
        *([] if listed.runs else again("--config", config)),
    )
    screen.document(_listed_document(listed))


def _next(listed: "ListedRuns") -> list[str]:
    """Compare the two newest evaluated runs of one config, where there are two."""
    if not listed.runs:
        return ["train"]
    measured = [run for run in listed.runs if run.test]
    alike = [run.name for run in measured if run.path.parent == measured[0].path.parent]
    if len(alike) > 1:
        return ["runs", "compare", alike[1], alike[0]]
    if len(measured) < len(listed.runs):
        return ["evaluate", "--run", next(str(run.path) for run in listed.runs if not run.test)]
    return ["predict", "IMAGE"]


def runs_table(listed: "Sequence[RunSummary]") -> Table:
    """The runs as a table that fits 100 columns, two lines each."""
    table = plain_table(
        "run\nstarted", "backbone\nprecision, head", "validation", "test\n95 % interval", "images\nseconds"
    )
    table.columns[1].justify = "left"
    for run in listed:
        table.add_row(
            escape(f"{run.name}\n{_started(run)}"),
            f"{run.backbone}\n{run.precision}, {run.fit}",
            f"{run.validation.accuracy:.4f}",
            f"{run.test.accuracy:.4f}\n{_interval(run.test)}" if run.test else "-",
            f"{sum(run.images.values()):,}\n{run.seconds:,.1f}",
        )
    return table


def _blocks(listed: "Sequence[RunSummary]") -> list[str]:
    """The same for narrow screens: some lines a run."""
    lines = []
    for run in listed:
        test = f"test {run.test.accuracy:.4f} ({_interval(run.test)})" if run.test else "test not measured"
        lines += [
            run.name,
            f"  {_started(run)}",
            f"  {run.backbone} {run.precision}, {run.fit}",
            f"  validation {run.validation.accuracy:.4f}",
            f"  {test}",
            f"  {sum(run.images.values()):,} images, {run.seconds:,.1f} s",
        ]
    return lines


def _started(run: "RunSummary") -> str:
    return f"{run.started:%Y-%m-%d %H:%M} UTC" if run.started else "-"


def _interval(metrics: "Metrics") -> str:
    return "{:.4f} - {:.4f}".format(*metrics.accuracy_ci95)


def _listed_document(listed: "ListedRuns") -> dict[str, Any]:
    return {
        "runs": [
            {
                "run": run.name,
                "path": str(run.path),
                "started": run.started.isoformat() if run.started else None,
                "backbone": run.backbone,
                "precision": run.precision,
                "fit": run.fit,
                "validation": _accuracy(run.validation),
                "test": _accuracy(run.test) if run.test else None,
                "images": run.images,
                "seconds": run.seconds,
            }
            for run in listed.runs
        ],
        "broken": [{"run": name, "reason": reason} for name, reason in listed.broken.items()],
    }


def _accuracy(metrics: "Metrics") -> dict[str, Any]:
    return {"n": metrics.n, "accuracy": metrics.accuracy, "accuracy_ci95": metrics.accuracy_ci95}
