"""Ranks, and what follows from them: the ROC curve of a class and the area under it.

They are here because scikit-learn and scipy.stats, which have the same, take a second to import.
Shapes: N images, K points of a curve.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def ranks(values: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """Ranks from 1 of values [N]; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def area_under_roc(positive: "NDArray[np.bool_]", scores: "NDArray[np.floating]") -> float:
    """Area under the ROC curve, from the ranks of the positives (Mann & Whitney 1947).

    Args:
        positive: which images are of the class [N]: some, not all.
        scores: its probabilities [N].
    """
    positives, negatives = np.count_nonzero(positive), np.count_nonzero(~positive)
    above = ranks(scores)[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def roc_points(
    positive: "NDArray[np.bool_]", scores: "NDArray[np.floating]"
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """The ROC curve: false and true positive rates [K] from (0, 0) to (1, 1), without points amid a straight line.

    Args:
        positive: which images are of the class [N]: some, not all.
        scores: its probabilities [N].
    """
    order = np.argsort(-scores, kind="stable")
    falling, right = scores[order], np.cumsum(positive[order])
    ends = np.flatnonzero(np.append(falling[1:] < falling[:-1], True))  # images of equal score go together
    true, false = right[ends], ends + 1 - right[ends]
    bent = np.ones(len(ends), bool)
    bent[1:-1] = (np.diff(true, 2) != 0) | (np.diff(false, 2) != 0)
    return np.append(0.0, false[bent] / false[-1]), np.append(0.0, true[bent] / true[-1])
