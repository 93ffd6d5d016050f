"""L2-regularised logistic regression: convex, so it has one answer, and no learning rate to choose.

The strength of regularisation is chosen by stratified cross-validation on the training rows, by log loss.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from tlcli.errors import DataError
from tlcli.heads.head import Fit, Step
from tlcli.heads.logistic import Axes, Problems, Solution, row_losses, solve
from tlcli.heads.rows import Rows, Standard
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHOOSING_ROWS, _CHOOSING_OUTPUTS = 8192, 80_000
"""Rows that the strength is chosen on at most, and rows times classes. The loss is a sum, so the best strength does not
grow with the rows; and with as many as these it decides little."""
_CHOOSING_TOLERANCE = 1e-3
"""Half the passes of 1e-4; the losses it gives differ in the third digit, which strength is chosen does not."""
_FINAL_TOLERANCE = 1e-4
_VARIABLES = 500_000
"""Weights that are sought at once, at most: L-BFGS keeps 25 numbers for each (100 MB)."""
_Folds = list[tuple["NDArray[np.int64]", "NDArray[np.int64]"]]


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
        strengths: candidates for the weight of the L2 penalty relative to the summed loss (scikit-learn's 1 / C).
        folds: of the cross-validation; fewer where the smallest class has fewer units.
        standardize: fit on features of mean 0 and spread 1; folded into the head's weights.
        class_weight: ``balanced`` gives every class the same total weight, ``none`` every picture.
        seed: of the division into folds, and of the sample.
        progress: told of what is being done.

    Returns:
        The head; the history has a line a strength with mean loss and accuracy on the fitted (``loss``) and on the
        held-out (``val_loss``) folds.
    """
    descending = sorted(strengths, reverse=True)
    classes = int(rows.labels.max()) + 1
    # One thread for the products: they wait for memory, not for arithmetic, and the sums are the same on every machine.
    with threadpool_limits(1), progress.stage("Choosing the strength"):
        standard = Standard.of(rows, standardize)
        sample = _sample(rows, classes, folds, seed)
        sample = Rows.of(standard.apply(sample.features()), sample.labels, sample.units)
        divided = list(_folds(sample, folds, seed))
        axes = Axes.of(sample.features())
        history, starts = _scores(sample, axes, divided, descending, standardize, class_weight, classes)
    best = min(history, key=lambda step: step.val_loss)
    everything = [(np.arange(len(rows)), np.arange(0))]
    problem = _problems(rows, everything, [(best.strength or 1.0, 0)], class_weight, np.ones((rows.width, 1)))
    with threadpool_limits(1), progress.stage("Fitting the head"):
        found = solve(standard.rows(rows), axes, problem, classes, _FINAL_TOLERANCE, starts[best.step - 1])
    return Fit(standard.fold(found.weights[:, 0], found.bias[0].astype(np.float64)), tuple(history), best.step)


def _sample(rows: Rows, classes: int, folds: int, seed: int) -> Rows:
    """All rows where they are few, else whole units drawn evenly from every class."""
    limit = min(_CHOOSING_ROWS, max(_CHOOSING_OUTPUTS // classes, 4 * folds * classes))
    if len(rows) <= limit:
        return rows.take(np.arange(len(rows)))
    units, first, unit = np.unique(rows.units, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(units))
    label, size = (
        rows.labels[first][order],
        np.bincount(unit)[order],
    )  # [units], a unit counts for its first row's class
    chosen = np.zeros(len(units), bool)
    for number in range(classes):
        share = limit * np.mean(rows.labels == number)
        members = np.flatnonzero(label == number)
        enough = np.cumsum(size[members]) <= share
        enough[: 2 * folds] = True  # rare classes keep what the folds need
        chosen[order[members[enough]]] = True
    found = np.flatnonzero(chosen[unit])
    if len(found) > 2 * limit:  # few units of many rows: some of each must do
        found = np.sort(np.random.default_rng(seed).choice(found, limit, replace=False))
    return rows.take(found)


def _scores(
    rows: Rows, axes: Axes, folds: _Folds, strengths: Sequence[float],
    standardize: bool, class_weight: str, classes: int,
) -> tuple[list[Step], list[Solution]]:  # fmt: skip
    """For each strength its line of the history, and the mean of its folds' weights."""
    features, units = rows.features(), 1 if classes == 2 else classes
    spreads = np.stack([_spread(features[fitted], standardize) for fitted, _ in folds], axis=1)  # [D, folds]
    wanted = list(product(strengths, range(len(folds))))
    at_once = max(1, _VARIABLES // (rows.width * units))
    found: list[Solution] = []
    for start in range(0, len(wanted), at_once):
        some = wanted[start : start + at_once]
        problems = _problems(rows, folds, some, class_weight, spreads[:, [fold for _, fold in some]])
        both = solve(rows, axes, problems, classes, _CHOOSING_TOLERANCE)
        found += [Solution(both.weights[:, [place]], both.bias[[place]]) for place in range(len(some))]
    measured = [
        [value for part in folds[fold] for value in _score(one, features[part], rows.labels[part])]
        for (_, fold), one in zip(wanted, found, strict=True)
    ]
    history, starts = [], []
    for number, strength in enumerate(strengths):
        these = slice(number * len(folds), (number + 1) * len(folds))
        loss, accuracy, val_loss, val_accuracy = (float(mean) for mean in np.mean(measured[these], axis=0))
        history.append(Step(number + 1, loss, accuracy, val_loss, val_accuracy, strength=strength))
        weights, bias = ([getattr(one, name) for one in found[these]] for name in ("weights", "bias"))
        starts.append(Solution(np.mean(weights, axis=0), np.mean(bias, axis=0)))
    return history, starts


def _spread(features: "NDArray[np.float32]", standardize: bool) -> "NDArray[np.floating]":
    """Of each feature over the rows fitted on, by which it is divided before weights are penalised."""
    if not standardize:
        return np.ones(features.shape[1])
    spread = features.std(axis=0, dtype=np.float64)
    return np.where(spread > 1e-7, spread, 1.0)


def _score(solution: Solution, features: "NDArray[np.float32]", labels: "NDArray[np.int64]") -> tuple[float, float]:
    """Log loss and accuracy of the only problem of a solution."""
    logits = solution.logits(features)  # [n, 1, U]
    predicted = logits[:, 0].argmax(axis=1) if logits.shape[2] > 1 else logits[:, 0, 0] > 0
    return float(row_losses(logits, labels)[0].mean(dtype=np.float64)), float(np.mean(predicted == labels))


def _problems(
    rows: Rows, folds: _Folds, wanted: Sequence[tuple[float, int]], class_weight: str, spreads: "NDArray[Any]"
) -> Problems:  # fmt: skip
    """One problem for each strength and fold."""
    weights = np.zeros((len(rows), len(folds)), np.float32)
    for number, (fitted, _) in enumerate(folds):
        labels = rows.labels[fitted]
        counts = np.bincount(labels)
        share = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))  # scikit-learn's "balanced"
        weights[fitted, number] = share[labels] if class_weight == "balanced" else 1.0
    fold = [number for _, number in wanted]
    return Problems(
        row_weights=lambda place: weights[place][:, fold],
        total_weights=weights.sum(axis=0, dtype=np.float64)[fold],
        strengths=np.array([strength for strength, _ in wanted], np.float64),
        spreads=spreads.astype(np.float32),
    )


def _folds(rows: Rows, folds: int, seed: int) -> "Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]":
    """Row numbers fitted and held out; units stay whole, classes are spread evenly."""
    units, unit = np.unique(rows.units, return_inverse=True)
    holds = np.unique(np.stack([rows.labels, unit]), axis=1)  # [2, pairs]: which class is in which unit
    count = min(folds, int(np.bincount(holds[0]).min()))
    if count < 2:
        raise DataError("A class has one different picture (or group) for training; cross-validation needs at least 2.")
    if holds.shape[1] > len(units):  # groups that hold several classes
        yield from _group_folds(rows, unit, count, seed)
        return
    labels = holds[0][np.argsort(holds[1])]  # [units]
    for fitted, held in StratifiedKFold(count, shuffle=True, random_state=seed).split(units, labels):
        yield np.flatnonzero(np.isin(unit, fitted)), np.flatnonzero(np.isin(unit, held))


def _group_folds(
    rows: Rows, unit: "NDArray[np.int64]", count: int, seed: int
) -> "list[tuple[NDArray[np.int64], NDArray[np.int64]]]":  # fmt: skip
    """Like :func:`_folds`, less the folds that hold out every group of a class: nothing fitted could tell it."""
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    classes = len(np.unique(rows.labels))
    splits = splitter.split(rows.labels, rows.labels, unit)
    usable = [(fitted, held) for fitted, held in splits if len(np.unique(rows.labels[fitted])) == classes]
    if not usable:
        raise DataError("The groups cannot be divided so that every class is on both sides; use smaller groups.")
    return usable
