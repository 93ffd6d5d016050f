"""L2-regularised logistic regression: convex, so it has one answer, and no learning rate to choose.

The strength of regularisation is chosen by stratified cross-validation on the training rows, by log loss: from the
strongest candidate to weaker ones, each fit begun where the last ended, until it is clear that it gets worse.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from tlcli.features.rows import Rows, Standard
from tlcli.heads.crossvalidation import CrossValidation, joined, problems_of
from tlcli.heads.folds import folds_of, sampled
from tlcli.heads.head import Fit, HeldOut, Step
from tlcli.heads.logistic import MAX_PASSES, Solution, solve
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
        rows: training features [N, D], passed over block by block; a sample of them is held in memory.
        strengths: candidates for the weight of the L2 penalty relative to the summed loss (scikit-learn's 1 / C). Those
            weaker than one that is worse than the best so far, by more than a standard error, are not tried.
        folds: of the cross-validation; fewer where the smallest class has fewer units.
        standardize: fit on features of mean 0, divided by their spread (:func:`~tlcli.features.rows.floored`);
            folded into the head's weights.
        class_weight: ``balanced`` gives every class the same total weight, ``none`` every image.
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
        places = sampled(rows, classes, folds, seed)
        sample = rows.take(places)
        sample = Rows.of(standard.apply(sample.features()), sample.labels, sample.units)
        divided = list(folds_of(sample, folds, seed))
        validation = CrossValidation.of(sample, divided, standard, standardize, class_weight, classes)
        tried, (held, probabilities) = _path(validation, descending)
    best, start = min(tried, key=lambda each: each[0].val_loss)
    everything = [(np.arange(len(rows)), np.arange(0))]
    problem = problems_of(rows, everything, best.strength or 1.0, class_weight, np.ones((rows.width, 1)))
    with threadpool_limits(1), progress.stage("Fitting the head"):
        found = solve(standard.rows(rows), validation.axes, problem, classes, _FINAL_TOLERANCE, start)
    if not (found.settled and all(start.settled for _, start in tried)):
        progress.note(
            f"A fit was still changing after {MAX_PASSES} passes over the features; larger head.strengths take fewer."
        )
    head = standard.fold(found.weights[:, 0], found.bias[0].astype(np.float64))
    unseen = HeldOut(places[held], sample.labels[held], probabilities)
    return Fit(head, tuple(step for step, _ in tried), best.step, unseen)


def _path(
    validation: CrossValidation, strengths: Sequence[float]
) -> "tuple[list[tuple[Step, Solution]], tuple[NDArray[np.int64], NDArray[np.float64]]]":
    """For each strength tried its line of the history, and the mean of its folds' weights; and the rows held out with
    their probabilities, at the best."""
    solutions: Sequence[Solution | None] = [None] * len(validation.folds)
    tried: list[tuple[Step, Solution]] = []
    best: NDArray[np.float64] | None = None  # [folds], held-out losses
    of_best: Sequence[Solution] = ()
    for number, strength in enumerate(strengths, 1):
        found = validation.solutions(strength, solutions)
        scores = validation.scores(found)
        loss, accuracy, val_loss, val_accuracy = (float(mean) for mean in scores.mean(axis=0))
        tried.append((Step(number, loss, accuracy, val_loss, val_accuracy, strength=strength), joined(found).mean()))
        held = scores[:, 2]
        if best is None or held.mean() < best.mean():
            best, of_best = held, found
        elif np.mean(held - best) > np.std(held - best, ddof=min(1, len(held) - 1)) / len(held) ** 0.5:
            break
        solutions = found
    return tried, validation.held_out(of_best)
