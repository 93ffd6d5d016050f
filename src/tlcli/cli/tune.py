"""tlcli tune: which network, input and head."""

import re
from typing import Annotated

import typer

from tlcli.cli import completion, options
from tlcli.cli.console import Screen
from tlcli.errors import UsageError
from tlcli.system.extras import TRAINING, require

_UNITS = {"s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh])")


def _seconds(text: str) -> float:
    """``10m`` -> 600."""
    found = _DURATION.fullmatch(text.strip().lower())
    if not found or float(found[1]) <= 0:
        raise UsageError(
            "usage.not_a_duration", f"--budget takes a time like 90s, 10m or 1.5h. Received: {text!r:.40}.",
            "Write --budget 10m.",
        )  # fmt: skip
    return float(found[1]) * _UNITS[found[2]]


def tune(
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    runs_dir: options.RunsDirOption = options.RUNS_DIR,
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="Time to search for, such as 90s, 10m or 1.5h.")
    ] = "15m",
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", metavar="METRIC",
            help="accuracy, balanced_accuracy, log_loss, roc_auc, f1_macro or recall@precision=P. "
            "Default: tune.metric.",
        ),
    ] = None,
    backbones: Annotated[
        str | None,
        typer.Option(
            "--backbones", metavar="A,B,...", autocompletion=completion.backbones,
            help="Networks to try. Default: all whose ImageNet weights are on this machine.",
        ),
    ] = None,
    max_ms: Annotated[
        float | None, typer.Option("--max-ms", min=0, metavar="MS", help="Milliseconds of an image, at most.")
    ] = None,
    max_mb: Annotated[
        float | None, typer.Option("--max-mb", min=0, metavar="MB", help="Megabytes of the network, at most.")
    ] = None,
    finetune: Annotated[
        bool,
        typer.Option(
            "--finetune", help="At the end also fine-tune the winner's network, in half of the budget. Default: "
            "tune.finetune.",
        ),
    ] = False,
    threads: options.ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:  # fmt: skip
    """Choose network, input size and head.

    By cross-validation of training and validation images; no test image is read. Networks are compared on growing
    samples, heads on stored features are all tried; the search ends when everything was tried or --budget is spent, and
    the same command goes on with it. It writes tuned.yaml, a config with the winner's settings, and a report.
    """
    require("train", "tlcli tune", TRAINING)
    from tlcli.cli.tune_tables import leaderboard_table  # noqa: PLC0415 - keeps --help fast
    from tlcli.config.build_search import Limits  # noqa: PLC0415 - keeps --help fast
    from tlcli.reports.tune_text import TuneText  # noqa: PLC0415
    from tlcli.runs.tuning import record_of  # noqa: PLC0415
    from tlcli.workflows.tune import TuneOptions  # noqa: PLC0415
    from tlcli.workflows.tune import tune as run  # noqa: PLC0415

    screen, seconds = Screen(as_json, quiet), _seconds(budget)
    set_ = [*(set_ or ()), *(["tune.finetune=true"] if finetune else ())]
    loaded = options.load_chosen(config, set_, screen.progress, runs_dir)
    names = tuple(name.strip() for name in (backbones or "").split(",") if name.strip())
    tuned = run(
        loaded,
        runs_dir,
        TuneOptions(metric or loaded.config.tune.metric, seconds, names, Limits(max_ms, max_mb)),
        screen.progress,
    )
    options.remember(loaded, runs_dir)
    outcome, text = tuned.outcome, TuneText(tuned.outcome)
    screen.table(leaderboard_table(outcome))
    screen.line()
    for line in (text.equal, text.given, text.finetuning, text.thresholds, text.transfer, text.ending):
        if line:
            screen.line(line)
    screen.bold(text.verdict)
    screen.line(text.optimism)
    screen.line(f"Report: {tuned.folder / 'report.html'}")
    screen.line(f"Config: {tuned.config}")
    screen.next_command("tlcli", "train", "--config", str(tuned.config))
    screen.document(
        {"directory": str(tuned.folder), "config": str(tuned.config), **record_of(outcome).model_dump(mode="json")}
    )
