"""Repeated cross-validation of logistic regression: out-of-fold probabilities, and the accuracy by training set size.

All folds, repeats and sizes are solved at once.

Shapes: N rows, D features, L classes, J folds (of all repeats), S sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from tlcli.features.rows import Rows
from tlcli.heads.class_weight import ClassWeight
from tlcli.heads.fold_fits import FoldFits
from tlcli.heads.folds import Folds, folds_of, sampled
from tlcli.heads.many_units import MANY_UNITS
from tlcli.heads.solver import Solution
from tlcli.heads.standardize import Standardizer
from tlcli.heads.task import Task
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARES: tuple[float, ...] = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Of a fold's fitted part: the training set sizes of the learning curve."""
BUDGET = 3e10
"""Numbers multiplied in a pass over the rows of all fits (rows x features x classes), at most, where there are many
classes: a minute or two on two cores. Nine fits of 2,000 rows of 1,280 features in 1,000 classes have 2.3e10."""
_AT_ONCE = 25
"""Fits that are solved together, so that progress is seen: 75 in one go take 0.8 times as long (2,100 rows of 4,128
features), and show nothing until all are done."""
_FEW = 4
"""Rows of each class, on average, below which a size is left out."""


@dataclass(frozen=True)
class CrossValidated:
    """The result of repeated cross-validation."""

    probabilities: "NDArray[np.float64]"
    """[N, L], of each row the mean over the heads that were not fitted on it (or its unit); NaN for rows of a group
    without which a class would be missing, which every head is fitted on"""
    accuracies: "NDArray[np.float64]"
    """[S, J], on the rows that a fold holds out, of heads fitted on each size"""
    sizes: tuple[int, ...]
    """[S], rows fitted on, mean over the folds; the last is all of a fold's fitted part"""
    test_share: float
    """Share of the rows that a fold holds out"""
    repeats: int
    """How often the rows were divided"""
    repeats_requested: int
    """How often they should have been: more where that would exceed :data:`BUDGET`"""
    reduced_sizes: bool
    """The smaller training set sizes were left out, since a single repeat with them would exceed :data:`BUDGET`"""
    rows_used: int
    """Rows divided into folds: all, or a sample where there are very many"""
    units_used: int
    """Units of these rows"""
    folds: "tuple[NDArray[np.int64], ...]"
    """[J], numbers of the rows that each holds out"""
    repeat_of: "NDArray[np.int64]"
    """[J], from 0"""
    fold_probabilities: "tuple[NDArray[np.float64], ...]" = ()
    """[S] of the rows held out of all folds, one fold after the other [n, L], by heads fitted on each size; empty where
    they were not asked for"""

    @property
    def fold_of(self) -> "NDArray[np.int64]":
        """[n], the fold of each row in :attr:`fold_probabilities`"""
        return np.repeat(np.arange(len(self.folds)), [len(held) for held in self.folds])


def cross_validate(
    rows: Rows,
    C: float,
    folds: int = 5,
    repeats: int = 3,
    standardize: bool = True,
    class_weight: ClassWeight = "none",
    seed: int = 0,
    shares: Sequence[float] = SHARES,
    progress: Progress = SILENT,
    keep_folds: bool = False,
) -> CrossValidated:
    """Cross-validates logistic regression at one C, on whole units, stratified.

    To choose C within each fold again would take 15 times as long and tell hardly more: on solar cells the accuracy at
    the C chosen once is higher by 0.002 ± 0.002 of 100 images, by 0.001 ± 0.001 of 300, where the interval is 0.08 and
    0.05 to either side. (60 images in 100 simulated dimensions: 0.013 ± 0.003 of 0.13.)

    Args:
        rows: plain images [N, D], no augmented views.
        C: inverse regularisation strength; the one that the head was fitted with.
        folds: number of folds; fewer where the smallest class has fewer units.
        repeats: how often the rows are divided; less often, and on one size only, where there are many classes and the
            cost would exceed :data:`BUDGET`.
        standardize: as in :func:`~tlcli.heads.logistic_regression.fit_logistic_regression`.
        class_weight: as there.
        seed: of the divisions and of the sizes' rows.
        shares: of a fold's fitted part, rising, the last 1: a head is fitted on each.
        progress: receives the stage.
        keep_folds: keep the probabilities that each fold's head gives the rows that it holds out.

    Raises:
        DataError: a class has only one unit, or the groups cannot be divided.
    """
    with threadpool_limits(1), progress.stage("Standardising features"):
        standardizer = Standardizer.of(rows, standardize)
        numbers = sampled(rows, folds, seed)
        sample = rows.take(numbers)
        sample = sample.with_features(standardizer.apply(sample.features()))
        once = list(folds_of(sample, folds, seed))
        wanted = _large_enough(shares, sample, len(once))
        done, fractions = _affordable(sample, once, repeats, wanted)
        divisions = [once, *(list(folds_of(sample, folds, seed + repeat)) for repeat in range(1, done))]
        divided = [fold for division in divisions for fold in division]
        parts = [(part, held) for number, (fitted, held) in enumerate(divided)
                 for part in nested_parts(sample, fitted, fractions, seed + number)]  # fmt: skip
        fits = FoldFits.of(sample, parts, standardizer, standardize, class_weight)
    with threadpool_limits(1), progress.stage("Cross-validating the head", len(parts), "fits"):
        solutions = fits.solve(C, progress=progress, most=_AT_ONCE)
        accuracies = fits.scores(solutions)[:, 3].reshape(len(divided), len(fractions)).T
        whole = solutions[len(fractions) - 1 :: len(fractions)]
        probabilities = _out_of_fold(rows, standardizer, sample, divided, whole)
        sizes = [slice(size, None, len(fractions)) for size in range(len(fractions))] if keep_folds else []
        of_folds = tuple(replace(fits, folds=parts[size]).held_out(solutions[size])[1] for size in sizes)
    counts = np.array([len(part) for part, _ in parts]).reshape(len(divided), len(fractions))
    return CrossValidated(
        probabilities,
        accuracies,
        tuple(int(size) for size in counts.mean(axis=0).round()),
        float(np.mean([len(held) for _, held in divided])) / len(sample),
        done,
        repeats,
        len(fractions) < len(wanted),
        len(sample),
        len(np.unique(sample.units)),
        tuple(numbers[held] for _, held in divided),
        np.repeat(np.arange(len(divisions)), [len(division) for division in divisions]),
        of_folds,
    )


def _large_enough(shares: Sequence[float], rows: Rows, folds: int) -> list[float]:
    """The shares that leave a few rows of each class; 1 is always among them."""
    fitted = len(rows) * (1 - 1 / folds)
    return [share for share in shares if share == 1 or share * fitted >= _FEW * Task.of(rows).count]


def _affordable(
    rows: Rows, folds: Folds, repeats: int, shares: Sequence[float]
) -> tuple[int, Sequence[float]]:  # fmt: skip
    """How many repeats, and which shares, :data:`BUDGET` allows; all of them where classes are few."""
    task = Task.of(rows)
    if task.units < MANY_UNITS:
        return repeats, shares
    whole = sum(len(fitted) for fitted, _ in folds) * float(rows.width) * task.units
    if whole * sum(shares) > BUDGET:
        shares = shares[-1:]
    return min(repeats, max(1, int(BUDGET / (whole * sum(shares))))), shares


def nested_parts(
    rows: Rows, fitted: "NDArray[np.int64]", shares: Sequence[float], seed: int
) -> "list[NDArray[np.int64]]":  # fmt: skip
    """Nested parts of ``fitted``, each within the next: whole units, stratified, with at least one of every class."""
    units, first, unit = np.unique(rows.units[fitted], return_index=True, return_inverse=True)
    random = np.random.default_rng(seed)
    order = random.permutation(len(units))
    labels = rows.labels[fitted][first][order]
    turn = np.empty(len(units))
    for label in np.unique(labels):
        members = labels == label
        turn[members] = (np.arange(members.sum()) - random.random() * (np.arange(members.sum()) > 0)) / members.sum()
    order = order[np.argsort(turn, kind="stable")]
    rows_until = np.cumsum(np.bincount(unit)[order])
    parts = []
    for share in shares:
        enough = int(np.searchsorted(rows_until, share * len(fitted) - 0.5)) + 1
        parts.append(fitted[np.isin(unit, order[:enough])])
    return parts


def _out_of_fold(
    rows: Rows, standardizer: Standardizer, sample: Rows, folds: Folds, solutions: Sequence[Solution]
) -> "NDArray[np.float64]":  # fmt: skip
    """[N, L]: of each row the mean over the heads of those folds that fitted nothing of its unit."""
    heads = [standardizer.fold(one.weights[:, 0], one.bias[0].astype(np.float64)) for one in solutions]
    units, unit = np.unique(rows.units, return_inverse=True)
    seen = np.stack([np.isin(units, sample.units[fitted])[unit] for fitted, _ in folds])  # [J, N]
    blocks = []
    for block, features in rows.blocks():
        weights = ~seen[:, block]  # [J, n]
        total = sum(w[:, None] * head.probabilities(features) for w, head in zip(weights, heads, strict=True))
        count = weights.sum(axis=0)[:, None]
        blocks.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    return np.concatenate(blocks)
