"""Near duplicates: images that show the same, though cropped, resized, mirrored, brightened or recompressed.

Candidates come from stored features, and :mod:`tlcli.evaluation.image_similarity` decides.
Shapes: N images, P pairs, S the side of a small grey image in pixels.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlcli.datasets.index import LabelledImage
from tlcli.datasets.split_names import SPLITS, SplitName
from tlcli.evaluation.image_similarity import (
    SIDE,
    SIMILARITY,
    WAYS,
    SharedComponents,
    candidates,
    projected,
    similarity,
)
from tlcli.evaluation.inspection import Duplicate, in_order_of_splits
from tlcli.features.rows import Rows
from tlcli.images.decode import BadImageError
from tlcli.images.preparation import Preparation
from tlcli.images.statistics import image_statistics
from tlcli.progress import SILENT, Progress
from tlcli.system.prefetch import ahead

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PAIRS = 2048
"""Pairs compared at once: 64 MB."""
_SAMPLE = 1024
"""Images that the shared components are computed from."""


def find_near_duplicates(
    images: Sequence[LabelledImage],
    rows: Rows,
    preparation: Preparation,
    between: tuple[SplitName, SplitName] | None = None,
    known: "Mapping[str, NDArray[np.uint8]] | None" = None,
    progress: Progress = SILENT,
) -> list[Duplicate]:
    """Finds pairs of near duplicates (similarity 0.9 to 1), the most similar first.

    Args:
        images: all images concerned.
        rows: features of these plain images, in the same order.
        preparation: decodes them.
        between: each pair has an image of the first split and one of the second. None: any two images.
        known: small grey versions, uint8 [S, S], by sha256; the others are decoded.
        progress: receives the stages.
    """
    _, contents = np.unique([image.sha256 for image in images], return_inverse=True)
    members = {split: np.flatnonzero([image.split == split for image in images]) for split in SPLITS}
    with progress.stage("Searching for near duplicates"):
        asked = members[between[0]] if between else np.arange(len(images))
        others = [part for split, part in members.items() if len(part) and (not between or split == between[1])]
        pairs = candidates(projected(rows), asked, others, contents)
        sample = np.random.default_rng(0).permutation(len(images))[:_SAMPLE]
        small = _small([images[number] for number in np.union1d(pairs, sample)], known or {}, preparation)
        readable = [images[number].sha256 for number in sample if images[number].sha256 in small]
        shared = SharedComponents.of(_stacked([small[sha256] for sha256 in readable]))
    found = []
    with progress.stage("Comparing images", len(pairs) * len(WAYS), "alignments"):
        for start in range(0, len(pairs), _PAIRS):
            part = [(images[a], images[b]) for a, b in pairs[start : start + _PAIRS]]
            part = [(a, b) for a, b in part if a.sha256 in small and b.sha256 in small]
            left, right = (_stacked([small[pair[side].sha256] for pair in part]) for side in (0, 1))
            scores = similarity(left, right, shared, progress)
            for pair, score in zip(part, scores, strict=True):
                if score >= SIMILARITY:
                    first, second = in_order_of_splits(pair)
                    found.append(Duplicate(first, second, "near", float(score)))
    return sorted(found, key=lambda one: -one.similarity)


def _small(
    images: Sequence[LabelledImage], known: "Mapping[str, NDArray[np.uint8]]", preparation: Preparation
) -> "dict[str, NDArray[np.uint8]]":
    """Small grey versions by sha256; images that are no longer readable are left out."""
    small = {one.sha256: known[one.sha256] for one in images if one.sha256 in known}
    missing = list({one.sha256: one for one in images if one.sha256 not in small}.values())
    for one, future in ahead(lambda one: image_statistics(one.path, preparation, SIDE)[1], missing):
        try:
            small[one.sha256] = future.result()
        except BadImageError:
            continue
    return small


def _stacked(images: "Sequence[NDArray[np.uint8]]") -> "NDArray[np.float32]":
    """[P, S, S]"""
    return np.stack(images).astype(np.float32) if images else np.empty((0, SIDE, SIDE), np.float32)
