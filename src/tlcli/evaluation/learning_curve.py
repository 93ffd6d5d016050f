"""The learning curve: accuracy by number of training images, extrapolated to twice as many.

The curve is a power law (Cortes et al. 1994; Hestness et al. 2017) through the accuracies of repeated cross-validation,

    acc(n) = y + s (1 - (n / now)^-c) / c,

with y the accuracy at ``now`` and s its slope there. c > 0 levels off, c = 0 is a line in log n, and c < 0 becomes
steeper, as where images of the same object fill a data set. A few noisy sizes seldom tell which, so the curves of all c
are averaged. Shapes: S sizes, J draws (folds of all repeats), B drawn curves.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXPONENTS = np.arange(-6, 17) / 8
"""Candidates for c, -0.75 to 2."""
_USUAL, _SPREAD = 0.5, 0.6
"""Mean and deviation of c before the accuracies are seen. With a deviation of 0.5 the intervals hold 149 of 157 real
gains (bench/doublings.py), with 0.6 154; the bounds 0.25 and 1.5 that c once had: 102 of 143."""
MIN_SIZES = 3
"""Fewer do not determine a shape at all."""
_NOTHING, _SMALL = 0.001, 0.02
"""Gains of accuracy that hardly anyone would, and that many would collect images for."""
_DRAWN = 4000
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

    @property
    def may_be_nothing(self) -> bool:
        """Whether the interval reaches down to less than a tenth of a percentage point."""
        return self.doubling_gain_ci95[0] < _NOTHING

    @property
    def is_unknown(self) -> bool:
        """Whether the interval says neither that there is a gain nor that it is small."""
        return self.may_be_nothing and self.doubling_gain_ci95[1] > _SMALL


def learning_curve(
    sizes: "NDArray[np.int64]", accuracies: "NDArray[np.float64]", test_share: float, now: int, seed: int = 0
) -> LearningCurve | None:
    """Fits the curve to the result of :func:`tlcli.heads.repeated_cross_validation.cross_validate`.

    Curves are drawn in three steps: c by how well its best curve fits and by how usual it is; y and s around the
    generalised least squares of that c, with the tails of Student's t for J draws; then no curve may fall, and none may
    exceed 1. The covariance of the accuracies is that of the draws times Nadeau & Bengio's ``1/J + n_test/n_train``
    (:func:`~tlcli.evaluation.intervals.corrected_resampled_t`). Besides, each size is uncertain by one image, and the
    curves lie as if one image more were right and one more wrong: folds without an error do not prove that no image
    would be one.

    Args:
        sizes: rows fitted on [S], rising.
        accuracies: on held-out rows [S, J].
        test_share: share of the rows that a draw holds out.
        now: number of training images; the gain is that from ``now`` to twice as many.
        seed: of the drawn curves.

    Returns:
        None where fewer than :data:`MIN_SIZES` sizes were measured (about 40 images of two classes).
    """
    if len(sizes) < MIN_SIZES:
        return None
    n, means = sizes.astype(np.float64), accuracies.mean(axis=1)
    images = n[-1] / (1 - test_share)
    covariance = _covariance(accuracies, test_share) + np.eye(len(n)) / images**2
    expected = (means * images + 1) / (images + 2)
    curves = _Curves.drawn(n / now, expected, covariance, accuracies.shape[1], seed)
    line = np.unique(np.geomspace(n[0], 2 * now, _POINTS).round().astype(np.int64))
    gains = curves.at(np.array([2.0]))[:, 0] - curves.at(np.array([1.0]))[:, 0]
    low, high = np.quantile(gains, [0.025, 0.975])
    drawn = curves.at(line / now)
    return LearningCurve(
        _points(sizes, means, _simulated(means, covariance, accuracies.shape[1], seed)),
        _points(line, drawn.mean(axis=0), drawn),
        now,
        float(gains.mean()),
        (float(low), float(high)),
    )


def _points(
    sizes: "NDArray[np.int64]", accuracies: "NDArray[np.float64]", drawn: "NDArray[np.float64]"
) -> tuple[Point, ...]:  # fmt: skip
    """Accuracies [S] with bands from [B, S]."""
    low, high = np.clip(np.quantile(drawn, [0.025, 0.975], axis=0), 0, 1)
    columns = zip(sizes, accuracies, low, high, strict=True)
    return tuple(Point(int(n), float(accuracy), float(down), float(up)) for n, accuracy, down, up in columns)


def _covariance(accuracies: "NDArray[np.float64]", test_share: float) -> "NDArray[np.float64]":
    """[S, S], of the mean accuracies over other samples of images."""
    return np.asarray(np.cov(accuracies) * (1 / accuracies.shape[1] + test_share / (1 - test_share)))


def _tails(random: np.random.Generator, draws: int) -> "NDArray[np.float64]":
    """[B, 1]: normal deviates divided by these have the tails of Student's t."""
    return np.asarray(np.sqrt(random.chisquare(draws - 1, (_DRAWN, 1)) / (draws - 1)))


def _simulated(
    means: "NDArray[np.float64]", covariance: "NDArray[np.float64]", draws: int, seed: int
) -> "NDArray[np.float64]":  # fmt: skip
    """[B, S] mean accuracies, as other samples of images might have given them."""
    random = np.random.default_rng(seed)
    moved = random.normal(size=(_DRAWN, len(means))) @ np.linalg.cholesky(covariance).T
    return np.asarray(means + moved / _tails(random, draws))


@dataclass(frozen=True)
class _Curves:
    """Drawn curves, by their accuracy and slope at ``now`` and their exponent, [B, 1] each."""

    now: "NDArray[np.float64]"
    slope: "NDArray[np.float64]"
    exponent: "NDArray[np.float64]"

    @classmethod
    def drawn(
        cls, x: "NDArray[np.float64]", means: "NDArray[np.float64]", covariance: "NDArray[np.float64]", draws: int,
        seed: int,
    ) -> "_Curves":  # fmt: skip
        """Curves through the means [S] at the sizes [S], in units of ``now``."""
        random, precision = np.random.default_rng(seed), np.linalg.inv(covariance)
        best, spread, fits = [], [], []
        for c in _EXPONENTS:
            columns = np.stack([np.ones(len(x)), _gained(x, c)], axis=1)  # [S, 2]
            inverse = np.linalg.inv(columns.T @ precision @ columns)
            found = inverse @ (columns.T @ (precision @ means))
            misfit = means - columns @ found
            best.append(found)
            spread.append(np.linalg.cholesky(inverse))
            fits.append(-0.5 * (misfit @ precision @ misfit + ((c - _USUAL) / _SPREAD) ** 2))
        likely = np.exp(np.array(fits) - max(fits))
        chosen = random.choice(len(_EXPONENTS), _DRAWN, p=likely / likely.sum())
        moved = random.normal(size=(_DRAWN, 2)) / _tails(random, draws)
        found = np.array(best)[chosen] + np.einsum("bij,bj->bi", np.array(spread)[chosen], moved)
        return cls(np.minimum(found[:, :1], 1), np.maximum(found[:, 1:], 0), _EXPONENTS[chosen][:, None])

    def at(self, x: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """[B, n] accuracies at these sizes [n], in units of ``now``."""
        return np.asarray(np.minimum(self.now + self.slope * _gained(x, self.exponent), 1))


def _gained(x: "NDArray[np.float64]", c: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """(1 - x^-c) / c, which is ln x for c = 0; its derivative at x = 1 is 1."""
    safe = np.where(c == 0, 1, c)
    return np.asarray(np.where(c == 0, np.log(x), (1 - x**-safe) / safe))
