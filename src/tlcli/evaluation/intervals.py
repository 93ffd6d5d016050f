"""How sure a measured number is: intervals that hold the true value in 95 of 100 cases.

``bench/coverage.py`` counts how often they do. Shapes: N images, U units (images that belong together: a group,
copies), B resamples, K numbers measured at once.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import binomtest, t

if TYPE_CHECKING:
    from numpy.typing import NDArray

Statistic = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]
"""Weights of the images in each resample [b, N] -> what is measured in each [b, K]; NaN where it is not defined."""

_CELLS = 2_000_000
"""Weights held at once (16 MB)."""
_LEFT_OUT = 1000
"""Parts that units are divided into, at most, to be left out in turn: with more units than that nothing is skewed."""


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927), which holds for small n and near 0 and 1.

    Args:
        successes: how many of ``n``; no whole number where images count less than one, see :func:`wilson_of_units`.
        n: how many there are.
        confidence: how often the interval is to hold the truth.
    """
    if float(successes).is_integer() and float(n).is_integer():
        interval = binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
        return float(interval.low), float(interval.high)
    z2 = float(ndtri(0.5 + confidence / 2)) ** 2
    share, middle = successes / n, (successes + z2 / 2) / (n + z2)
    half = (z2 * (share * (1 - share) / n + z2 / (4 * n**2))) ** 0.5 / (1 + z2 / n)
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))  # less what rounding does


def wilson_of_units(
    correct: "NDArray[np.bool_]", units: "NDArray[np.int64]", confidence: float = 0.95
) -> tuple[float, float]:  # fmt: skip
    """Wilson's interval of an accuracy where images belong together: of as many single images as they are worth.

    They are fewer by the design effect (Kish 1965; Dean & Pagano 2015): the variance of the accuracy over units against
    that of as many single images; and by what Student's t is wider of few units (Korn & Graubard 1998). Unlike the
    bootstrap it holds of few units, and where nearly all or all are right; there, a unit's images count as copies.

    Args:
        correct: which images are right [N].
        units: which belong together [N]; where each is its own, it is :func:`wilson` itself.
        confidence: how often the interval is to hold the truth.
    """
    _, unit, sizes = np.unique(units, return_inverse=True, return_counts=True)
    n, count, right = len(correct), len(sizes), int(correct.sum())
    share, copies = right / n, float((sizes**2).sum()) / n
    if count == n:
        return wilson(right, n, confidence)
    effect = copies
    if count > 1 and 0 < right < n:
        apart = np.bincount(unit, correct - share)  # [U]
        effect = float(apart @ apart) * count / (count - 1) / (n * share * (1 - share))
    sure = 0.5 + confidence / 2
    effect = min(max(effect, 1.0), copies) * float(t.ppf(sure, max(count - 1, 1)) / ndtri(sure)) ** 2
    return wilson(right / effect, n / effect, confidence)


def mean_of_shares(
    shares: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> tuple[float, float]:  # fmt: skip
    """Interval of the mean of independent shares, from an interval of each (MOVER, Zou & Donner 2008).

    Args:
        shares: such as the recall of each class.
        intervals: of each, all of one confidence; that of the mean has the same.
    """
    pairs = list(zip(shares, intervals, strict=True))
    mean, count = sum(shares) / len(pairs), len(pairs)
    down = sum((share - low) ** 2 for share, (low, _) in pairs) ** 0.5 / count
    up = sum((high - share) ** 2 for share, (_, high) in pairs) ** 0.5 / count
    return max(0.0, mean - down), min(1.0, mean + up)


def area_of_counts(area: float, positives: int, negatives: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of an area under the ROC curve from nothing but its size and the counts (Newcombe 2006, method 5).

    It holds where the area is 1, of which resampled images say nothing.

    Args:
        area: as measured.
        positives: images (or units) of the class.
        negatives: the others.
        confidence: how often the interval is to hold the truth.
    """
    z2, half = float(ndtri(0.5 + confidence / 2)) ** 2, (positives + negatives) / 2 - 1

    def excess(true: float) -> float:
        variance = true * (1 - true) * (1 + half * (1 - true) / (2 - true) + half * true / (1 + true))
        return (true - area) ** 2 - z2 * variance / (positives * negatives)

    least, most = 1e-9, 1 - 1e-9  # at 0 and 1 themselves nothing varies, which would end the search there
    low = brentq(excess, least, min(area, most)) if area > least and excess(least) > 0 else 0.0
    high = brentq(excess, max(area, least), most) if area < most and excess(most) > 0 else 1.0
    return float(low), float(high)


def logit_interval(
    estimate: float, without: "NDArray[np.float64]", freedom: float, confidence: float = 0.95
) -> tuple[float, float]:  # fmt: skip
    """Interval of a share from the jackknife's variance on the logit scale, where it is nearly normal and cannot leave
    0 to 1 (of areas under the ROC curve: Qin & Hotilovac 2008).

    Args:
        estimate: as measured, above 0 and below 1.
        without: what is measured without each unit (or part of the units) in turn.
        freedom: degrees of Student's t.
        confidence: how often the interval is to hold the truth.
    """
    parts = len(without)
    error = ((parts - 1) * float(without.var())) ** 0.5 / (estimate * (1 - estimate))
    middle, half = float(logit(estimate)), float(t.ppf(0.5 + confidence / 2, max(freedom, 1))) * error
    return float(expit(middle - half)), float(expit(middle + half))


def left_out(
    statistic: Statistic, units: "NDArray[np.int64]", seed: int = 0
) -> "tuple[NDArray[np.float64], NDArray[np.int64]]":  # fmt: skip
    """What is measured without each unit (or part of the units, where there are many) in turn, [parts, K]; and the part
    of each image, [N]."""
    _, unit = np.unique(units, return_inverse=True)
    part = _parts(unit, np.random.default_rng(seed))
    return _without_each(statistic, part, max(1, _CELLS // len(unit))), part


def freedom_of(moved: "NDArray[np.float64]", strata: "NDArray[np.int64]") -> float:
    """Degrees of freedom of a jackknife's variance, whose strata are known from few units each (Satterthwaite 1946).

    Args:
        moved: by how much each unit's leaving moves what is measured, [parts].
        strata: which stratum each is of, [parts].
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
    takes them for independent is too narrow. Classes are not held fixed: their shares are chance, too.

    Args:
        statistic: what is measured, of all resamples at once.
        units: [N], which unit each image belongs to.
        resamples: how many are drawn.
        confidence: how often an interval is to hold the truth.
        seed: of the draws; equal seeds give equal intervals.

    Returns:
        [K, 2], low and high; NaN for what is not defined on the images themselves. Resamples in which it is not
        (they lack a class) are passed over.
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
    return np.asarray((random.permutation(count) % min(count, _LEFT_OUT))[unit])


def _without_each(statistic: Statistic, part: "NDArray[np.int64]", at_once: int) -> "NDArray[np.float64]":
    """What is measured without each part in turn: [parts, K]."""
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
    """Quantiles of resampled values, moved by their bias and skewness (Efron 1987, formula 2.3).

    Args:
        drawn: what was measured on each resample [B].
        estimate: what was measured on the images themselves.
        confidence: how often the interval is to hold the truth.
        skew: Efron's acceleration.
    """
    below = np.mean(drawn < estimate) + np.mean(drawn == estimate) / 2
    bias = ndtri(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn)))
    at = bias + ndtri(np.array([0.5 - confidence / 2, 0.5 + confidence / 2]))
    low, high = np.quantile(drawn, ndtr(bias + at / (1 - skew * at)))
    return float(low), float(high)


def corrected_resampled_t(
    scores: "Sequence[float] | NDArray[np.float64]", test_share: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the mean of the scores of (repeated) k-fold cross-validation.

    The scores are no independent draws: their training rows overlap. Nadeau & Bengio 2003 (Machine Learning 52, section
    3) therefore take ``1/J + n_test/n_train`` in place of ``1/J``; Bouckaert & Frank 2004 for repeated k-fold.

    Args:
        scores: [J], one of each fold of each repeat.
        test_share: of the rows that a fold holds out: 1/k.
        confidence: how often the interval is to hold the truth.
    """
    values = np.asarray(scores, np.float64)
    count = len(values)
    error = ((1 / count + test_share / (1 - test_share)) * values.var(ddof=1)) ** 0.5
    half = float(t.ppf(0.5 + confidence / 2, count - 1)) * float(error)
    return float(values.mean()) - half, float(values.mean()) + half
