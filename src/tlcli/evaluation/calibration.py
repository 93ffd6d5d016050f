"""Calibration: does the confidence match the accuracy? Reliability diagram, expected calibration error, coverage curve.

The temperature that calibrates a head is fitted in :mod:`tlcli.heads.calibration`.

Shapes: N images, L classes; labels int [N], probabilities [N, L], rows sum to 1.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.evaluation.intervals import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BINS = 15
_POINTS = 100


@dataclass(frozen=True)
class Bin:
    """A bar of the reliability diagram: images of about the same confidence."""

    low: float
    high: float
    """Edges of the bin"""
    n: int
    confidence: float
    """Mean"""
    accuracy: float
    accuracy_ci95: tuple[float, float]


def reliability(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> tuple[Bin, ...]:
    """The reliability diagram (Guo et al. 2017): 15 bins of equal width by rising confidence, without empty ones.

    Args:
        labels: the ground truth [N].
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
    """A point of the coverage curve: the accuracy where only the most confident images are answered."""

    share: float
    """Share of the images, the most confident ones"""
    accuracy: float
    """On these"""
    threshold: float
    """Their lowest confidence"""


def coverage_curve(
    labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", predicted: "NDArray[np.int64] | None" = None
) -> tuple[Coverage, ...]:
    """Accuracy on the most confident images against their share, ending with all; at most 100 points.

    Args:
        labels: the ground truth [N].
        probabilities: of each class [N, L].
        predicted: the answers [N], where they are other classes than the most probable ones.
    """
    answers = probabilities.argmax(axis=1) if predicted is None else predicted
    confidence = probabilities[np.arange(len(labels)), answers]
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    right = np.cumsum((answers == labels)[order])
    ends = np.flatnonzero(np.append(falling[1:] < falling[:-1], True)) + 1  # images of equal confidence go together
    at = np.unique(np.linspace(0, len(ends) - 1, _POINTS).round().astype(int))
    return tuple(
        Coverage(int(n) / len(labels), int(right[n - 1]) / int(n), float(falling[n - 1])) for n in ends[at]
    )  # fmt: skip
