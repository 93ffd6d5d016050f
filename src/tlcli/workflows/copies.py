"""Finds near copies among pictures whose features are stored; see :mod:`tlcli.evaluation.twins`.

Shapes: N pictures, P pairs, S the side of a small grey picture in pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.data.decode import BadPictureError
from tlcli.data.facts import facts_of
from tlcli.data.index import Picture
from tlcli.data.layout import SPLITS
from tlcli.evaluation.twins import LIKENESS, SIDE, Common, candidates, likeness, sketch
from tlcli.features.ahead import ahead
from tlcli.progress import SILENT, Progress
from tlcli.workflows.frozen_pass import FrozenPass
from tlcli.workflows.measure import split_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PAIRS = 2048
"""Looked at at once: 64 MB."""
_SAMPLE = 1024
"""Pictures that say what all have in common."""


@dataclass(frozen=True)
class NearCopy:
    """Two pictures of other bytes that show the same."""

    first: Picture
    second: Picture
    likeness: float


def near_copies(
    of: Sequence[Picture], among: Sequence[Picture], labels: Sequence[str], frozen: FrozenPass,
    known: "Mapping[str, NDArray[np.uint8]] | None" = None, progress: Progress = SILENT,
) -> list[NearCopy]:  # fmt: skip
    """Pairs of a picture of ``of`` and one of ``among``, the likest first.

    Args:
        of: the pictures that are asked about.
        among: those that may be copies of them; the same ones, to find copies within.
        labels: all classes.
        frozen: whose store has their features.
        known: small grey versions, uint8 [S, S], by sha256; the others are decoded.
        progress: told of the stage.
    """
    pictures = list(dict.fromkeys([*of, *among]))
    places = {picture: place for place, picture in enumerate(pictures)}
    _, contents = np.unique([picture.sha256 for picture in pictures], return_inverse=True)
    with progress.stage("Looking for copies"):
        sketches = sketch(split_rows(pictures, labels, frozen.views[:1], frozen))
        asked = np.array([places[one] for one in of], np.int64)
        by_split = ([places[one] for one in among if one.split == split] for split in SPLITS)
        others = [np.array(numbers, np.int64) for numbers in by_split if numbers]
        pairs = candidates(sketches, asked, others, contents)
        chosen = np.random.default_rng(0).permutation(len(pictures))[:_SAMPLE]
        small = _small([pictures[place] for place in np.union1d(pairs, chosen)], known or {}, frozen)
        common = Common.of(
            _stacked([one for place in chosen if (one := small.get(pictures[place].sha256)) is not None])
        )
        found = []
        for start in range(0, len(pairs), _PAIRS):
            part = [(pictures[a], pictures[b]) for a, b in pairs[start : start + _PAIRS]]
            part = [(a, b) for a, b in part if a.sha256 in small and b.sha256 in small]
            left, right = (_stacked([small[pair[side].sha256] for pair in part]) for side in (0, 1))
            alike = likeness(left, right, common)
            found += [NearCopy(a, b, float(x)) for (a, b), x in zip(part, alike, strict=True) if x >= LIKENESS]
    return sorted(found, key=lambda one: -one.likeness)


def _small(
    pictures: Sequence[Picture], known: "Mapping[str, NDArray[np.uint8]]", frozen: FrozenPass
) -> "dict[str, NDArray[np.uint8]]":
    """By sha256; a picture that cannot be read any more is left out."""
    small = {one.sha256: known[one.sha256] for one in pictures if one.sha256 in known}
    missing = list({one.sha256: one for one in pictures if one.sha256 not in small}.values())
    for one, future in ahead(lambda one: facts_of(one.path, frozen.preparation, SIDE)[1], missing):
        try:
            small[one.sha256] = future.result()
        except BadPictureError:
            continue
    return small


def _stacked(pictures: "Sequence[NDArray[np.uint8]]") -> "NDArray[np.float32]":
    """[P, S, S]"""
    return np.stack(pictures).astype(np.float32) if pictures else np.empty((0, SIDE, SIDE), np.float32)
