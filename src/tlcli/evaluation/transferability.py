"""Published scores of how well a frozen network's features fit a data set, computed without fitting a head.

All are higher for better features, and comparable between networks on the same images only. docs/transfer.md says what
each is worth: none of them ranks networks as well as the cross-validated head.

Where a score is not defined it is None, never NaN. That is so for all scores where there are fewer than two rows or
only one class, and for those of features where these are constant or not finite; each function names its own reasons.

Shapes: N rows, D features, L classes, r the rank of the features, C classes of a source classifier.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from threadpoolctl import threadpool_limits

from tlcli.evaluation.knn import votes
from tlcli.evaluation.nearest import nearest
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_MAX = 2000
"""Rows that :func:`transfer_scores` takes at most: with 1,280 features all scores take 3 s of one core. Where features
are wider, the time grows with the third power of the rows."""
NEIGHBOURS = 5
"""k of :func:`knn_leave_one_out`."""
_ENERGY = 0.8
"""Share of the variance that NLEEP's principal components keep (Li et al. 2021)."""
_COMPONENTS = 5
"""Gaussians for each class (Li et al. 2021)."""
_ROWS_EACH = 5
"""Rows that NLEEP needs for each Gaussian: with one of its own, every row would be explained perfectly."""
_STEP = 0.5
"""Of the grid of log signal-to-noise ratios on which LogME's maximum is bracketed."""
_EXTREME = 1e10
"""Signal-to-noise ratio in the weakest direction, or its inverse in the strongest, that stands for infinity."""
_EXACT = 1e-10
"""Share of the labels' energy that rounding leaves where the features predict them without error."""


class _UndefinedError(Exception):
    """A score is not defined for these rows; the message is the reason."""


@dataclass(frozen=True)
class TransferScores:
    """How well features fit a data set, by several published scores; None where one is not defined."""

    log_me: float | None
    """See :func:`log_me`."""
    h_score: float | None
    """See :func:`h_score`."""
    nleep: float | None
    """See :func:`nleep`."""
    leep: float | None
    """See :func:`leep`; None without a source classifier."""
    knn: float | None
    """See :func:`knn_leave_one_out`, with k = :data:`NEIGHBOURS`."""
    rows: int = 0
    """Rows that they were computed on."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a score is None, by the score's name."""


def transfer_scores(
    features: "NDArray[np.floating]",
    labels: "NDArray[np.integer]",
    groups: "NDArray[np.integer] | None" = None,
    source_probabilities: "NDArray[np.floating] | None" = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> TransferScores:
    """All scores, on at most :data:`N_MAX` rows: a stratified sample that depends on labels and seed alone, so that
    networks are compared on the same images. Of rows of one class with the same features (copies) one is kept.

    Args:
        features: of plain images, [N, D].
        labels: the classes' numbers, [N].
        groups: [N]; nearest neighbours are of other groups. None: every row is its own. The other scores do not know
            groups, and are flattered by near duplicates.
        source_probabilities: of the network's own classifier, [N, C]; see
            :class:`tlcli.backbones.source_classifier.SourceClassifier`.
        seed: of the sample and of NLEEP.
        progress: receives the stage.
    """
    chosen = _stratified(labels, N_MAX, seed)
    chosen = chosen[_first_of_copies(features[chosen], labels[chosen])]
    features, labels = features[chosen], labels[chosen]
    groups = None if groups is None else groups[chosen]
    source = None if source_probabilities is None else source_probabilities[chosen]
    scores: dict[str, Callable[[], float]] = {
        "log_me": lambda: _log_me(features, labels),
        "h_score": lambda: _h_score(features, labels),
        "nleep": lambda: _nleep(features, labels, seed),
        "leep": lambda: _leep(source, labels),
        "knn": lambda: _knn(features, labels, NEIGHBOURS, groups),
    }
    found, reasons = dict[str, float | None](), dict[str, str]()
    with progress.stage("Scoring the features", len(scores), "scores"):
        for name, score in scores.items():
            try:
                found[name] = score()
            except _UndefinedError as undefined:
                found[name], reasons[name] = None, str(undefined)
            progress.advance()
    return TransferScores(**found, rows=len(labels), reasons=reasons)


def log_me(features: "NDArray[np.floating]", labels: "NDArray[np.integer]") -> float | None:
    """LogME (You et al. 2021, arXiv 2102.11005): how probable the labels are under a linear model with Gaussian
    weights, in nats per row: ln p(y | F, alpha, beta) / N, at the alpha and beta where it is highest.

    y ~ N(0, I / beta + F F' / alpha) is 1 for the rows of a class and 0 for the others; the result is the mean over
    all classes that occur, of two classes also over both. Features are taken as they are, without an intercept.

    The maximum is found over the ratio beta / alpha, as the best beta for a ratio has a closed form. That holds for N
    below D as for N above it, and cannot stop at a lower maximum as the published fixed-point iteration can. (The code
    published with the paper is wrong where N is below D: its truncated decomposition has another number of singular
    values than its formula assumes.)

    Args:
        features: [N, D].
        labels: [N].

    Returns:
        None also where the features predict a class without error though their rank is below N: the evidence then
        rises without limit.
    """
    return _or_none(lambda: _log_me(features, labels))


def h_score(features: "NDArray[np.floating]", labels: "NDArray[np.integer]") -> float | None:
    """Regularised H-score (Ibrahim et al. 2021, arXiv 2110.06893): tr(S^-1 (1 - a) B), the spread between the classes
    relative to that of all rows.

    S = (1 - a) T + a tr(T) / D I is the covariance T of the features with Ledoit and Wolf's shrinkage a, B the
    covariance of the classes' means, each weighted by its rows (both divided by N). Without shrinkage it would be the
    sum of squared canonical correlations between features and classes; it lies between 0 and L - 1. Where N is not far
    above D much of it is overfitting, and random networks may have more of it than trained ones (docs/transfer.md).

    Args:
        features: [N, D].
        labels: [N].
    """
    return _or_none(lambda: _h_score(features, labels))


def nleep(features: "NDArray[np.floating]", labels: "NDArray[np.integer]", seed: int) -> float | None:
    """NLEEP (Li et al. 2021, "Ranking Neural Checkpoints"): LEEP where Gaussians stand for the source classes.

    Five Gaussians for each class are fitted to the principal components that hold 80 % of the variance, without the
    labels. Their covariances are diagonal: a full one would have more numbers than a Gaussian has rows.

    Args:
        features: [N, D].
        labels: [N].
        seed: of the mixture's initialisation.

    Returns:
        None also where there are fewer than 25 rows for each class, on average.
    """
    return _or_none(lambda: _nleep(features, labels, seed))


def leep(source_probabilities: "NDArray[np.floating]", labels: "NDArray[np.integer]") -> float | None:
    """LEEP (Nguyen et al. 2020, arXiv 2002.12462): the mean log probability of a row's class, if each class z of a
    source classifier says what share of its probability fell on each target class: mean ln sum_z P(y | z) P(z | x).

    It is 0 where the source classes determine the target class, and minus the labels' entropy where they say nothing.

    Args:
        source_probabilities: of the source classifier for the rows, [N, C].
        labels: [N].
    """
    return _or_none(lambda: _leep(source_probabilities, labels))


def knn_leave_one_out(
    features: "NDArray[np.floating]",
    labels: "NDArray[np.integer]",
    k: int = NEIGHBOURS,
    groups: "NDArray[np.integer] | None" = None,
) -> float | None:
    """Share of rows that the majority of their k nearest rows, by cosine, classifies correctly.

    Args:
        features: [N, D].
        labels: [N].
        k: number of neighbours; all others where there are fewer.
        groups: [N]; neighbours are of other groups. None: every row is its own.

    Returns:
        None also where all rows are of one group.
    """
    return _or_none(lambda: _knn(features, labels, k, groups))


def _or_none(score: Callable[[], float]) -> float | None:
    try:
        return score()
    except _UndefinedError:
        return None


def _log_me(features: "NDArray[np.floating]", labels: "NDArray[np.integer]") -> float:
    targets = _one_hot(labels)
    with threadpool_limits(1):
        left, values = _decomposed(_usable(features))
        energies = (left.T @ targets) ** 2  # [r, L], of the labels in each direction of the features
    rest = targets.sum(axis=0) - energies.sum(axis=0)  # [L], outside of them
    count, rank = len(targets), len(values)
    if rank == count:
        rest = np.zeros_like(rest)
    elif (rest <= _EXACT * targets.sum(axis=0)).any():
        raise _UndefinedError("the features predict a class without error, and the evidence rises without limit")
    values = values / values[0]
    grid = np.arange(-np.log(_EXTREME), np.log(_EXTREME / values[-1]), _STEP)
    shrunk = 1 / (1 + np.exp(grid)[:, None] * values)  # [grid, r]
    evidences = _evidence(shrunk @ energies + rest, count) + np.log(shrunk).sum(axis=1)[:, None] / 2  # [grid, L]

    def lost(ratio: float, label: int) -> float:
        kept = 1 / (1 + np.exp(ratio) * values)
        return -float(_evidence(kept @ energies[:, label] + rest[label], count) + np.log(kept).sum() / 2)

    best = [
        minimize_scalar(lost, bounds=(near - _STEP, near + _STEP), args=(label,), options={"xatol": 1e-8}).fun
        for label, near in enumerate(grid[evidences.argmax(axis=0)])
    ]
    return -float(np.mean(best)) / count


def _evidence(residual: "NDArray[np.float64]", count: int) -> "NDArray[np.float64]":
    """ln p of the labels at the best beta, without the determinant of I + beta / alpha F F'; ``residual`` is
    y' (I + beta / alpha F F')^-1 y."""
    return np.asarray(-count / 2 * (np.log(2 * np.pi * residual / count) + 1))


def _h_score(features: "NDArray[np.floating]", labels: "NDArray[np.integer]") -> float:
    targets = _one_hot(labels)
    with threadpool_limits(1):
        centred = _centred(features)
        left, values = _decomposed(centred)
        between = ((left.T @ targets) ** 2 / targets.sum(axis=0)).sum(axis=1)  # [r], share of the variance
    variances = values / len(targets)
    shrinkage = _shrinkage((centred**2).sum(axis=1), variances, centred.shape[1])
    shrunk = (1 - shrinkage) * variances + shrinkage * variances.sum() / centred.shape[1]
    return float((1 - shrinkage) * (between * variances / shrunk).sum())


def _shrinkage(energies: "NDArray[np.float64]", variances: "NDArray[np.float64]", width: int) -> float:
    """Ledoit and Wolf's (2004), that of scikit-learn's LedoitWolf, which makes covariances [D, D] for it.

    Args:
        energies: squared length of each centred row, [N].
        variances: along the principal axes, [r].
        width: D.
    """
    squared = (variances**2).sum()
    noise = ((energies**2).mean() - squared) / len(energies)
    distance = squared - variances.sum() ** 2 / width  # from a multiple of I
    return float(np.clip(noise / distance, 0, 1)) if distance > 0 else 0.0  # of one feature


def _nleep(features: "NDArray[np.floating]", labels: "NDArray[np.integer]", seed: int) -> float:
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - scikit-learn takes 1 s
    from sklearn.mixture import GaussianMixture  # noqa: PLC0415

    components = _COMPONENTS * _one_hot(labels).shape[1]
    if len(labels) < _ROWS_EACH * components:
        raise _UndefinedError(f"{components} Gaussians need {_ROWS_EACH * components} images")
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start from other rows would change more
        left, values = _decomposed(_centred(features))
        kept = int(np.searchsorted(np.cumsum(values), _ENERGY * values.sum())) + 1
        principal = left[:, :kept] * np.sqrt(len(labels) * values[:kept] / values[0])  # the first has variance 1
        mixture = GaussianMixture(components, covariance_type="diag", random_state=seed).fit(principal)
        return _leep(mixture.predict_proba(principal), labels)


def _leep(source_probabilities: "NDArray[np.floating] | None", labels: "NDArray[np.integer]") -> float:
    if source_probabilities is None:
        raise _UndefinedError("the weights have no classifier")
    if not np.isfinite(source_probabilities).all():
        raise _UndefinedError("the source probabilities are not finite")
    targets = _one_hot(labels)
    source = np.asarray(source_probabilities, np.float64)
    joint = targets.T @ source  # [L, C], times N
    conditional = joint / np.maximum(joint.sum(axis=0), np.finfo(float).tiny)
    expected = ((targets @ conditional) * source).sum(axis=1)
    return float(np.log(expected).mean())


def _knn(
    features: "NDArray[np.floating]", labels: "NDArray[np.integer]", k: int, groups: "NDArray[np.integer] | None"
) -> float:
    targets = _one_hot(labels)
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    if not units.any():
        raise _UndefinedError("all images are of one group")
    rows, numbers = np.asarray(_usable(features), np.float32), targets.argmax(axis=1)
    with threadpool_limits(1):
        near = nearest(rows, rows, min(k, len(rows) - 1), units, units)
        (predicted,) = votes(near, numbers, targets.shape[1], [near.numbers.shape[1]])
    return float(np.mean(predicted == numbers))


def _one_hot(labels: "NDArray[np.integer]") -> "NDArray[np.float64]":
    """[N, L], of the classes that occur."""
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise _UndefinedError("there is only one class")
    return np.asarray(np.eye(len(classes))[numbers])


def _usable(features: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """[N, D], the largest of them 1: no score depends on the scale, and squares neither overflow nor vanish."""
    if not np.isfinite(features).all():
        raise _UndefinedError("features are not finite")
    if (features == features[0]).all():
        raise _UndefinedError("the features are constant")
    found = np.asarray(features, np.float64)
    return np.asarray(found / np.abs(found).max())


def _centred(features: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """[N, D], each feature less its mean."""
    found = _usable(features)
    return np.asarray(found - found.mean(axis=0))


def _decomposed(features: "NDArray[np.float64]") -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Left singular vectors [N, r] and squared singular values [r], falling: of the smaller Gram matrix, four times
    as fast as the singular value decomposition (1.1 s against 4.2 s for 2,000 x 1,280 on one core)."""
    count, width = features.shape
    gram = features @ features.T if count <= width else features.T @ features
    values, vectors = np.linalg.eigh(gram)
    kept = np.flatnonzero(values > values[-1] * max(count, width) * np.finfo(float).eps)[::-1]
    values, vectors = values[kept], vectors[:, kept]
    return (vectors, values) if count <= width else (features @ vectors / np.sqrt(values), values)


def _stratified(labels: "NDArray[np.integer]", most: int, seed: int) -> "NDArray[np.int64]":
    """Numbers of at most ``most`` rows, of each class its share, rising; of every class one where they suffice."""
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        turn[members] = np.arange(len(members)) / len(members)
    return np.sort(order[np.argsort(turn[order], kind="stable")][:most])


def _first_of_copies(features: "NDArray[np.floating]", labels: "NDArray[np.integer]") -> "NDArray[np.int64]":
    """Numbers of the rows without those whose features and class an earlier one has: no second observation, and
    LogME would rise without limit."""
    seen: dict[tuple[int, bytes], int] = {}
    for number, (row, label) in enumerate(zip(features, labels.tolist(), strict=True)):
        seen.setdefault((label, row.tobytes()), number)
    return np.fromiter(seen.values(), np.int64, len(seen))
