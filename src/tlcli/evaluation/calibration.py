"""Whether probabilities mean what they say: reliability, and one temperature that mends them.

Shapes: N images, L classes; labels int [N], probabilities [N, L], rows sum to 1.
"""

from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from tlcli.evaluation.intervals import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BINS = 15
_POINTS = 100
_TEMPERATURES = (0.05, 20.0)
"""What heads need lies well within; what would lie outside is no head."""
_PRIOR = 10.0
"""Weight of the belief in temperature 1, see :func:`fit_temperature`."""


def fit_temperature(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> float:
    """The temperature by which logits are divided, for the lowest log loss on images not fitted on (Guo et al. 2017).

    With few images, or where all are right, the lowest loss can be at no temperature at all (0: full confidence). So
    a Gamma prior on b = 1/T adds ``k (b - 1 - log b)`` to the summed loss, ``k`` = 10: least at b = 1, with a standard
    deviation of about 0.3, the spread of what heads need. Both are convex in b, so there is one answer.

    Args:
        labels: the right classes [N], of validation images and (of the convex fit) of training images held out. The
            more, the better: of a few hundred the temperature is known to 0.14 alone, no better than a good head is.
        probabilities: of each class [N, L], at temperature 1.

    Returns:
        T, between 0.05 and 20: above 1 where the head is too sure, below 1 where it is not sure enough.
    """
    logits = _logits(probabilities)
    truth = logits[np.arange(len(labels)), labels].sum()

    def loss(log_temperature: float) -> float:
        b = exp(-log_temperature)
        return float(logsumexp(b * logits, axis=1).sum() - b * truth + _PRIOR * (b - 1 + log_temperature))

    low, high = _TEMPERATURES
    found = minimize_scalar(loss, bounds=(log(low), log(high)), method="bounded", options={"xatol": 1e-5})
    return exp(float(found.x))


def with_temperature(probabilities: "NDArray[np.float64]", temperature: float) -> "NDArray[np.float64]":
    """Probabilities [N, L] whose logits are divided by ``temperature``; the order of the classes stays."""
    return np.asarray(softmax(_logits(probabilities) / temperature, axis=1))


def _logits(probabilities: "NDArray[np.float64]") -> "NDArray[np.float64]":
    return np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))


@dataclass(frozen=True)
class Bin:
    """Images of about the same confidence; a diagram has a bar for each."""

    low: float
    high: float
    """Edges of the bin"""
    n: int
    confidence: float
    """Mean"""
    accuracy: float
    accuracy_ci95: tuple[float, float]


def reliability(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> tuple[Bin, ...]:
    """15 equal bins of confidence, from the lowest, less those without images (Guo et al. 2017).

    Args:
        labels: the right classes [N].
        probabilities: of each class [N, L].
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    sure, right = np.bincount(bins, confidence, _BINS), np.bincount(bins, correct, _BINS)
    return tuple(
        Bin(
            b / _BINS, (b + 1) / _BINS, int(n), float(sure[b] / n), float(right[b] / n), wilson(int(right[b]), int(n))
        )
        for b, n in enumerate(counts)
        if n
    )  # fmt: skip


def expected_calibration_error(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> float:
    """Mean distance between confidence and accuracy over the bins of :func:`reliability` (Guo et al. 2017)."""
    bins = reliability(labels, probabilities)
    return sum(b.n * abs(b.confidence - b.accuracy) for b in bins) / len(labels)


@dataclass(frozen=True)
class Coverage:
    """What is gained where images of low confidence are left to a person: a point of the curve."""

    share: float
    """Of the images, the most confident"""
    accuracy: float
    """On these"""
    threshold: float
    """They have this confidence or more"""


def coverage_curve(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> tuple[Coverage, ...]:
    """Accuracy on the most confident images against their share, ending with all; at most 100 points.

    Args:
        labels: the right classes [N].
        probabilities: of each class [N, L].
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    right = np.cumsum((probabilities.argmax(axis=1) == labels)[order])
    ends = np.flatnonzero(np.append(falling[1:] < falling[:-1], True)) + 1  # images of equal confidence go together
    at = np.unique(np.linspace(0, len(ends) - 1, _POINTS).round().astype(int))
    return tuple(
        Coverage(int(n) / len(labels), int(right[n - 1]) / int(n), float(falling[n - 1])) for n in ends[at]
    )  # fmt: skip
