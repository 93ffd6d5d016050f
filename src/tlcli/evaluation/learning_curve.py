"""The learning curve: accuracy by number of training images, extrapolated to twice as many.

The curve is a power law, acc(n) = a - b n^-c (Cortes et al. 1994; Hestness et al. 2017), fitted to the accuracies of
repeated cross-validation. Shapes: S sizes, J draws (folds of all repeats), B simulated curves.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.evaluation.resampling import bias_corrected

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXPONENTS = np.geomspace(0.25, 1.5, 30)
"""Candidates for c. Heads on frozen features approach their best accuracy as n^-1/2 to n^-1; below 1/4 a curve is
almost a straight line in log n, which five noisy sizes can seldom distinguish from one that levels off."""
_SIZES = 4
_SIMULATED = 2000
_POINTS = 30


@dataclass(frozen=True)
class Point:
    """Accuracy at a number of training images."""

    n: int
    accuracy: float
    low: float
    high: float
    """95 % interval of the expected accuracy"""


@dataclass(frozen=True)
class LearningCurve:
    """Measured accuracies, the curve fitted to them, and its extrapolation."""

    measured: tuple[Point, ...]
    fitted: tuple[Point, ...]
    """From the smallest size measured to twice ``now``"""
    now: int
    """Number of training images"""
    doubling_gain: float
    """Expected accuracy at twice ``now`` minus that at ``now``"""
    doubling_gain_ci95: tuple[float, float]


def learning_curve(
    sizes: "NDArray[np.int64]", accuracies: "NDArray[np.float64]", test_share: float, now: int, seed: int = 0
) -> LearningCurve | None:
    """Fits the curve to the result of :func:`tlcli.heads.repeated_cross_validation.cross_validate`.

    Bands are those of curves fitted to simulated accuracies: around the measured ones, with the covariance of the draws
    times Nadeau & Bengio's ``1/J + n_test/n_train`` (:func:`~tlcli.evaluation.intervals.corrected_resampled_t`), and
    with the tails of Student's t for J draws.

    Args:
        sizes: rows fitted on [S], rising.
        accuracies: on held-out rows [S, J].
        test_share: share of the rows that a draw holds out.
        now: number of training images; the gain is that from ``now`` to twice as many.
        seed: of the simulation.

    Returns:
        None where fewer than four sizes were measured (under 80 images of two classes): three do not determine the
        curve's shape, and intervals of the gain contained the true value in only 75 of 100 simulated cases.
    """
    if len(sizes) < _SIZES:
        return None
    means = accuracies.mean(axis=1)
    simulated = np.concatenate([means[None], _simulated(accuracies, test_share, seed)])  # [1 + B, S]
    weights = _weights(accuracies)
    parameters = _fit(np.asarray(sizes, np.float64), simulated, weights)
    line = np.unique(np.geomspace(sizes[0], 2 * now, _POINTS).round().astype(np.int64))
    gains = (_at(parameters, np.array([2 * now])) - _at(parameters, np.array([now])))[:, 0]
    low, high = bias_corrected(gains[1:], float(gains[0]))
    return LearningCurve(
        _points(np.asarray(sizes), simulated),
        _points(line, _at(parameters, line)),
        now,
        float(gains[0]),
        (min(low, float(gains[0])), max(high, float(gains[0]))),
    )


def _points(sizes: "NDArray[np.int64]", curves: "NDArray[np.float64]") -> tuple[Point, ...]:
    """The first curve of [1 + B, S], with a band from the others."""
    low, high = np.clip(np.quantile(curves[1:], [0.025, 0.975], axis=0), 0, 1)
    columns = zip(sizes, curves[0], low, high, strict=True)
    return tuple(Point(int(n), float(accuracy), float(down), float(up)) for n, accuracy, down, up in columns)


def _simulated(accuracies: "NDArray[np.float64]", test_share: float, seed: int) -> "NDArray[np.float64]":
    """[B, S] mean accuracies, as other samples of images might have given them."""
    random = np.random.default_rng(seed)
    draws = accuracies.shape[1]
    centred = accuracies - accuracies.mean(axis=1, keepdims=True)
    scale = ((1 / draws + test_share / (1 - test_share)) / (draws - 1)) ** 0.5
    tails = np.sqrt(random.chisquare(draws - 1, (_SIMULATED, 1)) / (draws - 1))
    moved = random.normal(size=(_SIMULATED, draws)) @ centred.T * scale / tails
    return np.asarray(accuracies.mean(axis=1) + moved)


def _weights(accuracies: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """[S]: smaller for small sizes, whose accuracies vary more from draw to draw. Effects of a draw's held-out rows
    that all sizes share only shift the curve, and do not count."""
    apart = accuracies - accuracies.mean(axis=0)
    variances = apart.var(axis=1)
    return np.asarray(1 / (variances + variances.mean() / 10 + 1e-12))


def _fit(
    sizes: "NDArray[np.float64]", curves: "NDArray[np.float64]", weights: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """Weighted least squares of a - b n^-c with a <= 1 and b >= 0, of curves [B, S] at once: a, b, c as [B, 3].

    For each candidate c it is a straight line in n^-c, with a closed form: nothing to converge, even where curves are
    flat and c is undetermined."""
    share = weights / weights.sum()
    best, least = np.empty((len(curves), 3)), np.full(len(curves), np.inf)
    middle = curves @ share
    for c in _EXPONENTS:
        x = sizes**-c
        apart = x - share @ x
        b = np.maximum(-(curves @ (share * apart)) / (share @ apart**2), 0)
        a = middle + b * (share @ x)
        high = a > 1
        b = np.where(high, np.maximum((1 - curves) @ (share * x) / (share @ x**2), 0), b)
        a = np.where(high, 1, a)
        error = (curves - a[:, None] + b[:, None] * x) ** 2 @ share
        better = error < least
        best[better] = np.stack([a, b, np.full(len(b), c)], axis=1)[better]
        least = np.minimum(error, least)
    return best


def _at(parameters: "NDArray[np.float64]", sizes: "NDArray[np.int64]") -> "NDArray[np.float64]":
    """[B, S] accuracies of curves [B, 3]."""
    a, b, c = parameters.T[:, :, None]
    return np.asarray(a - b * sizes.astype(np.float64) ** -c)
