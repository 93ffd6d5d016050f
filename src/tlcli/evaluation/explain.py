"""Why a head answers as it does: what each position of an image says to it, and which images lie nearest.

Shapes: N images, M reference images, D features, h and w positions of the last feature map, U units of the head,
L labels.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import entr, softmax

from tlcli.heads.head import Head

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1 << 22
"""Similarities held at once: 16 MB, and two copies."""


def heat(maps: "NDArray[np.float32]", head: Head, label: int) -> "NDArray[np.float64]":
    """What each position says for the label: class activation mapping (Zhou et al. 2016), less what it says for others.

    A position's value is the log odds ln(p / (1 - p)) of the label that the head would give an image that looked
    everywhere as it does there; above 0 it speaks for the label, below 0 against it. The mean over positions is exactly
    the image's own log odds of the label.

    With two classes these are the unit's logit, or its negative. With more they are the label's logit less the log of
    the summed exponentials of the others', which is not linear. Here each other class counts by its share q of the
    probability that the whole image leaves to the others: z_label - sum q_j (z_j - ln q_j), the tangent of the log
    odds at the image's feature, equal to them there. So a position speaks for a label against its likely rivals, and
    not against a thousand classes that nobody would have thought of.

    Args:
        maps: the features that each position would give alone, [h, w, D].
        head: the classifier.
        label: number of the class.

    Returns:
        [h, w], in units of log odds (natural logarithm).
    """
    logits = maps.astype(np.float64) @ head.weights.astype(np.float64) + head.bias  # [h, w, U]
    if logits.shape[2] == 1:
        return logits[..., 0] if label == 1 else -logits[..., 0]
    others = np.delete(logits, label, axis=2)
    shares = softmax(others.mean(axis=(0, 1)))  # [L - 1]
    return np.asarray(logits[..., label] - others @ shares - entr(shares).sum())


@dataclass(frozen=True)
class Neighbours:
    """The nearest reference images of each image, the nearest first."""

    places: "NDArray[np.int64]"
    """[N, k], numbers of reference images; -1 where there are no more"""
    similarities: "NDArray[np.float32]"
    """[N, k], cosines, -1..1; -inf where there are no more"""


def nearest(
    features: "NDArray[np.float32]",
    reference: "NDArray[np.float32]",
    k: int,
    units: "NDArray[np.int64] | None" = None,
    reference_units: "NDArray[np.int64] | None" = None,
) -> Neighbours:
    """The k reference images of the largest cosine; of equal ones the first.

    Args:
        features: of the images, [N, D].
        reference: features to search, [M, D].
        k: how many of each; M where there are fewer.
        units: of the images, [N]; with ``reference_units``, images of its own unit (itself, its copies, its group)
            are no neighbours of an image.
        reference_units: [M].

    Returns:
        Exact neighbours, by a matrix product a block of images; memory does not grow with N.
    """
    k = min(k, len(reference))
    near, scaled = _scaled(features), _scaled(reference)
    places = np.empty((len(near), k), np.int64)
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
            places[row], similarities[row] = found, of_row[found]
    places[np.isneginf(similarities)] = -1
    return Neighbours(places, similarities)


def _scaled(features: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Rows of length 1; rows of zeros stay, and are like nothing."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(lengths > 0, lengths, 1), np.float32)
