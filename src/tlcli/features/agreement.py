"""How close quantised features are to float ones, and the head's labels with them. N images, D features, L classes.

Importing this does not import NumPy: what only reads run.json starts fast.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Agreement:
    """The agreement of int8 with the float precision on a sample; the fields are those of run.json."""

    against: str
    """The float precision."""
    images: int
    cosine_mean: float
    cosine_least: float
    label_agreement: float
    accuracy: float
    float_accuracy: float


def cosine_similarities(quantized: "NDArray[np.float32]", exact: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Cosine similarity of each image's two features: two [N, D] -> [N]; 0 if a feature is all zeros."""
    import numpy as np  # noqa: PLC0415 - see the module

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
    import numpy as np  # noqa: PLC0415 - see the module

    found, expected = quantized.argmax(axis=1), exact.argmax(axis=1)
    return float(np.mean(found == expected)), float(np.mean(found == labels)), float(np.mean(expected == labels))
