"""L2-regularised logistic regression. It is a convex problem: one optimum, and no learning rate to choose.

C is chosen by stratified cross-validation on the training rows, by log loss: from the smallest candidate (the strongest
regularisation) upwards, each fit starting at the solution of the last, until the loss is clearly rising.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from tlcli.features.rows import Rows
from tlcli.heads.fit_record import Fit, HeldOut, Step
from tlcli.heads.fold_fits import FoldFits, joined, problems_of, weights_of
from tlcli.heads.folds import folds_of, sampled
from tlcli.heads.many_units import MANY_UNITS, PrincipalRows, solve_many
from tlcli.heads.solver import MAX_PASSES, Solution, solve
from tlcli.heads.standardize import Standardizer
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FINAL_TOLERANCE = 1e-4
_ROTATED = 16_384
"""Rows up to which the last fit of many output units holds a rotated copy of them: 84 MB with 1,280 features. With
more rows the products with the axes, which it saves, are a small part of a pass."""


def fit_logistic_regression(
    rows: Rows,
    Cs: Sequence[float],
    folds: int,
    standardize: bool,
    class_weight: str,
    seed: int,
    progress: Progress = SILENT,
) -> Fit:
    """Chooses C by cross-validation, then fits on all rows.

    Args:
        rows: training features [N, D], read block by block; a sample of them is held in memory.
        Cs: candidates for the inverse regularisation strength, as in scikit-learn: the weight of the summed loss
            against half the squared weights. Once a candidate is worse than the best by more than a standard error,
            larger ones are not tried.
        folds: number of folds; fewer where the smallest class has fewer units.
        standardize: fit on features of mean 0, divided by their deviation (:func:`~tlcli.heads.standardize.floored`);
            folded into the head's weights.
        class_weight: ``balanced`` gives every class the same total weight, ``none`` every image.
        seed: of the division into folds, and of the sample.
        progress: receives the stages.

    Returns:
        The fit; its history has a line for each C tried, with the mean log loss and accuracy on the rows fitted on and
        on the held-out folds.

    Raises:
        DataError: a class has only one unit, or the groups cannot be divided.
    """
    # One thread for the products: they wait for memory, not for arithmetic, and the sums are the same on every machine.
    # (Many output units are divided among threads all the same: see many_units.py.)
    with threadpool_limits(1), progress.stage("Standardising features"):
        standardizer = Standardizer.of(rows, standardize)
        numbers = sampled(rows, folds, seed)
        sample = rows.take(numbers)
        sample = sample.with_features(standardizer.apply(sample.features()))
        fits = FoldFits.of(sample, list(folds_of(sample, folds, seed)), standardizer, standardize, class_weight)
    total = len(set(Cs)) * len(fits.folds)  # at most
    with threadpool_limits(1), progress.stage("Choosing C", total, "fits"):
        tried, (held, probabilities) = _path(fits, sorted(set(Cs)), progress)
    best, start = min(tried, key=lambda each: each[0].val_loss)
    with threadpool_limits(1), progress.stage("Fitting the head"):
        found = _fit_all(standardizer.rows(rows), fits, best.C or 1.0, start)
    if not (found.converged and all(start.converged for _, start in tried)):
        progress.note(f"Logistic regression did not converge in {MAX_PASSES} passes. Smaller head.Cs need fewer.")
    head = standardizer.fold(found.weights[:, 0], found.bias[0].astype(np.float64))
    held_out = HeldOut(numbers[held], sample.labels[held], probabilities)
    return Fit("logistic_regression", head, tuple(step for step, _ in tried), best, held_out)


def _fit_all(rows: Rows, fits: FoldFits, C: float, start: Solution) -> Solution:
    """Fits on all standardised rows [N, D]."""
    if fits.task.units >= MANY_UNITS and len(rows) <= _ROTATED:
        weights, scales = weights_of(rows.labels, fits.class_weight), np.ones(rows.width, np.float32)
        in_memory = PrincipalRows.of(rows.features(), rows.labels, weights, scales)
        return solve_many(in_memory, 1 / C, fits.task, _FINAL_TOLERANCE, start)
    everything = [(np.arange(len(rows)), np.arange(0))]
    problem = problems_of(rows, everything, 1 / C, fits.class_weight, np.ones((rows.width, 1)))
    return solve(rows, fits.axes, problem, fits.task, _FINAL_TOLERANCE, start)


def _path(
    fits: FoldFits, Cs: Sequence[float], progress: Progress
) -> "tuple[list[tuple[Step, Solution]], tuple[NDArray[np.int64], NDArray[np.float64]]]":  # fmt: skip
    """For each C tried its line of the history and the mean of its folds' solutions; and the numbers of the held-out
    rows with their probabilities, at the best C."""
    solutions: Sequence[Solution | None] = [None] * len(fits.folds)
    tried: list[tuple[Step, Solution]] = []
    best: NDArray[np.float64] | None = None  # [folds], held-out losses
    of_best: Sequence[Solution] = ()
    for number, C in enumerate(Cs, 1):
        found = fits.solve(C, solutions, progress)
        scores = fits.scores(found)
        loss, accuracy, val_loss, val_accuracy = (float(mean) for mean in scores.mean(axis=0))
        tried.append((Step(number, loss, accuracy, val_loss, val_accuracy, C=C), joined(found).mean()))
        held = scores[:, 2]
        if best is None or held.mean() < best.mean():
            best, of_best = held, found
        elif np.mean(held - best) > np.std(held - best, ddof=min(1, len(held) - 1)) / len(held) ** 0.5:
            break
        solutions = found
    return tried, fits.held_out(of_best)
