"""The training images that a bundle carries: the reference for explanations and for out-of-distribution detection.

Shapes: N images, M reference images, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tlcli.features.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IMAGES = 1000
"""Reference images at most: 2.6 MB of efficientnet_lite0's features, 3.8 MB of DenseNet201's."""
_MEASURED = 4000
"""Images that the limit is computed from, at most."""
_WITHIN = 0.99
"""Share of the training images that lie within the limit."""

_VERSIONS = 12
"""Versions of an image that are recognised, at most."""
_RISE = 2.0
"""Versions are nearer to one another than this ratio; few plain images have such a rise among their neighbours."""
_SAME = 1e-6
"""Cosine distance of images that are equal but for rounding."""


@dataclass(frozen=True)
class Reference:
    """Training images that new ones are compared with."""

    features: "NDArray[np.float16]"
    """[M, D], of length 1 each"""
    labels: "NDArray[np.int64]"
    """[M], class numbers"""
    names: tuple[str, ...]
    """[M], as in the index"""
    limit: float
    """Cosine distance from the nearest of them above which an image is out of distribution."""

    def similarities(self, features: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Cosines between features [N, D] and those of the reference images, [N, M]; 0 for a feature of zeros."""
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        cosines = features / np.where(lengths > 0, lengths, 1) @ self._rows.T
        return np.asarray(np.clip(cosines, -1, 1))  # rows rounded to float16 are up to 1.0005 long

    def out_of_distribution(self, rows: Rows) -> float:
        """Share of the rows that are beyond the limit."""
        far = [self.similarities(features).max(axis=1) < 1 - self.limit for _, features in rows.blocks()]
        return float(np.concatenate(far).mean())

    def versions(self, features: "NDArray[np.float32]") -> "NDArray[np.int64]":
        """The reference image that each image [N] seems to be a version of (a copy, a crop, a mirror image): the
        nearest, where the distances of its neighbours rise as :func:`distances_of_others` has it; else -1.

        A suspicion only: on solar cells it finds 88 % of mirrored copies, 69 % of brightened ones and 18 % of crops by
        a tenth, and also says so of 7 % of other images.
        """
        from tlcli.evaluation.nearest import nearest  # noqa: PLC0415 - not for predict

        near = nearest(features, self._rows, _VERSIONS + 1)
        return np.where(_versions(1 - near.similarities) > 0, near.numbers[:, 0], -1)

    @cached_property
    def _rows(self) -> "NDArray[np.float32]":
        return self.features.astype(np.float32)


def distances_of_others(distances: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """The distance of each image [N] from the nearest image that is no version of it.

    Tools that export augmented images, and videos, give several versions of an image, which are much nearer to one
    another than to any other image: where the distances of the nearest neighbours rise to twice the one before, the
    neighbours before that are versions (measured by bench/none_of_these.py).

    Args:
        distances: of the nearest images [N, k], the nearest first; not finite where there are no more.
    """
    return np.asarray(distances[np.arange(len(distances)), _versions(distances)])


def _versions(distances: "NDArray[np.float32]") -> "NDArray[np.int64]":
    """How many of the nearest images [N, k] are versions of each image [N]."""
    known = np.isfinite(distances[:, 1:])
    ratios = np.where(known, distances[:, 1:], 0) / np.maximum(np.where(known, distances[:, :-1], 1), _SAME)
    place = np.where(ratios.max(axis=1, initial=0) >= _RISE, ratios.argmax(axis=1) + 1 if ratios.size else 0, 0)
    return np.asarray(place, np.int64)


def build_reference(rows: Rows, names: Sequence[str], seed: int) -> Reference:
    """Chooses training images, evenly of all classes, and computes the limit that few training images exceed.

    The distance is the cosine distance to the nearest image (Sun et al. 2022, "Out-of-distribution detection with deep
    nearest neighbors", with k = 1), without images of an image's own unit and other versions of the same image (see
    :func:`distances_of_others`), as new images have none.

    Args:
        rows: features of the plain training images [N, D].
        names: of these images [N].
        seed: of the choice.
    """
    from tlcli.evaluation.nearest import nearest  # noqa: PLC0415 - not for predict

    order = np.random.default_rng(seed).permutation(len(rows))
    turn = np.empty(len(rows), np.int64)  # position of an image among those of its class
    for label in np.unique(rows.labels):
        members = order[rows.labels[order] == label]
        turn[members] = np.arange(len(members))
    chosen = np.sort(np.lexsort((np.arange(len(rows)), turn))[:_IMAGES])
    features = rows.read(chosen)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features /= np.where(lengths > 0, lengths, 1)
    measured = np.sort(order[:_MEASURED])
    near = nearest(rows.read(measured), features, _VERSIONS + 1, rows.units[measured], rows.units[chosen])
    distances = distances_of_others(1 - near.similarities)
    distances = distances[np.isfinite(distances)]
    limit = float(np.quantile(distances, _WITHIN)) if len(distances) else 2.0
    return Reference(
        features.astype(np.float16),
        rows.labels[chosen],
        tuple(names[number] for number in chosen),
        min(max(limit, 0.0), 2.0),
    )
