"""How far quantised features are from float ones, and what that does to the classifier. N images, D features."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cosines(coarse: "NDArray[np.float32]", exact: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Cosine of the angle between each image's two features: two [N, D] -> [N]; a feature of zeros gives 0."""
    a, b = coarse.astype(np.float64), exact.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0))


def label_agreement(
    coarse: "NDArray[np.float64]", exact: "NDArray[np.float64]", labels: "NDArray[np.int64]"
) -> tuple[float, float, float]:
    """Share of images with equal likeliest classes, and the accuracy of either side.

    Args:
        coarse: probabilities [N, L] from quantised features.
        exact: probabilities [N, L] from float features.
        labels: the right classes [N].
    """
    found, expected = coarse.argmax(axis=1), exact.argmax(axis=1)
    return float(np.mean(found == expected)), float(np.mean(found == labels)), float(np.mean(expected == labels))
