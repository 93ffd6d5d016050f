"""Near copies: images that show the same, though cut, resized, mirrored, brightened or compressed otherwise.

Features say which pairs to look at; what decides is how well one small grey image lies on the other, and above all
its fine details, less what all images of the data set have in common (the wires of solar cells, a frame, a logo).

On Alien vs. Predator, with efficientnet_lite0, all pairs above 0.85 that were looked at are true ones. On solar cells
smooth cells without defects, which are alike but not the same, reach 0.88; what lies above shows the same spots in the
same places: wafers cut one after the other from one block, or one cell photographed twice.

Shapes: N images, D features, P pairs; S = 64, the side of a small image in pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from tlcli.evaluation.explain import nearest
from tlcli.features.rows import Rows
from tlcli.images.alignment import FINE, align, scaling

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 64
"""S: at 32 pixels the details that tell copies from images of one kind are gone."""
LIKENESS = 0.9
"""Above it two images are near copies."""
_SKETCHED = 256
"""Numbers that a feature is projected to: cosines are off by 0.06, and 60,000 images take 60 MB."""
_NEIGHBOURS, _COSINE = 4, 0.45
"""How many of an image's nearest are looked at, and the cosine (less the mean feature) they need."""
_CORRELATION = 0.93
"""Of grey levels, at a quarter of the pixels, without which details are not looked at."""
_WAYS = ((False, 1.0), (True, 1.0), (False, 0.8), (False, 1.25), (True, 0.8), (True, 1.25))
"""Mirrored or not, and the zoom at which the search begins."""
_DETAIL = 2.0
"""Pixels: what is left of an image less itself, blurred by that."""
_EDGE = 4
"""Pixels at the border that are left out."""
_COMMON, _SAMPLE = 64, 1024
"""Axes of what images have in common, at most, and images that they are taken from; with fewer images one axis
for 16, lest a pair of copies be taken for what all have."""
_AT_ONCE = 64


def sketch(rows: Rows) -> "NDArray[np.float32]":
    """Features, less their mean, projected to fewer numbers that keep angles (Johnson and Lindenstrauss 1984)."""
    width = min(_SKETCHED, rows.width)
    if width == rows.width:
        projected = rows.features()
    else:
        axes = np.random.default_rng(0).normal(size=(rows.width, width)).astype(np.float32)
        projected = np.concatenate([features @ axes for _, features in rows.blocks()])
    return np.asarray(projected - projected.mean(axis=0))


def candidates(sketches: "NDArray[np.float32]", of: "NDArray[np.int64]", among: "Sequence[NDArray[np.int64]]",
               units: "NDArray[np.int64]") -> "NDArray[np.int64]":  # fmt: skip
    """Pairs [P, 2] to look at, never exact copies: each image of ``of`` with its nearest ones, and with the nearest
    of every part, lest a burst in one hide its copies in another.

    Args:
        sketches: of all images [N, .].
        of: numbers of the images that are asked about.
        among: numbers of those that may be their copies, in parts (the splits).
        units: [N], equal for exact copies.
    """
    asked = [(np.concatenate(among), _NEIGHBOURS), *((part, 1) for part in among)]
    pairs = []
    for part, count in asked:
        found = nearest(sketches[of], sketches[part], count, units[of], units[part])
        rows, columns = np.nonzero(found.similarities >= _COSINE)
        pairs.append(np.stack([of[rows], part[found.places[rows, columns]]], axis=1))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


@dataclass(frozen=True)
class Common:
    """What small images of a data set have in common."""

    axes: "NDArray[np.float32]"
    """[S S, K], of details within the border; orthonormal there"""

    @classmethod
    def of(cls, images: "NDArray[np.float32]") -> "Common":
        """Of small grey images [N, S, S]; a sample of them does."""
        random = np.random.default_rng(0)
        chosen = random.choice(len(images), min(len(images), _SAMPLE), replace=False)
        details = _details(images[chosen]).reshape(len(chosen), -1)
        lengths = np.linalg.norm(details, axis=1, keepdims=True)
        values, left = np.linalg.eigh((scaled := details / np.maximum(lengths, 1e-6)) @ scaled.T)
        count = min(_COMMON, len(chosen) // 16)
        kept = np.arange(len(values))[::-1][:count]
        axes = scaled.T @ (left[:, kept] / np.sqrt(np.maximum(values[kept], 1e-6)))
        return cls(np.asarray(axes, np.float32))


def likeness(
    first: "NDArray[np.float32]", second: "NDArray[np.float32]", common: Common
) -> "NDArray[np.float64]":  # fmt: skip
    """How alike two small grey images are, [P], -1 to 1: the correlation of their details where they overlap.

    Args:
        first: [P, S, S].
        second: [P, S, S]; each is laid on its first, mirrored where that is better.
        common: what all images have.
    """
    result = np.zeros(len(first))
    for is_mirrored, chosen, begin in _roughly_placed(_halved(first), _halved(second)):
        placed = align(first[chosen], _turned(second[chosen], is_mirrored), begin, FINE)
        for start in range(0, len(chosen), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            details = _of_details(first[chosen[part]], placed.warped[part], placed.overlap[part], common.axes)
            result[chosen[part]] = np.where(placed.correlation[part] >= _CORRELATION, details, 0)
    return result


def _roughly_placed(
    first: "NDArray[np.float32]", second: "NDArray[np.float32]"
) -> "Iterator[tuple[bool, NDArray[np.int64], NDArray[np.float64]]]":
    """Of images of half the size [P, S / 2, S / 2]: pairs that can be laid on one another, mirrored or not, and where
    to begin at the whole size, [p, 4]."""
    left = np.arange(len(first))
    for is_mirrored, zoom in _WAYS:
        tried = align(first[left], _turned(second[left], is_mirrored), scaling(len(left), zoom))
        found = tried.correlation >= _CORRELATION
        yield is_mirrored, left[found], tried.transform[found] * (1, 1, 2, 2)
        left = left[~found]


def _of_details(
    first: "NDArray[np.float32]", moved: "NDArray[np.float32]", inside: "NDArray[np.bool_]", axes: "NDArray[np.float32]"
) -> "NDArray[np.float64]":
    """[p]: correlation of what is left of details after the common axes, fitted where both have pixels."""
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
    """[p, S, S] less themselves blurred; 0 at the border."""
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
