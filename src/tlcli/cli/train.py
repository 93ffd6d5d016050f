"""tlcli train."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlcli.cli import options
from tlcli.cli.console import Screen, counts_table, metrics_table, reuse
from tlcli.system.extras import TRAINING, require

if TYPE_CHECKING:
    from tlcli.features.int8_record import Agreement
    from tlcli.workflows.train import Trained


def train(
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    runs_dir: options.RunsDirOption = options.RUNS_DIR,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="A name for the run, which --run takes.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="DIR",
            help="Write the run to exactly this directory, for Make or DVC; an earlier run there is replaced when the "
            "new one is complete.",
        ),
    ] = None,
    verify: options.VerifyOption = False,
    cache_images: options.CacheImagesOption = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            help="Fine-tune on a CPU, whatever it takes: the whole network, or blocks that take more than an hour.",
        ),
    ] = False,
    ray: options.RayOption = None,
    threads: options.ThreadsOption = None,  # noqa: ARG001 - acts as it is parsed
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,  # noqa: ARG001 - read by main()
) -> None:
    """Train a classifier on the images of a config.

    Every image passes the frozen backbone once; its features are stored, and later runs reuse them. Training and
    validation images are measured; the test images are left to evaluate.

    A run of --output is named by its directory, --run DIR; latest and tlcli runs are about those in --runs-dir.
    """
    require("train", "tlcli train", TRAINING)
    from tlcli.evaluation.split_metrics import metrics_document  # noqa: PLC0415 - keeps --help fast
    from tlcli.workflows.train import train as run  # noqa: PLC0415

    screen = Screen(as_json, quiet)
    loaded = options.load_chosen(config, set_, screen.progress, runs_dir)
    trained = run(
        loaded, runs_dir, verify, screen.progress, name, output, accepts_cost=yes, cache_images=cache_images, ray=ray
    )  # fmt: skip
    if output is None:
        options.remember(loaded, runs_dir)
    _show(screen, trained)
    which = options.again("--runs-dir", runs_dir, options.RUNS_DIR) if output is None else ["--run", str(output)]
    screen.next_command("tlcli", "evaluate", *which)
    screen.document(
        {
            "run_dir": str(trained.run_dir),
            "name": name,
            "config": loaded.argument,
            "warnings": [one.document() for one in loaded.without_effect],
            "metrics": metrics_document(trained.metrics),
            "cross_validation": trained.cross_validation and asdict(trained.cross_validation),
            "seconds": trained.seconds,
            "trainable_parameters": trained.fit.head.trainable_parameters,
            "finetuning": trained.finetuning and trained.finetuning.model_dump(),
            "thresholds": trained.thresholds and trained.thresholds.model_dump(),
            "notes": trained.index.notes,
            "left_out": [vars(one) for one in trained.index.left_out],
            "skipped": trained.index.bad,
            "filtered": trained.filtered.model_dump(),
            "validation_duplicates": trained.validation_duplicates and vars(trained.validation_duplicates),
            "none_of_these": trained.none_of_these.model_dump(),
            "features": {"computed": trained.features.computed, "reused": trained.features.reused},
            **({"agreement": vars(trained.agreement)} if trained.agreement else {}),
        }
    )


def _show(screen: Screen, trained: "Trained") -> None:
    from tlcli.reports.notes import (  # noqa: PLC0415 - keeps --help fast
        cross_validated,
        filtered_images,
        headline,
        layers_used,
        many_rejected,
        never_measured,
    )

    screen.table(counts_table(trained.index.counts()))
    for name, reason in trained.index.bad.items():
        screen.line(f"Left out: {name}: {reason}")
    screen.line()
    screen.table(metrics_table(trained.metrics))
    screen.line()
    screen.line(_head_line(trained))
    seconds = ", ".join(f"{stage} {value:.1f}" for stage, value in trained.seconds.items())
    screen.line(reuse(trained.features))
    if trained.agreement:
        screen.line(_agreement_line(trained.agreement))
    screen.line(f"Seconds: {seconds}")
    found = trained.none_of_these
    measured = trained.metrics["validation"].n
    for note in (
        *never_measured(trained.metrics),
        many_rejected("validation", found.validation, measured, found.limit),
        _repeated(trained),
    ):
        if note:
            screen.line(note)
    screen.bold(headline(trained.metrics, "validation", trained.filtered))
    _show_finetuning(screen, trained)
    if trained.cross_validation:
        screen.bold(cross_validated(trained.cross_validation))
        if (layers := layers_used(trained.cross_validation)) is not None:
            screen.line(layers)
    _show_thresholds(screen, trained)
    if note := filtered_images(trained.filtered):
        screen.line(note)
    screen.line(f"Run: {trained.run_dir}")


def _head_line(trained: "Trained") -> str:
    best, steps = trained.fit.best, len(trained.fit.history)
    if trained.fit.kind == "finetune":
        which = (
            f"weights of epoch {best.step} of {steps}" if best.step else "at its start: no learning rate ended better"
        )
        how = f"on the fine-tuned network, {which}"
    elif trained.fit.kind == "minibatch":
        how = f"mini-batch training, weights of epoch {best.step} of {steps}"
    else:
        which = "kernel logistic regression" if trained.fit.kind == "kernel" else "logistic regression"
        how = f"{which}, C {best.C:g} chosen from {steps} by cross-validation"
    return f"Head: {trained.fit.head.trainable_parameters:,} trainable parameters; {how}"


def _show_finetuning(screen: Screen, trained: "Trained") -> None:
    from tlcli.reports.finetuning_text import finetuning_text, shifts_text  # noqa: PLC0415 - keeps --help fast

    if trained.finetuning:
        screen.line(finetuning_text(trained.finetuning))
        if lost := shifts_text(trained.finetuning):
            screen.line(lost)


def _show_thresholds(screen: Screen, trained: "Trained") -> None:
    from tlcli.reports.notes import threshold_gain, thresholds_chosen  # noqa: PLC0415 - keeps --help fast

    if trained.thresholds:
        screen.line(thresholds_chosen(trained.thresholds))
        if trained.cross_validation and (gain := threshold_gain(trained.cross_validation)):
            screen.line(gain)


def _repeated(trained: "Trained") -> str:
    from tlcli.reports.notes import repeated_in_training  # noqa: PLC0415 - keeps --help fast

    found = trained.validation_duplicates
    return repeated_in_training(found.found, found.images, trained.cross_validation is not None) if found else ""


def _agreement_line(found: "Agreement") -> str:
    return (
        f"int8 against {found.against}, {found.images:,} images: mean cosine {found.cosine_mean:.4f} (minimum "
        f"{found.cosine_least:.4f}), {found.label_agreement:.1%} of predictions equal, accuracy "
        f"{found.accuracy:.4f} and {found.float_accuracy:.4f}"
    )
