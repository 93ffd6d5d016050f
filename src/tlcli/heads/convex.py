"""L2-regularised logistic regression: convex, so it has one answer, and no learning rate to choose.

The strength of regularisation is chosen by stratified cross-validation on the training rows, by log loss: from the
strongest candidate to weaker ones, each fit begun where the last ended, until it is clear that it gets worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from tlcli.heads.folds import Folds, folds_of, sample_of
from tlcli.heads.head import Fit, Step
from tlcli.heads.logistic import MAX_PASSES, Axes, Problems, Solution, row_losses, solve
from tlcli.heads.rows import Rows, Standard, floored
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHOOSING_TOLERANCE = 3e-4
"""With 1e-3 fits that begin at the last one's answer end too early: the loss is off in the second digit."""
_FINAL_TOLERANCE = 1e-4
_VARIABLES = 500_000
"""Weights that are sought at once, at most: L-BFGS keeps 25 numbers for each (100 MB)."""


def fit_convex(
    rows: Rows,
    strengths: Sequence[float],
    folds: int,
    standardize: bool,
    class_weight: str,
    seed: int,
    progress: Progress = SILENT,
) -> Fit:
    """Chooses the strength, then fits on all rows.

    Args:
        rows: training features [N, D], passed over block by block; a sample of them is held in memory.
        strengths: candidates for the weight of the L2 penalty relative to the summed loss (scikit-learn's 1 / C). Those
            weaker than one that is worse than the best so far, by more than a standard error, are not tried.
        folds: of the cross-validation; fewer where the smallest class has fewer units.
        standardize: fit on features of mean 0, divided by their spread (:func:`~tlcli.heads.rows.floored`); folded into
            the head's weights.
        class_weight: ``balanced`` gives every class the same total weight, ``none`` every picture.
        seed: of the division into folds, and of the sample.
        progress: told of what is being done.

    Returns:
        The head; the history has a line a strength tried, with mean loss and accuracy on the fitted (``loss``) and on
        the held-out (``val_loss``) folds.
    """
    descending = sorted(set(strengths), reverse=True)
    classes = int(rows.labels.max()) + 1
    # One thread for the products: they wait for memory, not for arithmetic, and the sums are the same on every machine.
    with threadpool_limits(1), progress.stage("Choosing the strength"):
        standard = Standard.of(rows, standardize)
        sample = sample_of(rows, classes, folds, seed)
        sample = Rows.of(standard.apply(sample.features()), sample.labels, sample.units)
        divided = list(folds_of(sample, folds, seed))
        axes = Axes.of(sample.features())
        spreads = [_spread(sample.features()[fitted], standard, standardize) for fitted, _ in divided]
        validation = _CrossValidation(sample, divided, np.stack(spreads, axis=1), axes, class_weight, classes)
        tried = _path(validation, descending)
    best, start = min(tried, key=lambda each: each[0].val_loss)
    everything = [(np.arange(len(rows)), np.arange(0))]
    problem = _problems(rows, everything, best.strength or 1.0, class_weight, np.ones((rows.width, 1)))
    with threadpool_limits(1), progress.stage("Fitting the head"):
        found = solve(standard.rows(rows), axes, problem, classes, _FINAL_TOLERANCE, start)
    if not (found.settled and all(start.settled for _, start in tried)):
        progress.note(
            f"A fit was still changing after {MAX_PASSES} passes over the features; larger head.strengths take fewer."
        )
    head = standard.fold(found.weights[:, 0], found.bias[0].astype(np.float64))
    return Fit(head, tuple(step for step, _ in tried), best.step)


@dataclass(frozen=True)
class _CrossValidation:
    """Rows divided for cross-validation."""

    rows: Rows
    """In memory, standardised."""
    folds: Folds
    spreads: "NDArray[np.float64]"
    """[D, folds], of each feature over the rows that a fold is fitted on"""
    axes: Axes
    class_weight: str
    classes: int

    def solutions(self, strength: float, starts: Sequence[Solution | None]) -> list[Solution]:
        """One a fold, begun at ``starts``; as many folds at once as memory is meant for."""
        units = 1 if self.classes == 2 else self.classes
        at_once = max(1, _VARIABLES // (self.rows.width * units))
        found: list[Solution] = []
        for first in range(0, len(self.folds), at_once):
            part = slice(first, first + at_once)
            problems = _problems(self.rows, self.folds[part], strength, self.class_weight, self.spreads[:, part])
            start = [one for one in starts[part] if one]
            joint = _joined(start) if start else None
            both = solve(self.rows, self.axes, problems, self.classes, _CHOOSING_TOLERANCE, joint)
            found += [both.of(place) for place in range(len(self.folds[part]))]
        return found

    def scores(self, solutions: Sequence[Solution]) -> "NDArray[np.float64]":
        """[folds, 4]: log loss and accuracy on the rows fitted on, and on those held out."""
        features, labels = self.rows.features(), self.rows.labels
        pairs = list(zip(solutions, self.folds, strict=True))
        return np.array(
            [[v for part in fold for v in _score(one, features[part], labels[part])] for one, fold in pairs]
        )


def _path(validation: _CrossValidation, strengths: Sequence[float]) -> list[tuple[Step, Solution]]:
    """For each strength tried its line of the history, and the mean of its folds' weights."""
    solutions: Sequence[Solution | None] = [None] * len(validation.folds)
    tried: list[tuple[Step, Solution]] = []
    best: NDArray[np.float64] | None = None  # [folds], held-out losses
    for number, strength in enumerate(strengths, 1):
        found = validation.solutions(strength, solutions)
        scores = validation.scores(found)
        loss, accuracy, val_loss, val_accuracy = (float(mean) for mean in scores.mean(axis=0))
        tried.append((Step(number, loss, accuracy, val_loss, val_accuracy, strength=strength), _joined(found).mean()))
        held = scores[:, 2]
        if best is None or held.mean() < best.mean():
            best = held
        elif np.mean(held - best) > np.std(held - best, ddof=min(1, len(held) - 1)) / len(held) ** 0.5:
            break
        solutions = found
    return tried


def _joined(solutions: Sequence[Solution]) -> Solution:
    return Solution(
        np.concatenate([one.weights for one in solutions], axis=1),
        np.concatenate([one.bias for one in solutions]),
        all(one.settled for one in solutions),
    )


def _spread(features: "NDArray[np.float32]", standard: Standard, standardize: bool) -> "NDArray[np.float64]":
    """Of each standardised feature over the rows fitted on, by which it is divided before weights are penalised."""
    if not standardize:
        return np.ones(features.shape[1])
    return floored(features.std(axis=0, dtype=np.float64) * standard.spread) / standard.spread


def _score(solution: Solution, features: "NDArray[np.float32]", labels: "NDArray[np.int64]") -> tuple[float, float]:
    """Log loss and accuracy of the only problem of a solution."""
    logits = solution.logits(features)  # [n, 1, U]
    predicted = logits[:, 0].argmax(axis=1) if logits.shape[2] > 1 else logits[:, 0, 0] > 0
    return float(row_losses(logits, labels)[0].mean(dtype=np.float64)), float(np.mean(predicted == labels))


def _problems(
    rows: Rows, folds: Folds, strength: float, class_weight: str, spreads: "NDArray[np.float64]"
) -> Problems:  # fmt: skip
    """One problem for each fold."""
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
