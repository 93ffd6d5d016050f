"""Agreement of quantised with float features, and its effect on the classifier.

Importing this does not import NumPy. Shapes: N images, D features, L classes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Agreement:
    """Agreement of precision int8 with a float precision on a sample of images, as run.json has it."""

    against: str
    """The float precision."""
    images: int
    cosine_mean: float
    cosine_least: float
    label_agreement: float
    """Share of images with the same predicted class."""
    accuracy: float
    """Of the head on int8 features."""
    float_accuracy: float
    """Of the head on float features."""


def cosines(coarse: "NDArray[np.float32]", exact: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Cosine of the angle between each image's two features: two [N, D] -> [N]; 0 for a feature of zeros."""
    import numpy as np  # noqa: PLC0415

    a, b = coarse.astype(np.float64), exact.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0))


def label_agreement(
    coarse: "NDArray[np.float64]", exact: "NDArray[np.float64]", labels: "NDArray[np.int64]"
) -> tuple[float, float, float]:
    """Share of images with the same predicted class, and the accuracy on either kind of features.

    Args:
        coarse: probabilities [N, L] from quantised features.
        exact: probabilities [N, L] from float features.
        labels: the ground truth [N].
    """
    import numpy as np  # noqa: PLC0415

    found, expected = coarse.argmax(axis=1), exact.argmax(axis=1)
    return float(np.mean(found == expected)), float(np.mean(found == labels)), float(np.mean(expected == labels))
