"""95 % confidence intervals of an accuracy and other shares, in closed form.

The interval of the accuracy is :func:`wilson_of_units`; the intervals of all metrics are put together in
:mod:`tlcli.evaluation.resampled_intervals`. ``bench/coverage.py`` measures how often they contain the true value.
Shapes: N images, U units (images that belong together: a group, copies), J folds.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

if TYPE_CHECKING:
    from numpy.typing import NDArray


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927), which holds for small n and near 0 and 1.

    Args:
        successes: how many of ``n``; fractional where images count less than one, see :func:`wilson_of_units`.
        n: how many there are.
        confidence: nominal coverage.

    Returns:
        Lower and upper end, within 0 to 1.
    """
    z2 = float(ndtri(0.5 + confidence / 2)) ** 2
    share, middle = successes / n, (successes + z2 / 2) / (n + z2)
    half = (z2 * (share * (1 - share) / n + z2 / (4 * n**2))) ** 0.5 / (1 + z2 / n)
    # rounding must not exclude the share
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def wilson_of_units(
    correct: "NDArray[np.bool_]", units: "NDArray[np.int64]", confidence: float = 0.95
) -> tuple[float, float]:  # fmt: skip
    """Wilson's interval of an accuracy where images belong together: that of the effective number of images.

    The number is divided by the design effect (Kish 1965; Dean & Pagano 2015), the variance of the accuracy over units
    against that of as many independent images; and the interval is widened as Student's t is for few units (Korn &
    Graubard 1998). Unlike the bootstrap it holds for few units, and where nearly all or all are classified correctly;
    there, the images of a unit count as copies.

    Args:
        correct: which images are classified correctly [N].
        units: which belong together [N]; where each is on its own, it is :func:`wilson` itself.
        confidence: nominal coverage.
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
    effect = min(max(effect, 1.0), copies) * float(stdtrit(max(count - 1, 1), sure) / ndtri(sure)) ** 2
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
    """Interval of an area under the ROC curve from its size and the counts alone (Newcombe 2006, method 5).

    It holds where the area is 1, where resampling gives no variance.

    Args:
        area: as measured.
        positives: images (or units) of the class.
        negatives: the others.
        confidence: nominal coverage.
    """
    z2, half = float(ndtri(0.5 + confidence / 2)) ** 2, (positives + negatives) / 2 - 1

    def excess(true: float) -> float:
        variance = true * (1 - true) * (1 + half * (1 - true) / (2 - true) + half * true / (1 + true))
        return (true - area) ** 2 - z2 * variance / (positives * negatives)

    least, most = 1e-9, 1 - 1e-9  # at 0 and 1 the variance is 0, which would end the search there
    low = brentq(excess, least, min(area, most)) if area > least and excess(least) > 0 else 0.0
    high = brentq(excess, max(area, least), most) if area < most and excess(most) > 0 else 1.0
    return float(low), float(high)


def corrected_resampled_t(
    scores: "Sequence[float] | NDArray[np.float64]", test_share: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the mean of the scores of (repeated) k-fold cross-validation.

    The scores are not independent: their training rows overlap. Nadeau & Bengio 2003 (Machine Learning 52, section
    3) therefore take ``1/J + n_test/n_train`` in place of ``1/J``; Bouckaert & Frank 2004 for repeated k-fold.

    Args:
        scores: [J], one for each fold of each repeat.
        test_share: share of the rows that a fold holds out: 1/k.
        confidence: nominal coverage.
    """
    values = np.asarray(scores, np.float64)
    count = len(values)
    error = ((1 / count + test_share / (1 - test_share)) * values.var(ddof=1)) ** 0.5
    half = float(stdtrit(count - 1, 0.5 + confidence / 2)) * float(error)
    return float(values.mean()) - half, float(values.mean()) + half


def paired_resampled(
    scores: "NDArray[np.float64]", others: "NDArray[np.float64]", test_share: float, units: int,
    confidence: float = 0.95,
) -> tuple[float, float]:  # fmt: skip
    """Interval of the mean difference of two classifiers' accuracies on the same folds.

    That of :func:`corrected_resampled_t` for the differences. Where all folds differ by the same, such as two that make
    no error, there is no variance, but so many images do not prove it: then both accuracies' Wilson intervals are
    joined as if they were independent (Newcombe 1998, Statistics in Medicine 17, 873-890, method 10), which is wider.

    Args:
        scores: of the one, on each fold of each repeat [J].
        others: of the other, on the same folds [J].
        test_share: share of the rows that a fold holds out.
        units: how many images, or groups of images, are divided.
        confidence: nominal coverage.
    """
    apart = scores - others
    if len(apart) > 1 and np.ptp(apart) > 1e-12:  # equal differences of unequal scores are not equal to the last bit
        low, high = corrected_resampled_t(apart, test_share, confidence)
        return max(-1.0, low), min(1.0, high)
    mine, yours = float(scores.mean()), float(others.mean())
    (low, high), (least, most) = (wilson(mean * units, units, confidence) for mean in (mine, yours))
    down, up = ((mine - low) ** 2 + (most - yours) ** 2) ** 0.5, ((high - mine) ** 2 + (yours - least) ** 2) ** 0.5
    return max(-1.0, mine - yours - down), min(1.0, mine - yours + up)
