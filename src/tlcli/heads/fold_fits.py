"""Logistic regressions on the folds of a cross-validation, many fitted at once.

Shapes: N rows, D features, L classes, P folds (pairs of rows fitted on and rows held out), U output units.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tlcli.features.rows import Rows
from tlcli.heads.class_weight import ClassWeight, weights_of
from tlcli.heads.folds import Folds
from tlcli.heads.head import Head
from tlcli.heads.many_units import MANY_UNITS, PrincipalRows, solve_many
from tlcli.heads.solver import Axes, Problems, Solution, solve
from tlcli.heads.standardize import Standardizer, floored
from tlcli.heads.task import Task
from tlcli.progress import SILENT, Progress
from tlcli.system.cpu import threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 3e-4
"""With 1e-3, fits that start at the last one's solution end too early: the loss is off in the second digit."""
_VARIABLES = 500_000
"""Weights that are optimised at once, at most: L-BFGS keeps 25 numbers for each (100 MB)."""
_COLD = 0.3
"""C above which the search starts at the solution for a tenth of it: from zeros it ends too early, where the loss of
images that can be separated is nearly 0 (Alien vs. Predator, C = 10, all layers: accuracy 0.950 instead of 0.969)."""
_SIDE_BY_SIDE = 4
"""Folds of many output units that are solved at once, at most: 150 MB each with 1,280 features and 1,000 classes."""
_AXES_KEPT = 10
"""Folds whose axes are kept for the next C, where there are many output units: 65 MB with 1,280 features."""


@dataclass(frozen=True)
class FoldFits:
    """Rows divided into folds, on which logistic regressions of any C are fitted."""

    rows: Rows
    """In memory, standardised by all rows."""
    folds: Folds
    scales: "NDArray[np.float64]"
    """[D, P], of each feature over the rows that a fold is fitted on"""
    axes: Axes
    class_weight: ClassWeight
    task: Task
    _axes_of_folds: dict[int, Axes] = field(default_factory=dict)

    @classmethod
    def of(
        cls, rows: Rows, folds: Folds, standardizer: Standardizer, standardize: bool, class_weight: ClassWeight
    ) -> "FoldFits":
        """Prepares rows that ``standardizer`` has standardised already; every fold is then scaled by the rows
        that it is fitted on."""
        features = rows.features()
        return cls(
            rows.with_features(features),
            folds,
            _scales(rows.widths, features, folds, standardizer) if standardize else np.ones((rows.width, len(folds))),
            Axes.of(features),
            class_weight,
            Task.of(rows),
        )

    @classmethod
    def turned(cls, rows: Rows, folds: Folds, class_weight: ClassWeight) -> "FoldFits":
        """The same of standardised rows turned to their principal axes, so that many fits are cheap. All folds have
        the scales of all rows: nothing but the spread of the features is known of the rows that a fold holds out."""
        features, axes = Axes.turned(rows.features())
        turned = Rows.of(features, rows.labels, rows.units)
        return cls(turned, folds, np.ones((turned.width, len(folds))), axes, class_weight, Task.of(rows))

    def solve(
        self,
        C: float,
        starts: Sequence[Solution | None] | None = None,
        progress: Progress = SILENT,
        most: int | None = None,
    ) -> list[Solution]:
        """Solves all folds at one C, starting at ``starts``; as many folds at once as fit the memory it is allowed, and
        at most ``most``. ``progress`` is told of those that are done."""
        if starts is None and C > _COLD:
            starts = self.solve(C / 10)
        if self.task.units >= MANY_UNITS:
            return self._solve_each(C, starts or [None] * len(self.folds), progress)
        at_once = min(max(1, _VARIABLES // (self.rows.width * self.task.units)), most or len(self.folds))
        found: list[Solution] = []
        for first in range(0, len(self.folds), at_once):
            part = slice(first, first + at_once)
            problems = problems_of(self.rows, self.folds[part], 1 / C, self.class_weight, self.scales[:, part])
            start = [one for one in (starts or [])[part] if one]
            both = solve(self.rows, self.axes, problems, self.task, TOLERANCE, joined(start) if start else None)
            found += [both.of(number) for number in range(len(self.folds[part]))]
            progress.advance(len(self.folds[part]))
        return found

    def _solve_each(self, C: float, starts: Sequence[Solution | None], progress: Progress) -> list[Solution]:
        """Solves folds of many output units side by side: what one does between its products is no product."""
        found = []
        with ThreadPoolExecutor(min(threads(), _SIDE_BY_SIDE)) as pool:
            for one in pool.map(lambda number: self._solve_one(number, C, starts[number]), range(len(self.folds))):
                found.append(one)
                progress.advance()
        return found

    def _solve_one(self, number: int, C: float, start: Solution | None) -> Solution:
        """Solves one fold of many output units."""
        fitted, scales = self.folds[number][0], self.scales[:, number].astype(np.float32)
        labels = self.rows.labels[fitted]
        weights = weights_of(labels, self.class_weight)
        known = self._axes_of_folds.get(number)
        rows = PrincipalRows.of(self.rows.read(fitted), labels, weights, scales, known)
        if len(self._axes_of_folds) < _AXES_KEPT:
            self._axes_of_folds[number] = rows.axes
        return solve_many(rows, 1 / C, self.task, TOLERANCE, start)

    def held_out(self, solutions: Sequence[Solution]) -> "tuple[NDArray[np.int64], NDArray[np.float64]]":
        """Numbers of all held-out rows [n], and their probabilities [n, L] by the solution of their fold."""
        features = self.rows.features()
        pairs = list(zip(solutions, self.folds, strict=True))
        found = [Head(one.weights[:, 0], one.bias[0]).probabilities(features[held]) for one, (_, held) in pairs]
        return np.concatenate([held for _, held in self.folds]), np.concatenate(found)

    def scores(self, solutions: Sequence[Solution]) -> "NDArray[np.float64]":
        """[P, 4]: log loss and accuracy on the rows fitted on, and on those held out."""
        features, labels = self.rows.features(), self.rows.labels
        pairs = list(zip(solutions, self.folds, strict=True))
        return np.array(
            [[v for part in fold for v in self._score(one, features[part], labels[part])] for one, fold in pairs]
        )

    def _score(
        self, solution: Solution, features: "NDArray[np.float32]", labels: "NDArray[np.int64]"
    ) -> tuple[float, float]:
        """Log loss and accuracy of the only problem of a solution."""
        logits = solution.logits(features)  # [n, 1, U]
        losses, _ = self.task.cross_entropy(logits, labels)
        accuracy = np.mean(self.task.predicted(logits[:, 0]) == labels)
        return float(losses.mean(dtype=np.float64)), float(accuracy)


def problems_of(
    rows: Rows, folds: Folds, penalty: float, class_weight: ClassWeight, scales: "NDArray[np.float64]"
) -> Problems:  # fmt: skip
    """One problem for each fold, in which only its fitted rows count. ``penalty``: 1 / C; ``scales``: [D, P]."""
    weights = np.zeros((len(rows), len(folds)), np.float32)
    for number, (fitted, _) in enumerate(folds):
        weights[fitted, number] = weights_of(rows.labels[fitted], class_weight)
    return Problems(
        row_weights=weights.__getitem__,
        total_weights=weights.sum(axis=0, dtype=np.float64),
        penalties=np.full(len(folds), penalty),
        scales=scales.astype(np.float32),
    )


def joined(solutions: Sequence[Solution]) -> Solution:
    """The solutions of several problems as one."""
    return Solution(
        np.concatenate([one.weights for one in solutions], axis=1),
        np.concatenate([one.bias for one in solutions]),
        all(one.converged for one in solutions),
    )


def _scales(
    widths: Sequence[int], features: "NDArray[np.float32]", folds: Folds, standardizer: Standardizer
) -> "NDArray[np.float64]":  # fmt: skip
    """[D, P]: scale of each standardised feature over the rows that a fold is fitted on. By two matrix products for all
    folds: the means are about 0, so that the difference of squares is exact enough."""
    shares = np.zeros((len(features), len(folds)), np.float32)
    for number, (fitted, _) in enumerate(folds):
        shares[fitted, number] = 1 / len(fitted)
    means = features.T @ shares
    deviations = np.sqrt(np.maximum(np.square(features).T @ shares - np.square(means), 0))
    scale = standardizer.scale.astype(np.float64)
    return np.stack([floored(one * scale, widths) / scale for one in deviations.T], axis=1)
