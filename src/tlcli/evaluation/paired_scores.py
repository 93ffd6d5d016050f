"""How good one classifier is by any metric, and how much better than another on the same images, with standard errors.

Shapes: N images, L classes; labels int [N], probabilities [N, L].
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.evaluation.objectives import Objective

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RESAMPLES = 400


@dataclass(frozen=True)
class PairedScore:
    """The score of a classifier, and its gain over another."""

    score: float
    score_error: float
    """Standard error over images."""
    gain: float
    """Its score minus that of the other, on the same images."""
    gain_error: float


def paired_score(
    objective: Objective, labels: "NDArray[np.int64]", units: "NDArray[np.int64]", before: "NDArray[np.float64]",
    after: "NDArray[np.float64]", seed: int = 0,
) -> PairedScore:  # fmt: skip
    """Scores a classifier beside another; standard errors by the bootstrap, which draws whole units.

    Args:
        objective: the metric.
        labels: the ground truth [N].
        units: which images belong together [N].
        before: probabilities of the other one [N, L].
        after: of this one.
        seed: of the resamples.
    """
    random, (names, unit) = np.random.default_rng(seed), np.unique(units, return_inverse=True)
    order, ends = np.argsort(unit, kind="stable"), np.cumsum(np.bincount(unit))
    members = np.split(order, ends[:-1])
    score, gain = _scores(objective, labels, before, after, np.arange(len(labels)))
    drawn = []
    for _ in range(_RESAMPLES):
        chosen = np.concatenate([members[number] for number in random.integers(len(names), size=len(names))])
        drawn.append(_scores(objective, labels, before, after, chosen))
    score_error, gain_error = np.nanstd(drawn, axis=0)
    return PairedScore(score, float(score_error), gain, float(gain_error))


def _scores(
    objective: Objective, labels: "NDArray[np.int64]", before: "NDArray[np.float64]", after: "NDArray[np.float64]",
    chosen: "NDArray[np.int64]",
) -> tuple[float, float]:  # fmt: skip
    """Of some images: the score of the second, and how much better it is than the first."""
    score = objective.score(labels[chosen], after[chosen])
    return score, score - objective.score(labels[chosen], before[chosen])
