"""Intervals by resampling: the bootstrap, and the jackknife, of anything measured on images.

Shapes: N images, U units (images that belong together: a group, copies), B resamples, K numbers measured at once.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri, stdtrit

if TYPE_CHECKING:
    from numpy.typing import NDArray

Statistic = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]
"""Weights of the images in each resample [b, N] -> the numbers measured in each [b, K]; NaN where undefined."""

_CELLS = 2_000_000
"""Weights in memory at once (16 MB)."""
_PARTS = 1000
"""Parts that units are divided into for the jackknife, at most: with more units the skewness is negligible."""


def logit_interval(
    estimate: float, without: "NDArray[np.float64]", freedom: float, confidence: float = 0.95
) -> tuple[float, float]:  # fmt: skip
    """Interval of a share from the jackknife's variance on the logit scale, where it is nearly normal and cannot leave
    0 to 1 (of areas under the ROC curve: Qin & Hotilovac 2008).

    Args:
        estimate: as measured, above 0 and below 1.
        without: the estimate without each unit (or part of the units) in turn.
        freedom: degrees of freedom of Student's t.
        confidence: nominal coverage.
    """
    parts = len(without)
    error = ((parts - 1) * float(without.var())) ** 0.5 / (estimate * (1 - estimate))
    middle, half = float(logit(estimate)), float(stdtrit(max(freedom, 1), 0.5 + confidence / 2)) * error
    return float(expit(middle - half)), float(expit(middle + half))


def jackknife(
    statistic: Statistic, units: "NDArray[np.int64]", seed: int = 0
) -> "tuple[NDArray[np.float64], NDArray[np.int64]]":  # fmt: skip
    """The numbers measured without each unit (or part of the units, where there are many) in turn [parts, K]; and the
    part of each image [N]."""
    _, unit = np.unique(units, return_inverse=True)
    part = _parts(unit, np.random.default_rng(seed))
    return _without_each(statistic, part, max(1, _CELLS // len(unit))), part


def freedom_of(moved: "NDArray[np.float64]", strata: "NDArray[np.int64]") -> float:
    """Degrees of freedom of a jackknife's variance, whose strata have few units each (Satterthwaite 1946).

    Args:
        moved: change of the estimate without each part, [parts].
        strata: the stratum of each, [parts].
    """
    _, stratum, counts = np.unique(strata, return_inverse=True, return_counts=True)
    shares = np.bincount(stratum, moved**2)
    return float(shares.sum() ** 2 / (shares**2 / np.maximum(counts - 1, 0.5)).sum())


def bootstrap(
    statistic: Statistic,
    units: "NDArray[np.int64]",
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> "NDArray[np.float64]":
    """Bias-corrected and accelerated bootstrap intervals (BCa, Efron 1987) of anything measured on test images.

    Whole units are drawn, with replacement: images of one unit are right or wrong together, and an interval that
    treats them as independent is too narrow. Class counts vary between resamples: they are random, too.

    Args:
        statistic: measures all resamples at once.
        units: [N], the unit of each image.
        resamples: number of resamples.
        confidence: nominal coverage.
        seed: of the draws; equal seeds give equal intervals.

    Returns:
        [K, 2], low and high; NaN where the number is undefined on the images themselves. Resamples in which it is
        undefined (they lack a class) are skipped.
    """
    _, unit = np.unique(units, return_inverse=True)
    count = int(unit.max()) + 1
    random = np.random.default_rng(seed)
    at_once = max(1, _CELLS // max(count, len(unit)))
    sizes = [min(at_once, resamples - first) for first in range(0, resamples, at_once)]
    drawn = np.concatenate([statistic(_drawn(random, size, count)[:, unit]) for size in sizes])  # [B, K]
    (estimate,) = statistic(np.ones((1, len(unit))))
    return _bca(drawn, estimate, _without_each(statistic, _parts(unit, random), at_once), confidence)


def _drawn(random: np.random.Generator, size: int, count: int) -> "NDArray[np.float64]":
    """How often each unit was drawn in each of ``size`` resamples: [size, count], rows sum to ``count``."""
    places = random.integers(count, size=(size, count)) + np.arange(size)[:, None] * count
    return np.bincount(places.ravel(), minlength=size * count).reshape(size, count).astype(np.float64)


def _parts(unit: "NDArray[np.int64]", random: np.random.Generator) -> "NDArray[np.int64]":
    """Which part each image is left out with, [N]: its unit, or several where there are many."""
    count = int(unit.max()) + 1
    return np.asarray((random.permutation(count) % min(count, _PARTS))[unit])


def _without_each(statistic: Statistic, part: "NDArray[np.int64]", at_once: int) -> "NDArray[np.float64]":
    """The numbers measured without each part in turn: [parts, K]."""
    parts = int(part.max()) + 1
    starts = range(0, parts, at_once)
    return np.concatenate(
        [statistic((part != np.arange(parts)[first : first + at_once, None]).astype(np.float64)) for first in starts]
    )


def _bca(
    drawn: "NDArray[np.float64]", estimate: "NDArray[np.float64]", without: "NDArray[np.float64]", confidence: float
) -> "NDArray[np.float64]":
    """An interval [K, 2] for each column of ``drawn`` [B, K]; the skewness is that of the jackknife, ``without``."""
    intervals = np.full((len(estimate), 2), np.nan)
    for k in np.flatnonzero(np.isfinite(estimate)):
        found, left = drawn[np.isfinite(drawn[:, k]), k], without[np.isfinite(without[:, k]), k]
        if len(found) and len(left):
            moved = left.mean() - left
            spread = float((moved**2).sum()) ** 1.5
            skew = float((moved**3).sum()) / (6 * spread) if spread > 0 else 0.0
            intervals[k] = bias_corrected(found, float(estimate[k]), confidence, skew)
    return intervals


def bias_corrected(
    drawn: "NDArray[np.float64]", estimate: float, confidence: float = 0.95, skew: float = 0.0
) -> tuple[float, float]:
    """Quantiles of resampled values, corrected for bias and skewness (Efron 1987, formula 2.3).

    Args:
        drawn: the estimate on each resample [B].
        estimate: the estimate on the images themselves.
        confidence: nominal coverage.
        skew: Efron's acceleration.
    """
    below = np.mean(drawn < estimate) + np.mean(drawn == estimate) / 2
    bias = ndtri(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn)))
    at = bias + ndtri(np.array([0.5 - confidence / 2, 0.5 + confidence / 2]))
    low, high = np.quantile(drawn, ndtr(bias + at / (1 - skew * at)))
    return float(low), float(high)
