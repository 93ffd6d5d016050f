"""Baselines on the same images: a classifier that is no better has learnt nothing.

Shapes: N images; features [N, D] of the backbone, and colour histograms [N, C]
(:mod:`tlcli.features.colour_histogram`) of the same images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.errors import DataError
from tlcli.evaluation.knn import NearestNeighbours
from tlcli.features.rows import Rows
from tlcli.heads.logistic_regression import fit_logistic_regression
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CS = (1 / 300, 1 / 100, 1 / 30, 1 / 10, 1 / 3, 1.0)
_FOLDS = 3
"""Few, as a baseline should be quick."""


@dataclass(frozen=True)
class Baseline:
    """The predictions of one baseline for held-out images."""

    name: str
    correct: "NDArray[np.bool_]"
    """[held], whether each image is classified correctly"""

    @property
    def accuracy(self) -> float:
        """Share of the held-out images."""
        return float(self.correct.mean())


def measure_baselines(
    features: Rows, colours: Rows, held: "NDArray[np.bool_]", seed: int, progress: Progress = SILENT
) -> list[Baseline]:  # fmt: skip
    """Fits every baseline on the images that are not held out, and classifies those that are.

    Args:
        features: of the plain images, by the backbone [N, D].
        colours: colour histograms of the same images [N, C], with the same labels and units.
        held: which rows are held out [N].
        seed: of all random choices.
        progress: receives the stage, and a note for a baseline that cannot be fitted.

    Returns:
        Majority class, colour histogram and nearest neighbours; without the colour histogram where C cannot be chosen
        for it because a class has only one unit.
    """
    kinds: dict[str, tuple[Rows, Callable[[Rows, Rows, int], NDArray[np.int64]]]] = {
        "majority class": (features, _majority),
        "colour histogram": (colours, _logistic_regression),
        "nearest neighbours": (features, _nearest_neighbours),
    }
    found = []
    with progress.stage("Fitting baselines", len(kinds), "baselines"):
        for number, (name, (rows, predict)) in enumerate(kinds.items()):
            progress.advance(min(number, 1))
            try:
                predicted = predict(rows.part(np.flatnonzero(~held)), rows.part(np.flatnonzero(held)), seed)
            except DataError as error:
                progress.note(f"Baseline {name} left out: {error.message}")
                continue
            found.append(Baseline(name, predicted == rows.labels[held]))
    return found


def _majority(fitted: Rows, held: Rows, seed: int) -> "NDArray[np.int64]":  # noqa: ARG001 - as the others
    return np.full(len(held), np.bincount(fitted.labels).argmax(), np.int64)


def _logistic_regression(fitted: Rows, held: Rows, seed: int) -> "NDArray[np.int64]":
    fit = fit_logistic_regression(fitted, _CS, _FOLDS, standardize=True, class_weight="none", seed=seed)
    return np.asarray(fit.head.predict(held).argmax(axis=1))


def _nearest_neighbours(fitted: Rows, held: Rows, seed: int) -> "NDArray[np.int64]":
    return NearestNeighbours(fitted, seed).predict(held)
