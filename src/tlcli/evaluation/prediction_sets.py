"""Prediction sets: the classes that an image may have, so that its class is among them with a stated probability.

Split conformal prediction (Vovk et al. 2005) with the least ambiguous sets (Sadinle et al. 2019): a class is in the set
where its probability is at least a threshold, the quantile of the probabilities of the true classes of images that the
head was not fitted on. The guarantee is for new images like these, on average over all classes.
Shapes: M images to choose the threshold on, n test images, L classes.
"""

from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = (0.8, 0.9, 0.95, 0.99)
"""Coverages for which thresholds are kept in a model."""


@dataclass(frozen=True)
class PredictionSets:
    """The sets of one coverage."""

    coverage: float
    """Share of the images whose class is in their set."""
    threshold: float
    """Least probability of a class in a set; the answer, in general the most probable class, is always in it."""
    mean_size: float
    """Classes in a set, on the images that the threshold was chosen on."""
    single: float
    """Share of these images with one class in the set."""
    test_coverage: float | None
    """As measured on the test images; None where there are none."""


def threshold_of(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", coverage: float) -> float | None:
    """The largest threshold at which the sets of new images have this coverage.

    Args:
        labels: the ground truth [M].
        probabilities: of images that the head was not fitted on [M, L].
        coverage: between 0 and 1.

    Returns:
        None where the images are too few: at 0.95, fewer than 19.
    """
    own = np.sort(probabilities[np.arange(len(labels)), labels])
    rank = floor((1 - coverage) * (len(own) + 1) + 1e-9)  # so many may be below
    return float(own[rank - 1]) if rank >= 1 else None


def thresholds(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> dict[str, float]:
    """The threshold of each of :data:`LEVELS` that the images are enough for, by the level as a text."""
    found = ((level, threshold_of(labels, probabilities, level)) for level in LEVELS)
    return {f"{level:g}": threshold for level, threshold in found if threshold is not None}


def in_set(
    probabilities: "NDArray[np.float64]", threshold: float, predicted: "NDArray[np.int64] | None" = None
) -> "NDArray[np.bool_]":
    """Which classes are in the set of each image, [n, L]; the answers [n] are, where they are others than the most
    probable classes."""
    members = probabilities >= threshold
    members[np.arange(len(members)), probabilities.argmax(axis=1) if predicted is None else predicted] = True
    return np.asarray(members)


def prediction_sets(
    labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", coverage: float,
    test: "tuple[NDArray[np.int64], NDArray[np.float64]] | None" = None,
    predicted: "NDArray[np.int64] | None" = None, test_predicted: "NDArray[np.int64] | None" = None,
) -> PredictionSets | None:  # fmt: skip
    """The sets of one coverage, and how large they are.

    Args:
        labels: as :func:`threshold_of` takes them.
        probabilities: as there.
        coverage: as there.
        test: ground truth [n] and probabilities [n, L] of the test images.
        predicted: the answers [M], where they are others than the most probable classes.
        test_predicted: the same of the test images [n].
    """
    if (threshold := threshold_of(labels, probabilities, coverage)) is None:
        return None
    sizes = in_set(probabilities, threshold, predicted).sum(axis=1)
    reached = None
    if test is not None:
        reached = float(in_set(test[1], threshold, test_predicted)[np.arange(len(test[0])), test[0]].mean())
    return PredictionSets(coverage, threshold, float(sizes.mean()), float((sizes == 1).mean()), reached)
