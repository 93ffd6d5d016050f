"""Logistic regressions on parts of the same rows: the folds of a cross-validation, many fitted at once.

Shapes: N rows, D features, L classes, P folds (pairs of rows fitted on and rows held out), U units (1 for two classes,
else one a class).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.features.rows import Rows, Standard, floored
from tlcli.heads.folds import Folds
from tlcli.heads.head import Head
from tlcli.heads.logistic import Axes, Problems, Solution, row_losses, solve

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 3e-4
"""With 1e-3 fits that begin at the last one's answer end too early: the loss is off in the second digit."""
_VARIABLES = 500_000
"""Weights that are sought at once, at most: L-BFGS keeps 25 numbers for each (100 MB)."""


@dataclass(frozen=True)
class CrossValidation:
    """Rows divided for cross-validation."""

    rows: Rows
    """In memory, standardised."""
    folds: Folds
    spreads: "NDArray[np.float64]"
    """[D, P], of each feature over the rows that a fold is fitted on"""
    axes: Axes
    class_weight: str
    classes: int

    @classmethod
    def of(
        cls, rows: Rows, folds: Folds, standard: Standard, standardize: bool, class_weight: str, classes: int
    ) -> "CrossValidation":
        """Of rows that ``standard`` has standardised already; every fold is standardised by its own fitted part."""
        features = rows.features()
        return cls(
            Rows.of(features, rows.labels, rows.units),
            folds,
            _spreads(features, folds, standard) if standardize else np.ones((rows.width, len(folds))),
            Axes.of(features),
            class_weight,
            classes,
        )

    def solutions(self, strength: float, starts: Sequence[Solution | None] | None = None) -> list[Solution]:
        """One a fold, begun at ``starts``; as many folds at once as memory is meant for."""
        units = 1 if self.classes == 2 else self.classes
        at_once = max(1, _VARIABLES // (self.rows.width * units))
        found: list[Solution] = []
        for first in range(0, len(self.folds), at_once):
            part = slice(first, first + at_once)
            problems = problems_of(self.rows, self.folds[part], strength, self.class_weight, self.spreads[:, part])
            start = [one for one in (starts or [])[part] if one]
            both = solve(self.rows, self.axes, problems, self.classes, TOLERANCE, joined(start) if start else None)
            found += [both.of(place) for place in range(len(self.folds[part]))]
        return found

    def held_out(self, solutions: Sequence[Solution]) -> "tuple[NDArray[np.int64], NDArray[np.float64]]":
        """Rows that a fold holds out [n], and their probabilities [n, L] by the fold's solution."""
        features = self.rows.features()
        pairs = list(zip(solutions, self.folds, strict=True))
        found = [Head(one.weights[:, 0], one.bias[0]).probabilities(features[held]) for one, (_, held) in pairs]
        return np.concatenate([held for _, held in self.folds]), np.concatenate(found)

    def scores(self, solutions: Sequence[Solution]) -> "NDArray[np.float64]":
        """[P, 4]: log loss and accuracy on the rows fitted on, and on those held out."""
        features, labels = self.rows.features(), self.rows.labels
        pairs = list(zip(solutions, self.folds, strict=True))
        return np.array(
            [[v for part in fold for v in _score(one, features[part], labels[part])] for one, fold in pairs]
        )


def problems_of(
    rows: Rows, folds: Folds, strength: float, class_weight: str, spreads: "NDArray[np.float64]"
) -> Problems:  # fmt: skip
    """One problem for each fold: its fitted rows count, the others do not. ``spreads``: [D, P]."""
    weights = np.zeros((len(rows), len(folds)), np.float32)
    for number, (fitted, _) in enumerate(folds):
        labels = rows.labels[fitted]
        counts = np.bincount(labels)
        share = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))  # scikit-learn's "balanced"
        weights[fitted, number] = share[labels] if class_weight == "balanced" else 1.0
    return Problems(
        row_weights=weights.__getitem__,
        total_weights=weights.sum(axis=0, dtype=np.float64),
        strengths=np.full(len(folds), strength),
        spreads=spreads.astype(np.float32),
    )


def joined(solutions: Sequence[Solution]) -> Solution:
    """Those of several problems, side by side."""
    return Solution(
        np.concatenate([one.weights for one in solutions], axis=1),
        np.concatenate([one.bias for one in solutions]),
        all(one.settled for one in solutions),
    )


def _spreads(features: "NDArray[np.float32]", folds: Folds, standard: Standard) -> "NDArray[np.float64]":
    """[D, P]: of each standardised feature over the rows a fold is fitted on, by which it is divided before weights are
    penalised. By two matrix products for all folds: of features whose means are about 0 the squares' means will do."""
    shares = np.zeros((len(features), len(folds)), np.float32)
    for number, (fitted, _) in enumerate(folds):
        shares[fitted, number] = 1 / len(fitted)
    means = features.T @ shares
    deviations = np.sqrt(np.maximum(np.square(features).T @ shares - np.square(means), 0))
    spread = standard.spread.astype(np.float64)
    return np.stack([floored(one * spread) / spread for one in deviations.T], axis=1)


def _score(solution: Solution, features: "NDArray[np.float32]", labels: "NDArray[np.int64]") -> tuple[float, float]:
    """Log loss and accuracy of the only problem of a solution."""
    logits = solution.logits(features)  # [n, 1, U]
    predicted = logits[:, 0].argmax(axis=1) if logits.shape[2] > 1 else logits[:, 0, 0] > 0
    return float(row_losses(logits, labels)[0].mean(dtype=np.float64)), float(np.mean(predicted == labels))
