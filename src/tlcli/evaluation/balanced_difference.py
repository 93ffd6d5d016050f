"""The difference of the balanced accuracies of two classifiers, a and b, on the same images.

Shapes: N images, L classes that occur, U units (images that belong together), B resamples.
"""

from typing import TYPE_CHECKING

import numpy as np

from tlcli.evaluation.compare import PairedDifference
from tlcli.evaluation.resampling import bootstrap

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLIPS = 9_999
_AT_ONCE = 2_000_000
"""Signs in memory at once."""


def balanced_difference(
    labels: "NDArray[np.int64]", gained: "NDArray[np.int64]", units: "NDArray[np.int64]", seed: int = 0
) -> PairedDifference:
    """Mean over the classes of the difference of their recalls.

    The interval is a BCa bootstrap over units. The p-value is that of a permutation test: were both equally good, the
    sign of what a unit gains would be a coin toss (McNemar's test, with the images weighted by their class).

    Args:
        labels: the ground truth [N].
        gained: of each image [N]: 1 where only b is correct, -1 where only a is, else 0.
        units: which images belong together [N].
        seed: of the resamples.
    """
    members = np.stack([labels == label for label in np.unique(labels)]).astype(np.float64)  # [L, N]

    def statistic(weights: "NDArray[np.float64]") -> "NDArray[np.float64]":  # [B, N] -> [B, 1]
        with np.errstate(invalid="ignore"):  # a resample without a class has no balanced accuracy
            recalls = (weights @ (members * gained).T) / (weights @ members.T)  # [B, L]
        return np.asarray(recalls.mean(axis=1, keepdims=True))

    if not gained.any():
        return PairedDifference(0.0, 0.0, 0.0, 1.0)
    weights = (members / members.sum(axis=1, keepdims=True)).mean(axis=0)  # [N]
    _, unit = np.unique(units, return_inverse=True)
    of_units = np.bincount(unit, weights * gained).astype(np.float64)
    ((low, high),) = bootstrap(statistic, units, seed=seed)
    return PairedDifference(float(of_units.sum()), float(low), float(high), _sign_flip_p(of_units, seed))


def _sign_flip_p(gains: "NDArray[np.float64]", seed: int) -> float:
    """Two-sided: how often sums with random signs are at least as far from 0, of all and the one found."""
    gains = gains[gains != 0]
    if not len(gains):
        return 1.0
    random, found = np.random.default_rng(seed), abs(gains.sum()) * (1 - 1e-9)
    parts = np.diff([*range(0, _FLIPS, max(1, _AT_ONCE // len(gains))), _FLIPS])
    sums = (random.choice([-1.0, 1.0], (part, len(gains))) @ gains for part in parts)
    return (1 + sum(int((np.abs(some) >= found).sum()) for some in sums)) / (1 + _FLIPS)
