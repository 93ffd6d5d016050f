"""The difference of the accuracies of two classifiers, a and b, on the same images: a paired test and an interval.

Both come from four counts: images that both classify correctly, only a, only b, neither. Shapes: N images.
"""

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest, t

from tlcli.evaluation.intervals import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of b minus that of a, between -1 and 1."""

    difference: float
    low: float
    """95 % interval."""
    high: float
    p: float
    """Two-sided p-value: how often two equally good classifiers would differ by as much or more."""

    @property
    def significant(self) -> bool:
        """Whether one is better beyond chance at 5 %: by the test, and by the interval, which may disagree near
        the limit."""
        return self.p < 0.05 and not self.low <= 0 <= self.high


def paired_difference(both: int, only_a: int, only_b: int, neither: int) -> PairedDifference:
    """McNemar's exact test (McNemar 1947), and the paired score interval (Newcombe 1998, Statistics in Medicine 17,
    2635-2650, method 10): each accuracy's Wilson interval, joined by the correlation of the two, which is corrected for
    continuity where it is positive.

    Args:
        both: images that a and b classify correctly.
        only_a: images that only a does.
        only_b: images that only b does.
        neither: images that neither does.

    Raises:
        ValueError: there are no images, or a count is negative.
    """
    n = both + only_a + only_b + neither
    if n < 1 or min(both, only_a, only_b, neither) < 0:
        raise ValueError(f"counts must be 0 or more, and not all 0; received: {(both, only_a, only_b, neither)}")
    right_a, right_b = both + only_a, both + only_b
    share_a, share_b = right_a / n, right_b / n
    (low_a, high_a), (low_b, high_b) = wilson(right_a, n), wilson(right_b, n)
    phi = _correlation(both, only_a, only_b, neither)
    down = _joined(share_b - low_b, high_a - share_a, phi)
    up = _joined(high_b - share_b, share_a - low_a, phi)
    difference = (only_b - only_a) / n
    discordant = only_a + only_b
    p = float(binomtest(only_b, discordant).pvalue) if discordant else 1.0
    return PairedDifference(difference, difference - down, difference + up, p)


def clustered_difference(
    plain: PairedDifference, gained: "NDArray[np.int64]", units: "NDArray[np.int64]", inflation: float = 1.0
) -> PairedDifference:  # fmt: skip
    """The difference where images belong together, and are right or wrong together; never narrower than the plain one.

    Computes Student's t of the units' sums (a cluster-robust variance) and takes the more cautious of both for each end
    of the interval and for p.

    Args:
        plain: the :func:`paired_difference` of the same images.
        gained: of each image [N]: 1 where only b is correct, -1 where only a is, else 0.
        units: which images belong together [N].
        inflation: factor of the variance, 1 or more; see :func:`resampling_inflation`.
    """
    _, unit = np.unique(units, return_inverse=True)
    count = int(unit.max()) + 1
    if count == len(gained) and inflation == 1:
        return plain
    if count < 2:
        return PairedDifference(plain.difference, -1.0, 1.0, 1.0)
    apart = np.bincount(unit, gained - plain.difference)
    error = sqrt(inflation * float(apart @ apart) * count / (count - 1)) / len(gained)
    half = float(t.ppf(0.975, count - 1)) * error
    p = 2 * float(t.sf(abs(plain.difference) / error, count - 1)) if error else plain.p
    # Where the images of a group, or all images, are alike, the units have no variance; the plain interval has.
    down, up = ((end - plain.difference) * sqrt(inflation) for end in (plain.low, plain.high))
    low, high = plain.difference + min(down, -half), plain.difference + max(up, half)
    return PairedDifference(plain.difference, max(-1.0, low), min(1.0, high), max(plain.p, p))


def resampling_inflation(folds: int, repeats: int) -> float:
    """How much larger the variance of an accuracy by repeated cross-validation is than that of as many test images.

    The heads of the folds share most of their training images, so that the folds are not independent (Nadeau & Bengio
    2003, Machine Learning 52, section 3; Bouckaert & Frank 2004): the mean over J folds has the variance of a fold
    times ``1/J + 1/(folds - 1)``, that of independent images ``1/folds``. 1.58 for 3 x 5 folds.

    Args:
        folds: number of folds, 2 or more.
        repeats: how often the images were divided.
    """
    return folds * (1 / (folds * repeats) + 1 / (folds - 1))


def _correlation(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Newcombe's phi; 0 where one of the two is always correct or always wrong."""
    sides = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if not sides:
        return 0.0
    excess = float(both * neither - only_a * only_b)
    if excess > 0:
        excess = max(excess - (both + only_a + only_b + neither) / 2, 0.0)
    return excess / sqrt(sides)


def _joined(one: float, other: float, phi: float) -> float:
    """Half the interval of a difference, from the half intervals of its two sides."""
    return sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))
