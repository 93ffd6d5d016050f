"""Two classifiers on the same pictures: how much better one is, and how sure that is.

Shapes: N pictures, U units (pictures that belong together), B resamples.
"""

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest

from tlcli.evaluation.intervals import bootstrap, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLIPS = 9999


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of A less that of B, on the same pictures."""

    difference: float
    low: float
    high: float
    """95 % interval of the difference"""
    p_value: float
    """How often chance alone would part the two as far, were they equally good"""
    only_a: int
    """Pictures that A alone has right"""
    only_b: int
    n: int


def paired_difference(
    right_a: "NDArray[np.bool_]", right_b: "NDArray[np.bool_]", units: "NDArray[np.int64] | None" = None, seed: int = 0
) -> PairedDifference:
    """Compares two accuracies measured on the same pictures.

    Where every picture stands for itself: :func:`newcombe`'s interval and McNemar's exact test, which is the binomial
    one on the pictures that one of the two alone has right. Where units hold several pictures: the bootstrap over
    units, and a test that changes A and B of whole units at random.

    Args:
        right_a: whether A is right [N].
        right_b: whether B is right, on the same pictures in the same order [N].
        units: which pictures belong together [N]; each is its own where None.
        seed: of what is drawn, where units hold several pictures.
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    count = len(right_a)
    gain = right_a.astype(np.float64) - right_b
    if units is None or len(np.unique(units)) == count:
        low, high = newcombe(int((right_a & right_b).sum()), only_a, only_b, count)
        p_value = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    else:
        (found,) = bootstrap(lambda weights: (weights @ gain / weights.sum(axis=1))[:, None], units, seed=seed)
        low, high = (float(bound) for bound in found)
        p_value = _by_flips(np.bincount(np.unique(units, return_inverse=True)[1], gain).astype(np.float64), seed)
    return PairedDifference(float(gain.mean()), low, high, p_value, only_a, only_b, count)


def newcombe(both: int, only_a: int, only_b: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a difference of paired proportions (Newcombe 1998, Statistics in Medicine 17:2635, method 10).

    Args:
        both: pictures that A and B have right.
        only_a: those that A alone has right.
        only_b: those that B alone has right.
        n: all pictures.
        confidence: how often the interval is to hold the truth.

    Returns:
        Low and high, of A's share less B's.
    """
    a, b, neither = both + only_a, both + only_b, n - both - only_a - only_b
    (low_a, high_a), (low_b, high_b) = wilson(a, n, confidence), wilson(b, n, confidence)
    margins = a * (n - a) * b * (n - b)
    excess = float(both * neither - only_a * only_b)
    if excess > 0:
        excess = max(excess - n / 2, 0.0)  # his continuity correction
    correlation = excess / sqrt(margins) if margins else 0.0
    down_a, up_a, down_b, up_b = a / n - low_a, high_a - a / n, b / n - low_b, high_b - b / n
    down = sqrt(down_a**2 - 2 * correlation * down_a * up_b + up_b**2)
    up = sqrt(up_a**2 - 2 * correlation * up_a * down_b + down_b**2)
    return (only_a - only_b) / n - down, (only_a - only_b) / n + up


def _by_flips(gains: "NDArray[np.float64]", seed: int) -> float:
    """Two-sided p of summed gains of units [U], were each as likely of the other sign (with its own order counted)."""
    random = np.random.default_rng(seed)
    moved = gains[gains != 0]
    blocks = (random.choice([-1.0, 1.0], size=(len(part), len(moved))) for part in np.array_split(np.empty(_FLIPS), 20))
    sums = np.concatenate([signs @ moved for signs in blocks])
    return float((1 + (np.abs(sums) >= abs(gains.sum()) - 1e-9).sum()) / (_FLIPS + 1))
