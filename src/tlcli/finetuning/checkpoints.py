"""The epochs of a training so far, and its state after the last one, in a folder: a training that was ended goes on."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

from tlcli.finetuning.request import Epoch
from tlcli.system.files import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.finetuning.trainer import Trainer

FINAL = "final"
"""The phase in which all images are trained on."""
_KEPT = 2
"""Checkpoints that are kept."""


def best_of(epochs: Sequence[Epoch]) -> Epoch | None:
    """The end with the lowest log loss on held-out images; the start where no rate is better, None where none are held
    out. Between start and end the learning rate is high, and the loss says little of what it will fall to."""
    ends = [one for one in epochs if one.is_end and math.isfinite(one.held_out_loss)]
    return min(ends, key=lambda one: one.held_out_loss, default=None)


def has_diverged(epoch: Epoch) -> bool:
    """Whether its loss is no number; a start has none."""
    return epoch.epoch > 0 and not math.isfinite(epoch.loss)


def is_given_up(done: Sequence[Epoch], epochs: int, patience: int) -> bool:
    """Whether the rest of a schedule of so many epochs is not worth its time: in the second half, where the learning
    rate falls, the loss on held-out images is above that of the frozen head, and has not fallen for ``patience``
    epochs."""
    late = [one.held_out_loss for one in done if 2 * one.epoch > epochs and math.isfinite(one.held_out_loss)]
    return bool(late) and done[0].held_out_loss < min(late) and len(late) - 1 - late.index(min(late)) >= patience


def held_out_losses(epochs: Sequence[Epoch]) -> tuple[float, float] | None:
    """Of the frozen head, and the lowest at the end of a schedule; None where there are none."""
    ends = [one for one in epochs if one.is_end and math.isfinite(one.held_out_loss)]
    starts, tuned = ([one.held_out_loss for one in ends if (one.epoch > 0) == late] for late in (False, True))
    return (starts[0], min(tuned)) if starts and tuned else None


class Log:
    """The epochs so far, the state after the last, and the held-out probabilities of the best."""

    def __init__(self, trainer: "Trainer", folder: Path, tell: Callable[[str], object]) -> None:
        """Goes on from the newest whole checkpoint in a folder; ``tell`` is called with each epoch as JSON."""
        self._trainer, self._folder, self._tell = trainer, folder, tell
        self.epochs: list[Epoch] = []
        self.best = np.empty((0, trainer.task.count))
        """Probabilities [n, L]"""
        for path in sorted(folder.glob("checkpoint-*.safetensors"), reverse=True):
            try:
                with safetensors.safe_open(path, "numpy") as file:
                    epochs = json.loads(file.metadata()["epochs"])
                state = load_file(path)
            except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError):
                continue
            self.best = state.pop("best")
            trainer.restore(state)
            self.epochs = [Epoch(**one) for one in epochs]
            return

    def add(self, epoch: Epoch, held_out: "NDArray[np.float64]") -> None:
        """Keeps an epoch, with the probabilities of the held-out images after it."""
        self.epochs.append(epoch)
        if epoch is best_of(self.epochs):
            self.best = held_out
        path = self._folder / f"checkpoint-{len(self.epochs):05d}.safetensors"
        text = json.dumps([asdict(one) for one in self.epochs])
        with whole_file(path) as temporary:
            save_file({**self._trainer.state(), "best": self.best}, temporary, {"epochs": text})
        for old in sorted(self._folder.glob("checkpoint-*.safetensors"))[:-_KEPT]:
            old.unlink(missing_ok=True)
        self._tell(json.dumps(asdict(epoch)))

    def forget(self) -> None:
        """Removes the checkpoints: there is nothing to go on from."""
        for path in self._folder.glob("checkpoint-*.safetensors"):
            path.unlink(missing_ok=True)

    def left(self, phase: str, epochs: int) -> Iterator[int]:
        """Numbers of the epochs of a phase that are still to be trained, 0 for the start; the phase ends early where
        the loss is no number any more, or :func:`is_given_up`."""
        while True:
            done = [one for one in self.epochs if one.phase == phase]
            if len(done) > epochs or (done and has_diverged(done[-1])):
                return
            if is_given_up(done, epochs, self._trainer.recipe.patience):
                return
            yield len(done)
