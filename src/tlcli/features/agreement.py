"""How close quantised features are to float ones, and the head's labels with them. N images, D features, L classes."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cosine_similarities(quantized: "NDArray[np.float32]", exact: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Cosine similarity of each image's two features: two [N, D] -> [N]; 0 if a feature is all zeros."""
    a, b = quantized.astype(np.float64), exact.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0))


def label_agreement(
    quantized: "NDArray[np.float64]", exact: "NDArray[np.float64]", labels: "NDArray[np.int64]"
) -> tuple[float, float, float]:
    """The share of images with equal predictions, and the accuracy with quantised and with float features.

    Args:
        quantized: probabilities [N, L] from quantised features.
        exact: probabilities [N, L] from float features.
        labels: ground truth [N].
    """
    found, expected = quantized.argmax(axis=1), exact.argmax(axis=1)
    return float(np.mean(found == expected)), float(np.mean(found == labels)), float(np.mean(expected == labels))
