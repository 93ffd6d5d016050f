"""Similarity of images: which pairs of images are candidates for near duplicates, and how similar their pixels are.

Features select candidate pairs. Their similarity is measured on small grey images: one is aligned with the other, and
fine details are correlated, without the components that all images of the data set share (the wires of solar cells, a
frame, a logo).

On Alien vs. Predator, with efficientnet_lite0, all inspected pairs above 0.85 are near duplicates. On solar cells
smooth cells without defects, which are similar but not the same, reach 0.88; pairs above show the same spots at the
same positions: wafers cut one after the other from one block, or one cell photographed twice.

Shapes: N images, D features, P pairs; S = 64, the side of a small image in pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from tlcli.evaluation.nearest import nearest
from tlcli.features.rows import Rows
from tlcli.images.alignment import COARSE, FINE, align, scaling
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 64
"""S: at 32 pixels the details are gone that distinguish near duplicates from images of one kind."""
SIMILARITY = 0.9
"""From it on two images are near duplicates."""
_PROJECTED = 256
"""Dimensions that features are projected to: cosines are off by 0.06, and 60,000 images take 60 MB."""
_NEIGHBOURS, _COSINE = 4, 0.45
"""Nearest images of each image that become candidates, and the least cosine of centred features."""
_CORRELATION = 0.93
"""Least correlation of grey levels, at a quarter of the pixels; below it details are not compared."""
_HOPELESS = 0.4
"""Correlation after the alignment of blurred images, below which it is not refined: that of 86 near duplicates of solar
cells is at least 0.65."""
WAYS = ((False, 1.0), (True, 1.0), (False, 0.8), (False, 1.25), (True, 0.8), (True, 1.25))
"""Mirrored or not, and the initial zoom of the alignment."""
_DETAIL = 2.0
"""Sigma in pixels of the blur that is subtracted to get the details."""
_EDGE = 4
"""Pixels at the border that are ignored."""
_COMPONENTS, _SAMPLE = 64, 1024
"""Shared components at most, and images they are computed from; with fewer images one for every 16, so that a pair of
duplicates does not become a component."""
_AT_ONCE = 64


def projected(rows: Rows) -> "NDArray[np.float32]":
    """Centred features, randomly projected to fewer dimensions, which keeps angles (Johnson and Lindenstrauss 1984)."""
    width = min(_PROJECTED, rows.width)
    if width == rows.width:
        features = rows.features()
    else:
        axes = np.random.default_rng(0).normal(size=(rows.width, width)).astype(np.float32)
        features = np.concatenate([block @ axes for _, block in rows.blocks()])
    return np.asarray(features - features.mean(axis=0))


def candidates(features: "NDArray[np.float32]", of: "NDArray[np.int64]", among: "Sequence[NDArray[np.int64]]",
               units: "NDArray[np.int64]") -> "NDArray[np.int64]":  # fmt: skip
    """Candidate pairs [P, 2], without exact duplicates: each image of ``of`` with its nearest, and with the nearest of
    every part, so that a burst in one split does not hide its duplicates in another.

    Where all images are compared, the further neighbours count only in both directions: on solar cells this
    leaves 4,173 of 6,988 pairs, and 85 of 86 near duplicates.

    Args:
        features: projected, of all images [N, .].
        of: numbers of the images whose duplicates are wanted.
        among: numbers of the images that may be their duplicates, in parts (the splits).
        units: [N], equal for exact duplicates.
    """
    asked = [(np.concatenate(among), _NEIGHBOURS), *((part, 1) for part in among)]
    pairs = []
    for part, count in asked:
        found = nearest(features[of], features[part], count, units[of], units[part])
        rows, columns = np.nonzero(found.similarities >= _COSINE)
        joined = np.stack([of[rows], part[found.numbers[rows, columns]]], axis=1)
        if count > 1 and len(of) == len(part):
            joined = joined[(columns == 0) | _is_mutual(joined)]
        pairs.append(joined)
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _is_mutual(pairs: "NDArray[np.int64]") -> "NDArray[np.bool_]":
    """Which of the pairs [P, 2], from an image to one of its nearest, occur in both directions [P]."""
    _, kind, count = np.unique(np.sort(pairs, axis=1), axis=0, return_inverse=True, return_counts=True)
    return np.asarray(count[kind.ravel()] > 1)


@dataclass(frozen=True)
class SharedComponents:
    """Principal components that the details of a data set's images share."""

    axes: "NDArray[np.float32]"
    """[S S, K], K components of the details within the border; orthonormal there"""

    @classmethod
    def of(cls, images: "NDArray[np.float32]") -> "SharedComponents":
        """Computes them from a sample of small grey images [N, S, S]."""
        random = np.random.default_rng(0)
        chosen = random.choice(len(images), min(len(images), _SAMPLE), replace=False)
        details = _details(images[chosen]).reshape(len(chosen), -1)
        lengths = np.linalg.norm(details, axis=1, keepdims=True)
        values, left = np.linalg.eigh((scaled := details / np.maximum(lengths, 1e-6)) @ scaled.T)
        count = min(_COMPONENTS, len(chosen) // 16)
        kept = np.arange(len(values))[::-1][:count]
        axes = scaled.T @ (left[:, kept] / np.sqrt(np.maximum(values[kept], 1e-6)))
        return cls(np.asarray(axes, np.float32))


def similarity(
    first: "NDArray[np.float32]", second: "NDArray[np.float32]", shared: SharedComponents, progress: Progress = SILENT
) -> "NDArray[np.float64]":
    """Similarity of pairs of small grey images [P], -1 to 1: the correlation of their details where they overlap.

    Args:
        first: [P, S, S].
        second: [P, S, S]; each is aligned with its first, mirrored where that is better.
        shared: components that all images have.
        progress: is told of all P pairs after each of the :data:`WAYS` in which they are tried.
    """
    result = np.zeros(len(first))
    for is_mirrored, chosen, begin in _roughly_aligned(_halved(first), _halved(second)):
        placed = align(first[chosen], _turned(second[chosen], is_mirrored), begin, FINE)
        for start in range(0, len(chosen), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            details = _correlation_of_details(
                first[chosen[part]], placed.warped[part], placed.overlap[part], shared.axes
            )
            result[chosen[part]] = np.where(placed.correlation[part] >= _CORRELATION, details, 0)
        progress.advance(len(first))
    return result


def _roughly_aligned(
    first: "NDArray[np.float32]", second: "NDArray[np.float32]"
) -> "Iterator[tuple[bool, NDArray[np.int64], NDArray[np.float64]]]":
    """Aligns images of half the size [P, S / 2, S / 2]. Yields whether the second is mirrored, the numbers of the pairs
    that correlate, and the initial alignment at full size, [p, 4]."""
    left = np.arange(len(first))
    for is_mirrored, zoom in WAYS:
        turned = _turned(second[left], is_mirrored)
        blurred = align(first[left], turned, scaling(len(left), zoom), COARSE[:1])
        close = np.flatnonzero(blurred.correlation >= _HOPELESS)
        tried = align(first[left[close]], turned[close], blurred.transform[close], COARSE[1:])
        found = tried.correlation >= _CORRELATION
        yield is_mirrored, left[close[found]], tried.transform[found] * (1, 1, 2, 2)
        left = np.delete(left, close[found])


def _correlation_of_details(
    first: "NDArray[np.float32]", moved: "NDArray[np.float32]", inside: "NDArray[np.bool_]", axes: "NDArray[np.float32]"
) -> "NDArray[np.float64]":
    """[p]: correlation of details after the shared components are fitted and removed where both have pixels."""
    inner = _inner(inside.shape[1])
    mask = (inside & inner).reshape(len(first), -1)  # [p, S S]
    whole = mask.sum(axis=1) == inner.sum()
    fitted = np.tile(
        np.eye(axes.shape[1], dtype=np.float32), (len(first), 1, 1)
    )  # axes are orthonormal within the border
    for place in np.flatnonzero(~whole):
        seen = axes[mask[place]]
        fitted[place] = seen.T @ seen + 1e-3 * np.eye(axes.shape[1], dtype=np.float32)
    left = []
    for images in (first, moved):
        details = _details(images).reshape(len(first), -1) * mask
        shares = np.linalg.solve(fitted, (details @ axes)[:, :, None])[:, :, 0]
        left.append(details - (shares @ axes.T) * mask)
    a, b = left
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(lengths, 1e-9), np.float64)


def _details(images: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """[p, S, S] minus themselves blurred; 0 at the border."""
    blurred = gaussian_filter(images, (0, _DETAIL, _DETAIL))
    return np.asarray((images - blurred) * _inner(images.shape[1]), np.float32)


def _inner(side: int) -> "NDArray[np.bool_]":
    inner = np.zeros((side, side), bool)
    inner[_EDGE:-_EDGE, _EDGE:-_EDGE] = True
    return inner


def _halved(images: "NDArray[np.float32]") -> "NDArray[np.float32]":
    count, side, _ = images.shape
    return np.asarray(images.reshape(count, side // 2, 2, side // 2, 2).mean(axis=(2, 4)))


def _turned(images: "NDArray[np.float32]", is_mirrored: bool) -> "NDArray[np.float32]":
    return np.ascontiguousarray(images[:, :, ::-1]) if is_mirrored else images
