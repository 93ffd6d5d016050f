"""Finds near copies among images whose features are stored; see :mod:`tlcli.evaluation.near_duplicates`.

Shapes: N images, P pairs, S the side of a small grey image in pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.datasets.index import LabelledImage
from tlcli.datasets.layout import SPLITS
from tlcli.evaluation.near_duplicates import LIKENESS, SIDE, Common, candidates, likeness, sketch
from tlcli.features.extractor import FeatureExtractor
from tlcli.images.decode import BadImageError
from tlcli.images.statistics import image_statistics
from tlcli.progress import SILENT, Progress
from tlcli.system.prefetch import ahead
from tlcli.workflows.measure import split_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PAIRS = 2048
"""Looked at at once: 64 MB."""
_SAMPLE = 1024
"""Images that say what all have in common."""


@dataclass(frozen=True)
class NearCopy:
    """Two images of other bytes that show the same."""

    first: LabelledImage
    second: LabelledImage
    likeness: float


def near_copies(
    of: Sequence[LabelledImage], among: Sequence[LabelledImage], labels: Sequence[str], frozen: FeatureExtractor,
    known: "Mapping[str, NDArray[np.uint8]] | None" = None, progress: Progress = SILENT,
) -> list[NearCopy]:  # fmt: skip
    """Pairs of an image of ``of`` and one of ``among``, the likest first.

    Args:
        of: the images that are asked about.
        among: those that may be copies of them; the same ones, to find copies within.
        labels: all classes.
        frozen: whose store has their features.
        known: small grey versions, uint8 [S, S], by sha256; the others are decoded.
        progress: told of the stage.
    """
    images = list(dict.fromkeys([*of, *among]))
    places = {image: place for place, image in enumerate(images)}
    _, contents = np.unique([image.sha256 for image in images], return_inverse=True)
    with progress.stage("Looking for copies"):
        sketches = sketch(split_rows(images, labels, frozen.views[:1], frozen))
        asked = np.array([places[one] for one in of], np.int64)
        by_split = ([places[one] for one in among if one.split == split] for split in SPLITS)
        others = [np.array(numbers, np.int64) for numbers in by_split if numbers]
        pairs = candidates(sketches, asked, others, contents)
        chosen = np.random.default_rng(0).permutation(len(images))[:_SAMPLE]
        small = _small([images[place] for place in np.union1d(pairs, chosen)], known or {}, frozen)
        common = Common.of(_stacked([one for place in chosen if (one := small.get(images[place].sha256)) is not None]))
        found = []
        for start in range(0, len(pairs), _PAIRS):
            part = [(images[a], images[b]) for a, b in pairs[start : start + _PAIRS]]
            part = [(a, b) for a, b in part if a.sha256 in small and b.sha256 in small]
            left, right = (_stacked([small[pair[side].sha256] for pair in part]) for side in (0, 1))
            alike = likeness(left, right, common)
            found += [NearCopy(a, b, float(x)) for (a, b), x in zip(part, alike, strict=True) if x >= LIKENESS]
    return sorted(found, key=lambda one: -one.likeness)


def _small(
    images: Sequence[LabelledImage], known: "Mapping[str, NDArray[np.uint8]]", frozen: FeatureExtractor
) -> "dict[str, NDArray[np.uint8]]":
    """By sha256; an image that cannot be read any more is left out."""
    small = {one.sha256: known[one.sha256] for one in images if one.sha256 in known}
    missing = list({one.sha256: one for one in images if one.sha256 not in small}.values())
    for one, future in ahead(lambda one: image_statistics(one.path, frozen.decoder.preparation, SIDE)[1], missing):
        try:
            small[one.sha256] = future.result()
        except BadImageError:
            continue
    return small


def _stacked(images: "Sequence[NDArray[np.uint8]]") -> "NDArray[np.float32]":
    """[P, S, S]"""
    return np.stack(images).astype(np.float32) if images else np.empty((0, SIDE, SIDE), np.float32)
