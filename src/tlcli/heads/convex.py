"""L2-regularised logistic regression by L-BFGS: convex, so it has one answer, and no learning rate to choose.

The strength of regularisation is chosen by stratified cross-validation on the training rows, by log loss.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from tlcli.errors import DataError
from tlcli.heads.head import Fit, Rows, Standard, Step
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_ITERATIONS = 1000
_CHOOSING_TOLERANCE = 1e-3
"""Half the time of 1e-4; the losses it gives differ in the third digit, which strength is chosen does not."""
_FINAL_TOLERANCE = 1e-4


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
        rows: training features [N, D].
        strengths: candidates for the weight of the L2 penalty relative to the summed loss (scikit-learn's 1 / C).
        folds: of the cross-validation; fewer where the smallest class has fewer units.
        standardize: fit on features of mean 0 and spread 1; folded into the head's weights.
        class_weight: ``balanced`` gives every class the same total weight, ``none`` every picture.
        seed: of the division into folds.
        progress: told of every fit.

    Returns:
        The head; the history has a line a strength with mean loss and accuracy on the fitted (``loss``) and on the
        held-out (``val_loss``) folds.
    """
    descending = sorted(strengths, reverse=True)  # the strongest first: each fit starts from the one before
    weight = "balanced" if class_weight == "balanced" else None
    history: list[Step] = []
    # One thread: the products are too small for more. 2,000 x 1,280 on 2 cores: 0.7 s instead of 4.3 s.
    with threadpool_limits(1), progress.stage("Choosing the strength", folds * len(descending), "fits"):
        scores = [
            list(_path(rows, fitted, held, descending, standardize, weight, progress))
            for fitted, held in _folds(rows, folds, seed)
        ]
    for number, strength in enumerate(descending):
        means = np.mean([score[number] for score in scores], axis=0)
        loss, accuracy, val_loss, val_accuracy = (float(mean) for mean in means)
        history.append(Step(number + 1, loss, accuracy, val_loss, val_accuracy, strength=strength))
    best = min(history, key=lambda step: step.val_loss)
    with threadpool_limits(1), progress.stage("Fitting the head"):
        standard = Standard.of(rows.features, standardize)
        model = _model(weight, best.strength or 1.0, _FINAL_TOLERANCE)
        _quietly(model.fit, standard.apply(rows.features), rows.labels)
    return Fit(standard.fold(model.coef_.T, model.intercept_), tuple(history), best.step)


def _model(class_weight: str | None, strength: float, tolerance: float) -> Any:
    return LogisticRegression(
        C=1 / strength, class_weight=class_weight, max_iter=_MAX_ITERATIONS, tol=tolerance, warm_start=True
    )


def _path(
    rows: Rows, fitted: "NDArray[np.int64]", held: "NDArray[np.int64]", strengths: Sequence[float],
    standardize: bool, weight: str | None, progress: Progress,
) -> Iterator[tuple[float, float, float, float]]:  # fmt: skip
    """For each strength: loss and accuracy on the fitted rows, loss and accuracy on the held-out ones."""
    standard = Standard.of(rows.features[fitted], standardize)
    inside, outside = standard.apply(rows.features[fitted]), standard.apply(rows.features[held])
    model = _model(weight, 1.0, _CHOOSING_TOLERANCE)
    classes = np.unique(rows.labels)
    for strength in strengths:
        model.C = 1 / strength
        _quietly(model.fit, inside, rows.labels[fitted])
        scores = []
        for features, labels in ((inside, rows.labels[fitted]), (outside, rows.labels[held])):
            probabilities = model.predict_proba(features)
            scores += [log_loss(labels, probabilities, labels=classes), np.mean(probabilities.argmax(1) == labels)]
        progress.advance()
        yield scores[0], scores[1], scores[2], scores[3]


def _quietly(fit: Callable[..., Any], *arguments: Any) -> None:
    """Weak strengths may not converge within the limit; cross-validation judges what came out all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit(*arguments)


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
    splits = splitter.split(rows.features, rows.labels, unit)
    usable = [(fitted, held) for fitted, held in splits if len(np.unique(rows.labels[fitted])) == classes]
    if not usable:
        raise DataError("The groups cannot be divided so that every class is on both sides; use smaller groups.")
    return usable
