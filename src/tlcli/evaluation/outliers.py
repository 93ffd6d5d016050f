"""Outliers: images unlike all others of a data set; and one image that stands under several labels.

Shapes: N images, D features, R reference images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.datasets.index import LabelledImage
from tlcli.evaluation.nearest import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.features.rows import Rows

_K = 5
"""Neighbours of an image: the distance from the fifth also shows strangers of which there are two to five alike."""
_REFERENCE = 4000
"""Images that neighbours are searched among, at most, so that the time grows with N and not with its square."""
_FEWEST = 20
"""Images without which nothing can be said of what is usual."""
_FARTHEST = 15
"""Images that are returned at least: of 10 strangers among 400 images all are among these, few are beyond a limit."""
_SHOWN = 3
"""Nearest images of its own class that are kept of each outlier."""
_FIRST, _SECOND = 3.0, 2.75
"""Standard deviations of a normal distribution; measured by bench/outliers.py."""
_QUARTILE, _DECILE = 0.6745, 1.2816
"""Upper quartile and upper decile of the standard normal distribution."""
_SAME = 1e-6
"""Cosine distance of images that are equal but for rounding."""


@dataclass(frozen=True)
class Outlier:
    """An image that is among the farthest from all others."""

    image: LabelledImage
    distance: float
    """From its fifth nearest other image: cosine distance of the features, 0 to 2."""
    score: float = 1.0
    """The distance as a multiple of the limit for its class."""
    neighbours: tuple[LabelledImage, ...] = ()
    """The nearest images of its own class, the nearest first."""

    @property
    def is_outlier(self) -> bool:
        """Beyond the limit."""
        return self.score > 1


def find_outliers(images: Sequence[LabelledImage], rows: "Rows") -> tuple[Outlier, ...]:
    """The farthest 15 images, and all outliers: those farther from their fifth nearest image than
    :func:`distance_limit` of all such distances, and of those of their class where that has 20 images or more:
    images of a rare class are far from all others, too.

    The features are compared as they are, not centred: what the images of a data set have in common is what an image
    of another kind lacks, and without it 0 to 2 of 10 strangers stand out among 390 images, not 10 (bench/outliers.py).

    Args:
        images: to compare with one another.
        rows: their features; rows of one unit (a group, copies) are not compared.

    Returns:
        The farthest first, outliers or not; none of fewer than 20 images.
    """
    if len(images) < _FEWEST:
        return ()
    sample = np.sort(np.random.default_rng(0).permutation(len(images))[:_REFERENCE])
    reference = rows.read(sample)
    distances = neighbour_distances(rows, reference, rows.units[sample])
    limits = np.full(len(images), distance_limit(distances))
    for label in np.unique(rows.labels):
        own = rows.labels == label
        if own.sum() >= _FEWEST:
            limits[own] = np.maximum(limits[own], distance_limit(distances[own]))
    scores = distances / limits
    order = np.argsort(-distances, kind="stable")
    order = order[(scores[order] > 1) | ((np.arange(len(order)) < _FARTHEST) & (distances[order] > _SAME))]
    return tuple(
        Outlier(
            images[number],
            float(distances[number]),
            float(scores[number]),
            _of_own_class(images, rows, number, sample, reference),
        )
        for number in order
    )


def neighbour_distances(
    rows: "Rows", reference: "NDArray[np.float32]", units: "NDArray[np.int64]"
) -> "NDArray[np.float64]":
    """Cosine distance of each row [N] from its fifth nearest reference image [R, D] of another unit; 0 where there are
    fewer."""
    found = [
        nearest(features, reference, _K, rows.units[place], units).similarities[:, -1]
        for place, features in rows.blocks()
    ]
    distances = 1 - np.concatenate(found).astype(np.float64)
    return np.asarray(np.where(np.isfinite(distances), np.clip(distances, 0, 2), 0))


def distance_limit(distances: "NDArray[np.float64]") -> float:
    """The distance above which an image is an outlier.

    The logarithms of distances are roughly normal, with a longer upper tail that differs from one data set to another.
    So the upper half is fitted twice: by its quartile, which a tenth of strangers moves little, and, without what is
    beyond 3 standard deviations of that, by its decile, which follows the tail. The limit is at 2.75.
    """
    logs = np.log(np.maximum(distances, _SAME))
    middle, quartile = np.quantile(logs, (0.5, 0.75))
    usual = logs[logs <= middle + _FIRST / _QUARTILE * (quartile - middle)]
    middle, decile = np.quantile(usual, (0.5, 0.9))
    return float(np.exp(middle + _SECOND / _DECILE * (decile - middle)))


def _of_own_class(
    images: Sequence[LabelledImage], rows: "Rows", number: int, sample: "NDArray[np.int64]",
    reference: "NDArray[np.float32]",
) -> tuple[LabelledImage, ...]:  # fmt: skip
    own = np.flatnonzero((rows.labels[sample] == rows.labels[number]) & (rows.units[sample] != rows.units[number]))
    found = nearest(rows.read(np.array([number])), reference[own], _SHOWN)
    return tuple(images[sample[own[place]]] for place in found.numbers[0])


def under_several_labels(
    pairs: Sequence[tuple[LabelledImage, LabelledImage]],
) -> tuple[tuple[LabelledImage, ...], ...]:
    """Images that show the same and stand under several labels.

    Args:
        pairs: exact and near duplicates.

    Returns:
        One group for each repeated image, the largest first: all of its copies, in the order of their names.
    """
    groups: dict[str, dict[str, LabelledImage]] = {}
    for first, second in pairs:
        joined = groups.get(first.name, {first.name: first}) | groups.get(second.name, {second.name: second})
        groups.update(dict.fromkeys(joined, joined))
    distinct = {min(group): group for group in groups.values()}
    found = [tuple(group[name] for name in sorted(group)) for group in distinct.values()]
    several = [group for group in found if len({one.label for one in group}) > 1]
    return tuple(sorted(several, key=lambda group: (-len(group), group[0].name)))
