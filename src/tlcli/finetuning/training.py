"""The training process: Keras on TensorFlow, one request, its only argument.

It trains the last blocks of a backbone on stored activations, or all of it on images, together with the head: first for
each learning rate on a part of the images, then on all of them at the best one, or not at all if none was better. After
every epoch its state is written; a process that is started again with the same request goes on from there, and ends
with the same weights, bit for bit.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import TypeAdapter
from safetensors.numpy import save_file

from tlcli.errors import DataError, ModelError, NetworkError, ResourceError, UsageError
from tlcli.finetuning.checkpoints import FINAL, Log, best_of, has_diverged
from tlcli.finetuning.request import HELD_OUT_FILE, RECORD_FILE, Epoch, Request
from tlcli.finetuning.trainer import Trainer
from tlcli.heads.calibration import fit_temperature, with_temperature
from tlcli.progress import format_duration
from tlcli.system.files import whole_file, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LONG = 3600.0
"""Seconds that the training of last blocks may take before a user has to agree."""
_FEW = 5_000
"""Passes of images that are not worth measuring: no blocks take that long for so few."""
_LEAST = 1e-12
"""Of a probability, for its logarithm."""


def train(request: Request, tell: Callable[[str], object]) -> None:
    """Does what a request asks for; ``tell`` is called with each epoch as JSON.

    Raises:
        ModelError: the weights do not fit, or the network cannot be cut there.
        UsageError: the loss is no number any more, or the training takes long, which is not accepted.
    """
    trainer, recipe = Trainer(request), request.recipe
    trainer.reset(part=True)
    log, rows = Log(trainer, request.place, tell), trainer.rows
    fitted, held, seen = rows.fitted, rows.choosing, rows.seen
    if not (request.accepts_cost or trainer.on_gpu or log.epochs):
        _check_cost(trainer, request)
    for peak in recipe.learning_rates if len(held) else ():
        _run(trainer, log, f"rate {peak:g}", peak, recipe.epochs, fitted, held)
    best = best_of(log.epochs)
    peak, epochs = (best.learning_rate, best.epoch) if best else (recipe.learning_rates[0], recipe.epochs)
    _run(trainer, log, FINAL, peak, epochs, np.flatnonzero(seen), held[:0])
    ends = {one.phase: one for one in log.epochs}
    tried = [one for phase, one in ends.items() if phase != FINAL] or [ends[FINAL]]
    if all(map(has_diverged, tried)) or has_diverged(ends[FINAL]) or not trainer.is_finite:
        log.forget()
        rates = ", ".join(f"{one:g}" for one in recipe.learning_rates)
        raise UsageError(
            "config.training_diverged", f"Fine-tuning diverged: the loss is no number any more, at learning rates of "
            f"{rates}.", "Lower finetune.learning_rates.",
        )  # fmt: skip
    trainer.answer(request.place)
    with whole_file(request.place / HELD_OUT_FILE) as temporary:
        scored = trainer.probabilities(np.flatnonzero(~seen))
        save_file({"probabilities": np.ascontiguousarray(log.best), "scored": scored}, temporary)
    write_text(request.place / RECORD_FILE, json.dumps([asdict(one) for one in log.epochs]))


def _check_cost(trainer: Trainer, request: Request) -> None:
    """Measures what a training takes on this CPU.

    Raises:
        UsageError: the whole network is trained, or blocks for long.
    """
    recipe, rows, is_whole = request.recipe, trainer.rows, request.blocks == "all"
    count, tried = int(rows.seen.sum()), len(recipe.learning_rates) if len(rows.choosing) else 0
    passes = recipe.epochs * (tried * len(rows.fitted) + count)
    if not is_whole and passes < _FEW:
        return
    each = trainer.seconds_per_image()
    if not is_whole and each * passes < _LONG:
        return
    what, hint = (
        ("the whole network", "set finetune.blocks to a number") if is_whole
        else (f"last blocks ({request.blocks})", "lower finetune.blocks, views or epochs")
    )  # fmt: skip
    raise UsageError(
        "config.cost_not_accepted",
        f"Fine-tuning {what} takes about {format_duration(each * passes)} on this CPU, at {1 / each:,.0f} images/s "
        f"({count:,} {'images' if is_whole else 'views of images'}, {recipe.epochs} epochs, learning rates tried "
        f"before: {tried}).",
        f"Repeat the command with --yes, {hint}, or use a machine whose GPU TensorFlow sees.",
    )


def _run(
    trainer: Trainer, log: Log, phase: str, peak: float, epochs: int, fitted: "NDArray[np.int64]",
    held: "NDArray[np.int64]",
) -> None:  # fmt: skip
    """Trains the epochs of a phase that are left, of the whole schedule."""
    labels, weights = trainer.rows.labels[held], trainer.rows.weights[held]
    trainer.start_from(part=phase != FINAL)  # no checkpoint has it
    for epoch in log.left(phase, epochs):
        started, loss, accuracy = time.perf_counter(), 0.0, 0.0
        if epoch:
            loss, accuracy = trainer.train_epoch(fitted, phase, epoch, peak, trainer.recipe.epochs)
        else:
            trainer.reset(part=phase != FINAL)
        found, is_end = trainer.probabilities(held), epoch in (0, trainer.recipe.epochs)
        held_loss, right = _measured(labels, found, weights) if len(held) else (math.nan, math.nan)
        log.add(
            Epoch(phase, epoch, peak, loss, accuracy, held_loss, right, time.perf_counter() - started, is_end),
            found,
        )  # fmt: skip


def _measured(
    labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", weights: "NDArray[np.float32]"
) -> tuple[float, float]:
    """Log loss with the best temperature, weighted as in training, and accuracy: how confident a head is depends on the
    smoothing of the labels, and is corrected at the end."""
    if not np.isfinite(probabilities).all():
        return math.inf, 0.0
    calibrated = with_temperature(probabilities, fit_temperature(labels, probabilities))
    chosen = np.maximum(calibrated[np.arange(len(labels)), labels], _LEAST)
    return float(np.average(-np.log(chosen), weights=weights)), float((probabilities.argmax(axis=1) == labels).mean())


def main() -> None:
    """Runs the request in the file that the argument names."""
    request = TypeAdapter(Request).validate_json(Path(json.loads(sys.argv[1])["file"]).read_bytes())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        train(request, partial(print, flush=True))  # the parent process reads it
    except (DataError, ModelError, NetworkError, ResourceError, UsageError) as error:
        print(json.dumps([error.code, error.message, error.hint]), file=sys.stderr)  # noqa: T201 - the parent reads it
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
