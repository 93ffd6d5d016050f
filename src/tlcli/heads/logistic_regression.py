"""L2-regularised logistic regression. It is a convex problem: one optimum, and no learning rate to choose.

C is chosen by stratified cross-validation on the training rows, by log loss: from the smallest candidate (the strongest
regularisation) upwards, each fit starting at the solution of the last, until the loss is clearly rising.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from tlcli.features.rows import Rows
from tlcli.heads.class_weight import ClassWeight, weights_of
from tlcli.heads.fit_record import Candidate, Fit, HeldOut, Step
from tlcli.heads.fold_fits import FoldFits, joined, problems_of
from tlcli.heads.folds import folds_of, sampled
from tlcli.heads.head import Head
from tlcli.heads.many_units import MANY_UNITS, PrincipalRows, solve_many
from tlcli.heads.solver import MAX_PASSES, Solution, solve
from tlcli.heads.standardize import Standardizer
from tlcli.progress import SILENT, Progress
from tlcli.system.cpu import threads
from tlcli.system.files import format_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FINAL_TOLERANCE = 1e-4
_MANY_BYTES = 1 << 30
"""Of all rows in memory, above which it is said that they are not held there."""
_ROTATED = 16_384
"""Rows up to which the last fit of many output units holds a rotated copy of them: 84 MB with 1,280 features. With
more rows the products with the axes, which it saves, are a small part of a pass."""


def fit_logistic_regression(
    rows: Rows,
    Cs: Sequence[float],
    folds: int,
    standardize: bool,
    class_weight: ClassWeight,
    seed: int,
    progress: Progress = SILENT,
    candidates: Sequence[tuple[int, ...]] = (),
) -> Fit:
    """Chooses C, and the blocks of features to use, by cross-validation, then fits on all rows.

    Args:
        rows: training features [N, D], read block by block; a sample of them is held in memory.
        Cs: candidates for the inverse regularisation strength, as in scikit-learn: the weight of the summed loss
            against half the squared weights. Once a candidate is worse than the best by more than a standard error,
            larger ones are not tried.
        folds: number of folds; fewer where the smallest class has fewer units.
        standardize: fit on features of mean 0, divided by their deviation (:func:`~tlcli.heads.standardize.floored`);
            folded into the head's weights.
        class_weight: what an image of each class weighs in the loss.
        seed: of the division into folds, and of the sample.
        progress: receives the stages.
        candidates: choices of blocks, by their numbers in ``rows``; the one with the lowest log loss on the held-out
            folds is used. By default all blocks.

    Returns:
        The fit; its history has a line for each C tried with the blocks that it uses, with the mean log loss and
        accuracy on the rows fitted on and on the held-out folds.

    Raises:
        DataError: a class has only one unit, or the groups cannot be divided.
    """
    found = search_logistic_regression(rows, Cs, folds, standardize, class_weight, seed, progress, candidates)
    return fit_found(rows, found, progress)


def search_logistic_regression(
    rows: Rows,
    Cs: Sequence[float],
    folds: int,
    standardize: bool,
    class_weight: ClassWeight,
    seed: int,
    progress: Progress = SILENT,
    candidates: Sequence[tuple[int, ...]] = (),
) -> "Searched":
    """The first part of :func:`fit_logistic_regression`: chooses C and the blocks, and fits nothing on all rows."""
    everything = tuple(range(len(rows.widths)))
    # One thread for the products: they wait for memory, not for arithmetic, and the sums are the same on every machine.
    # (Many output units are divided among threads all the same: see many_units.py.)
    with threadpool_limits(1), progress.stage("Standardising features"):
        standardizer = Standardizer.of(rows, standardize)
        numbers = sampled(rows, folds, seed)
        sample = rows.take(numbers)
        sample = sample.with_features(standardizer.apply(sample.features()))
        divided = list(folds_of(sample, folds, seed))
    choices = list(candidates) or [everything]
    total = len(choices) * len(set(Cs)) * len(divided)  # at most
    searches: list[_Search] = []
    with threadpool_limits(1), progress.stage("Choosing C", total, "fits"):
        for blocks in choices:
            part = standardizer.of_blocks(rows.widths, blocks)
            fits = FoldFits.of(sample.of_blocks(blocks), divided, part, standardize, class_weight)
            searches.append(_search(blocks, fits, sorted(set(Cs)), progress))
    searches.sort(key=lambda search: search.best.val_loss)
    return Searched(standardizer, tuple(searches), numbers, sample.labels)


def fit_found(rows: Rows, found: "Searched", progress: Progress = SILENT) -> Fit:
    """The second part of :func:`fit_logistic_regression`: fits on all rows [N, D], those that were searched on."""
    best, numbers = found.searches[0], found.numbers
    if (size := 4 * len(rows) * rows.width) > _MANY_BYTES:
        progress.note(
            f"{len(rows):,} rows of {rows.width:,} features would take {format_size(size)}: each pass of the fit reads "
            f"them block by block, and memory holds {threads() + 2} blocks."
        )
    with threadpool_limits(1), progress.stage("Fitting the head"):
        part = found.standardizer.of_blocks(rows.widths, best.blocks)
        solution = _fit_all(part.rows(rows.of_blocks(best.blocks)), best.fits, best.best.C or 1.0, best.start)
    if not (solution.converged and best.converged):
        progress.note(f"Logistic regression did not converge in {MAX_PASSES} passes. Smaller head.Cs need fewer.")
    head = part.fold(solution.weights[:, 0], solution.bias[0].astype(np.float64))
    held, probabilities = best.held_out
    return Fit(
        "logistic_regression",
        _widened(head, rows.widths, best.blocks),
        best.steps,
        best.best,
        HeldOut(numbers[held], found.labels[held], probabilities),
        tuple(
            Candidate(one.blocks, one.best.C or 1.0, one.best.val_loss, one.best.val_accuracy) for one in found.searches
        ),
    )


@dataclass(frozen=True)
class _Search:
    """The values of C tried with some blocks of the features."""

    blocks: tuple[int, ...]
    fits: FoldFits
    steps: tuple[Step, ...]
    best: Step
    start: Solution
    """The mean of the folds' solutions at the best C."""
    held_out: "tuple[NDArray[np.int64], NDArray[np.float64]]"
    """At the best C: numbers of the held-out rows, and their probabilities."""
    converged: bool


@dataclass(frozen=True)
class Searched:
    """What cross-validation found, before anything is fitted on all rows."""

    standardizer: Standardizer
    searches: tuple[_Search, ...]
    """One for each choice of blocks, the best first."""
    numbers: "NDArray[np.int64]"
    """Of the rows that were divided into folds."""
    labels: "NDArray[np.int64]"
    """Of these rows."""

    @property
    def val_loss(self) -> float:
        """The lowest mean log loss on the held-out folds."""
        return self.searches[0].best.val_loss


def _search(blocks: tuple[int, ...], fits: FoldFits, Cs: Sequence[float], progress: Progress) -> _Search:
    tried, held_out = _path(fits, Cs, progress)
    best, start = min(tried, key=lambda each: each[0].val_loss)
    converged = all(solution.converged for _, solution in tried)
    return _Search(blocks, fits, tuple(step for step, _ in tried), best, start, held_out, converged)


def _widened(head: Head, widths: Sequence[int], blocks: Sequence[int]) -> Head:
    """The head with weights of 0 for the blocks that it was not fitted on."""
    if len(blocks) == len(widths):
        return head
    used = np.repeat(np.isin(np.arange(len(widths)), blocks), widths)
    weights = np.zeros((sum(widths), head.weights.shape[1]), np.float32)
    weights[used] = head.weights
    typical = np.zeros(len(weights), np.float32)
    typical[used] = 0 if head.typical is None else head.typical
    return replace(head, weights=weights, typical=typical)


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
