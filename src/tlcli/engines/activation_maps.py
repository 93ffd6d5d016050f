"""From the last feature map to the features that each of its positions would give alone; what all engines share.

Pooling is a mean over positions (or takes each channel's largest value from one of them), and the head is linear: so a
image's logit is the mean of what the head says to each position (class activation mapping, Zhou et al. 2016).

Shapes: h, w positions of the last feature map; D features; R rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Pooling = Literal["avg", "max"]


@dataclass(frozen=True)
class Normalization:
    """The layer normalisation that some networks (ConvNeXt) do after pooling."""

    gain: "NDArray[np.float32]"
    """[D]"""
    shift: "NDArray[np.float32]"
    """[D]"""
    epsilon: float
    """Added to the variance."""

    @classmethod
    def of(cls, function: "Callable[[NDArray[np.float32]], NDArray[np.float32]]", width: int) -> "Normalization":
        """Of a function that does one to rows float32 [R, D], found by what it makes of three of them."""
        signs = np.where(np.arange(width) % 2, 1.0, -1.0)
        unit = (signs - signs.mean()) / signs.std()  # mean 0, variance 1
        nothing, ones, small = function(np.stack([0 * unit, unit, _SMALL * unit]).astype(np.float32)).astype(np.float64)
        gain = (ones - nothing) / unit
        shrunk = (small - nothing) @ (gain * unit) / np.sum((gain * unit) ** 2)  # small / sqrt(small^2 + epsilon)
        epsilon = max(0.0, _SMALL**2 * (shrunk**-2 - 1))
        return cls(gain.astype(np.float32), nothing.astype(np.float32), epsilon)

    def around(self, pooled: "NDArray[np.float32]", rows: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Rows [R, D] whose mean is the pooled feature [D] -> rows whose mean is that feature normalised.

        Centring, gain and shift are linear. The spread is not: every row is divided by the pooled feature's, as rules
        for relevance hold it constant (Ali et al. 2022, "XAI for Transformers", section 4.2).
        """
        spread = np.sqrt(pooled.var(dtype=np.float64) + self.epsilon)
        centred = rows - rows.mean(axis=1, keepdims=True)
        return np.asarray(centred * (self.gain / spread).astype(np.float32) + self.shift)


_SMALL = 1e-3
"""Its square is the epsilon that Keras takes where layers say nothing else: well told from 0, and from 1."""


def positions(
    last: "NDArray[np.float32]", pooling: Pooling, after: Normalization | None = None
) -> "NDArray[np.float32]":
    """The features that each position would give alone; their mean over positions is the image's feature.

    Args:
        last: the last feature map, [h, w, D].
        pooling: of ``max`` a position has the channels that are largest there (shared among those where they are
            equal), times the number of positions, and 0 elsewhere.
        after: what the network does to the pooled feature.

    Returns:
        float32 [h, w, D].
    """
    rows = last.reshape(-1, last.shape[2])
    if pooling == "max":
        largest = rows == rows.max(axis=0)
        rows = rows * (largest * (len(rows) / largest.sum(axis=0))).astype(np.float32)
    if after is not None:
        rows = after.around(rows.mean(axis=0, dtype=np.float64).astype(np.float32), rows)
    return rows.reshape(last.shape)
