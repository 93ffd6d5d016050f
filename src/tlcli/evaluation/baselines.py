"""What needs no network, or no fitting, on the same images: a classifier that is no better has learnt nothing.

Shapes: N images; features [N, D] of the backbone, and colour histograms [N, C]
(:mod:`tlcli.features.colour_histogram`) in their order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.errors import DataError
from tlcli.evaluation.intervals import wilson
from tlcli.evaluation.neighbours import Neighbours
from tlcli.features.rows import Rows
from tlcli.heads.convex import fit_convex
from tlcli.heads.folds import Folds
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRENGTHS = (300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
_FOLDS = 3
"""Of the choice of the strength: a baseline is to be honest, and quick."""


@dataclass(frozen=True)
class Baseline:
    """How one baseline did on held-out images."""

    name: str
    how: tuple[str, ...]
    """What it came to in each fold, in words."""
    right: "tuple[NDArray[np.bool_], ...]"
    """Of each fold, for each held-out image whether it was named rightly: [held] each."""

    @property
    def accuracy(self) -> float:
        """Share of all held-out images."""
        return float(np.mean(np.concatenate(self.right)))

    def record(self) -> dict[str, Any]:
        """For JSON, of one fold: a split. The interval (Wilson's) is that of a number of images of their own."""
        (right,), (how,) = self.right, self.how
        interval = wilson(int(right.sum()), len(right))
        return {"accuracy": self.accuracy, "accuracy_ci95": list(interval), "n": len(right), "how": how}


def baselines(
    features: Rows, colours: Rows, folds: Folds, seed: int, progress: Progress = SILENT
) -> list[Baseline]:  # fmt: skip
    """Fits every baseline on each fold's fitted images, and has it name the held-out ones.

    Args:
        features: of the plain images [N, D], by the backbone.
        colours: of the same images [N, C], with the same labels and units.
        folds: row numbers fitted on and held out: of a cross-validation, or a single pair of training and test rows.
        seed: of what is drawn.
        progress: told of the stage.

    Returns:
        Those that could be fitted: the colours' strength cannot be chosen where a fitted part has a class of one unit.
    """
    kinds: dict[str, tuple[Rows, Callable[[Rows, Rows, int], tuple[NDArray[np.int64], str]]]] = {
        "majority class": (features, _majority),
        "colour histogram": (colours, _linear),
        "nearest neighbours": (features, _nearest),
    }
    made = []
    with progress.stage("Fitting baselines"):
        for name, (rows, kind) in kinds.items():
            try:
                answers = [kind(rows.part(fitted), rows.part(held), seed) for fitted, held in folds]
            except DataError as error:
                progress.note(f"Baseline {name} left out: {error}")
                continue
            right = tuple(said == rows.labels[held] for (said, _), (_, held) in zip(answers, folds, strict=True))
            made.append(Baseline(name, tuple(how for _, how in answers), right))
    return made


def split_fold(training: int, held: int) -> Folds:
    """The only fold of rows of which the first ``training`` are fitted, and the ``held`` that follow are held out."""
    return [(np.arange(training), np.arange(training, training + held))]


def _majority(fitted: Rows, held: Rows, seed: int) -> "tuple[NDArray[np.int64], str]":  # noqa: ARG001 - as the others
    counts = np.bincount(fitted.labels)
    return np.full(len(held), counts.argmax(), np.int64), f"{counts.max() / len(fitted):.1%} of the fitted images"


def _linear(fitted: Rows, held: Rows, seed: int) -> "tuple[NDArray[np.int64], str]":
    fit = fit_convex(fitted, _STRENGTHS, _FOLDS, standardize=True, class_weight="none", seed=seed)
    said = [fit.head.probabilities(block).argmax(axis=1) for _, block in held.blocks()]
    strength = fit.history[fit.chosen - 1].strength
    how = f"logistic regression on {fitted.width} numbers, strength {strength:g}"
    return np.concatenate(said) if said else np.empty(0, np.int64), how


def _nearest(fitted: Rows, held: Rows, seed: int) -> "tuple[NDArray[np.int64], str]":
    neighbours = Neighbours(fitted, seed)
    of = f"{neighbours.rows:,}" + (f" drawn from {len(fitted):,}" if neighbours.rows < len(fitted) else "")
    return neighbours.predicted(held), f"the {neighbours.k} nearest of {of} by cosine"
