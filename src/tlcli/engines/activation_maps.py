"""Class activation maps: the features that each position of the last feature map would give alone.

Pooling is a mean over positions (or takes each channel's largest value from one of them), and the head is linear: so an
image's logit is the mean of the logits of its positions (class activation mapping, Zhou et al. 2016).

Shapes: h, w positions of the last feature map; D features; R rows.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.spec import Pooling

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Normalization:
    """The layer normalisation that some networks (ConvNeXt) apply after pooling."""

    gamma: "NDArray[np.float32]"
    """[D]"""
    beta: "NDArray[np.float32]"
    """[D]"""
    epsilon: float
    """Added to the variance."""

    @classmethod
    def from_json(cls, text: str) -> "Normalization | None":
        """Reads :data:`tlcli.backbones.conversion.NORMALIZATION_FILE`; None if the network has none."""
        if (fields := json.loads(text)) is None:
            return None
        return cls(np.array(fields["gamma"], np.float32), np.array(fields["beta"], np.float32), fields["epsilon"])

    def distribute(self, pooled: "NDArray[np.float32]", rows: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Rows [R, D] whose mean is the pooled feature [D] -> rows whose mean is that feature, normalised.

        Centring, gamma and beta are linear. The standard deviation is not: every row is divided by that of the pooled
        feature, which rules for relevance hold constant (Ali et al. 2022, "XAI for Transformers", section 4.2).
        """
        deviation = np.sqrt(pooled.var(dtype=np.float64) + self.epsilon)
        centred = rows - rows.mean(axis=1, keepdims=True)
        return np.asarray(centred * (self.gamma / deviation).astype(np.float32) + self.beta)


def features_by_position(
    last: "NDArray[np.float32]", pooling: Pooling, normalization: Normalization | None = None
) -> "NDArray[np.float32]":
    """The features that each position would give alone; their mean over positions is the image's feature.

    Args:
        last: the last feature map, [h, w, D].
        pooling: with ``max``, a position has the channels that are largest there (shared among positions with equal
            values), times the number of positions, and 0 elsewhere.
        normalization: applied to the pooled feature.

    Returns:
        float32 [h, w, D].
    """
    rows = last.reshape(-1, last.shape[2])
    if pooling == "max":
        largest = rows == rows.max(axis=0)
        rows = rows * (largest * (len(rows) / largest.sum(axis=0))).astype(np.float32)
    if normalization is not None:
        rows = normalization.distribute(rows.mean(axis=0, dtype=np.float64).astype(np.float32), rows)
    return rows.reshape(last.shape)
