"""What an image of each class weighs in the loss.

Shapes: n images, L classes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ClassWeight = str | Sequence[float]
"""``none``: every image weighs 1. ``balanced``: every class has the same total weight. Numbers [L]: what an image of
each class weighs, as in scikit-learn: they are not normalised, so that all of them doubled are a C twice as large."""


def weights_of_classes(labels: "NDArray[np.int64]", class_weight: ClassWeight) -> "NDArray[np.float64]":
    """The weight of an image of each class [L], from the class numbers of the images that are fitted on [n]."""
    if not isinstance(class_weight, str):
        return np.asarray(class_weight, np.float64)
    counts = np.bincount(labels)
    if class_weight != "balanced":
        return np.ones(len(counts))
    return len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))  # scikit-learn's "balanced"


def weights_of(labels: "NDArray[np.int64]", class_weight: ClassWeight) -> "NDArray[np.float32]":
    """The weight of each image [n], from its class number."""
    return np.asarray(weights_of_classes(labels, class_weight)[labels], np.float32)
