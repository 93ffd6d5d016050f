"""The nearest reference images of an image, by the cosine of their features. Exact.

Shapes: N images, M reference images, D features.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1 << 22
"""Similarities in memory at once: 16 MB, and two copies."""


@dataclass(frozen=True)
class Nearest:
    """The nearest reference images of each image, the nearest first."""

    numbers: "NDArray[np.int64]"
    """[N, k], numbers of reference images; -1 where there are no more"""
    similarities: "NDArray[np.float32]"
    """[N, k], cosines, -1..1; -inf where there are no more"""


def nearest(
    features: "NDArray[np.float32]",
    reference: "NDArray[np.float32]",
    k: int,
    units: "NDArray[np.int64] | None" = None,
    reference_units: "NDArray[np.int64] | None" = None,
) -> Nearest:
    """The k reference images with the largest cosine; of equal ones the first.

    Args:
        features: of the images, [N, D].
        reference: features to search, [M, D].
        k: how many of each; M where there are fewer.
        units: of the images, [N]; with ``reference_units``, an image's own unit (itself, its copies, its group) is
            excluded.
        reference_units: [M].
    """
    k = min(k, len(reference))
    near, scaled = _scaled(features), _scaled(reference)
    numbers = np.empty((len(near), k), np.int64)
    similarities = np.empty((len(near), k), np.float32)
    rows = max(1, _BLOCK // max(1, len(scaled)))
    for start in range(0, len(near), rows):
        part = slice(start, start + rows)
        cosines = near[part] @ scaled.T  # [n, M]
        if units is not None and reference_units is not None:
            cosines[units[part, None] == reference_units] = -np.inf
        # Not argpartition, which takes any of those that are equal; a stable sort takes 4 times as long.
        least = -np.partition(-cosines, k - 1, axis=1)[:, k - 1] if k else np.empty(len(cosines))
        for row, (of_row, bound) in enumerate(zip(cosines, least, strict=True), start):
            found = np.flatnonzero(of_row >= bound)
            found = found[np.argsort(-of_row[found], kind="stable")[:k]]
            numbers[row], similarities[row] = found, of_row[found]
    numbers[np.isneginf(similarities)] = -1
    return Nearest(numbers, similarities)


def _scaled(features: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Rows of length 1; rows of zeros stay, and have cosine 0 with all."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(lengths > 0, lengths, 1), np.float32)
