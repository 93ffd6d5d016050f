"""What one model gains over another on the same images: numbers that several programs of bench/ print.

Shapes: N images, L classes, B resamples; labels int [N], probabilities [N, L].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.evaluation.balanced_difference import balanced_difference
from tlcli.evaluation.compare import clustered_difference, paired_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Answers:
    """What a model answers on the test images of one split, as they are and in shifted copies."""

    contents: tuple[str, ...]
    """[N], sha256 of the images"""
    labels: "NDArray[np.int64]"
    """[N]"""
    probabilities: "dict[str, NDArray[np.float64]]"
    """By the name of the view, [N, L]."""

    def is_right(self, view: str) -> "NDArray[np.bool_]":
        """[N]"""
        return np.asarray(self.probabilities[view].argmax(axis=1) == self.labels)


@dataclass(frozen=True)
class Gain:
    """Accuracy of the second minus that of the first, between -1 and 1."""

    difference: float
    interval: tuple[float, float]
    """95 %, of these trained models, over images."""
    cautious: tuple[float, float]
    """95 %, over other training images, too."""
    p: float
    """Two-sided, of the former."""
    images: int
    """Test images, each as often as it is in a test set."""
    distinct: int
    """Of these, units that are independent."""


def pooled_gain(
    first: Sequence[Answers], second: Sequence[Answers], unit_of: Mapping[str, int], view: str, test_share: float
) -> Gain:
    """The gain over several random splits of the same data.

    An image that several splits test counts in each of them, but these are no independent images: they are one unit,
    with its near duplicates, and the interval is that of the units' sums (a cluster-robust variance). The cautious one
    also allows for the training images that the splits share: Nadeau & Bengio 2003 (Machine Learning 52, section 3)
    take ``1/J + n_test/n_train`` in place of ``1/J``.

    Args:
        first: of one model, of each split.
        second: of the other, of the same images in the same order.
        unit_of: from the sha256 of an image to the number of its unit.
        view: of the images.
        test_share: images of the test set, as a share of those and the training images.

    Raises:
        ValueError: the images are not the same.
    """
    for one, other in zip(first, second, strict=True):
        if one.contents != other.contents:
            raise ValueError("both models need the same images in the same order")
    before, after = (np.concatenate([one.is_right(view) for one in some]) for some in (first, second))
    units = np.array([unit_of[content] for one in first for content in one.contents])
    counts = (int((b & a).sum()) for b, a in ((before, after), (before, ~after), (~before, after), (~before, ~after)))
    plain, gained = paired_difference(*counts), after.astype(np.int64) - before
    splits = len(first)
    inflation = 1.0 if splits < 2 else 1 + splits * test_share / (1 - test_share)
    found, cautious = (clustered_difference(plain, gained, units, factor) for factor in (1.0, inflation))
    return Gain(
        found.difference, (found.low, found.high), (cautious.low, cautious.high), found.p, len(units),
        len(np.unique(units)),
    )  # fmt: skip


def balanced_accuracy(labels: "NDArray[np.int64]", predicted: "NDArray[np.int64]") -> float:
    """Mean recall of the classes that occur."""
    return float(np.mean([np.mean(predicted[labels == label] == label) for label in np.unique(labels)]))


def balanced_gain(
    labels: "NDArray[np.int64]", units: "NDArray[np.int64]", first: "NDArray[np.int64]", second: "NDArray[np.int64]"
) -> tuple[float, tuple[float, float]]:
    """Balanced accuracy of the second's answers minus that of the first's, and its 95 % bootstrap interval over units.

    Args:
        labels: the ground truth [N].
        units: which images belong together [N].
        first: answers of one model [N].
        second: of the other.
    """
    gained = (second == labels).astype(np.int64) - (first == labels)
    found = balanced_difference(labels, gained, units)
    return found.difference, (found.low, found.high)
