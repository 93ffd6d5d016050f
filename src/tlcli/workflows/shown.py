"""The images of a run's page: fields of the confusion matrix, the errors that tell most, pairs of copies.

Shapes: N test images, L labels, D features.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tlcli.datasets.index import Index, LabelledImage
from tlcli.engines.interface import Engine
from tlcli.evaluation.explain import heat, nearest
from tlcli.images.decode import BadImageError, prepare, read
from tlcli.images.decoder import Item
from tlcli.model.bundle import Bundle
from tlcli.reports.overlays import overlay
from tlcli.reports.page import Case, Cell, Thumbnail, percent
from tlcli.reports.thumbnails import data_address, thumbnail
from tlcli.system.prefetch import ahead

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALL, LARGE = 112, 224
"""Pixels of an image among others, and of one that is explained."""
_IN_A_FIELD, _IN_ALL = 24, 480
"""Images of one field, and of all fields together: 2 MB of the page, 6 MB if all of them were noise."""
_ERRORS, _UNSURE, _NEIGHBOURS = 12, 6, 4


@dataclass(frozen=True)
class Answers:
    """The test images, and what the head says to them."""

    images: Sequence[LabelledImage]
    truth: "NDArray[np.int64]"
    """[N]"""
    probabilities: "NDArray[np.float64]"
    """[N, L]"""

    @property
    def predicted(self) -> "NDArray[np.int64]":
        """[N]"""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def confidence(self) -> "NDArray[np.float64]":
        """[N], of the answer"""
        return np.asarray(self.probabilities.max(axis=1))

    def worst(self) -> "NDArray[np.int64]":
        """The errors of the highest confidence, the worst first."""
        wrong = np.flatnonzero(self.predicted != self.truth)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:_ERRORS]

    def least_sure(self) -> "NDArray[np.int64]":
        """The right answers of the lowest confidence, the least sure first."""
        right = np.flatnonzero(self.predicted == self.truth)
        return right[np.argsort(self.confidence[right], kind="stable")][:_UNSURE]


def thumbnails(images: Sequence[LabelledImage], bundle: Bundle, notes: Mapping[int, str] = {}) -> list[Thumbnail]:
    """Each image as the backbone sees it, small; ``notes`` by place."""
    small = ahead(lambda one: thumbnail(one.path, bundle.preparation, SMALL), images)
    return [
        Thumbnail(one.name, future.result(), one.label, notes.get(place, ""))
        for place, (one, future) in enumerate(small)
    ]


def fields(answers: Answers, bundle: Bundle) -> list[Cell]:
    """Every field of the confusion matrix that has images; errors are shown before what is right."""
    labels = bundle.manifest.labels
    members: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place in np.argsort(-answers.confidence, kind="stable"):  # the errors that were surest come first
        members[int(answers.truth[place]), int(answers.predicted[place])].append(int(place))
    shown = _allotted(members)
    places = [place for part in shown.values() for place in part]
    notes = {
        number: f"{labels[answers.predicted[place]]} {percent(answers.confidence[place], 0)}"
        for number, place in enumerate(places)
    }
    ready = thumbnails([answers.images[place] for place in places], bundle, notes)
    ends = np.cumsum([0, *(len(part) for part in shown.values())])
    of_field = {field: tuple(ready[a:b]) for field, (a, b) in zip(shown, pairwise(ends), strict=True)}
    totals = np.bincount(answers.truth, minlength=len(labels))
    return [
        Cell(
            labels[true], labels[predicted], f"cell-{true}-{predicted}", len(found), len(found) / int(totals[true]),
            of_field.get((true, predicted), ()),
        )
        for (true, predicted), found in sorted(members.items())
    ]  # fmt: skip


def _allotted(members: Mapping[tuple[int, int], list[int]]) -> dict[tuple[int, int], list[int]]:
    """Which images of each field are shown: of all errors about as many, then of what is right, the least sure."""
    order = sorted(members, key=lambda field: (field[0] == field[1], -len(members[field]), field))
    left, shown = _IN_ALL, {}
    for number, field in enumerate(order):
        is_right = field[0] == field[1]
        found = members[field][::-1] if is_right else members[field]
        fields_left = sum((one[0] == one[1]) == is_right for one in order[number:])
        shown[field] = found[: min(_IN_A_FIELD, max(1, left // fields_left), left)]
        left -= len(shown[field])
    return {field: part for field, part in shown.items() if part}


def cases(
    places: "NDArray[np.int64]", answers: Answers, index: Index, bundle: Bundle,
    engine: Callable[[], Engine],
) -> list[Case]:  # fmt: skip
    """Test images with what spoke for the answer, and the training images nearest to them; images that went away
    since they were measured are left out."""
    read_anew = [(place, _pixels(answers.images[place], bundle)) for place in places]
    left = [(place, pixels) for place, pixels in read_anew if pixels is not None]
    if not left:
        return []
    places, pixels = np.array([place for place, _ in left]), [one for _, one in left]
    chosen = [answers.images[place] for place in places]
    with closing(engine()) as opened, closing(opened.maps()) as last:
        maps = [one.result()[0] for one in [last.submit(Item(image.path)) for image in chosen]]
    near = _neighbours(np.stack([one.mean(axis=(0, 1)) for one in maps]), index, bundle)
    found = []
    for place, one, seen, last, neighbours in zip(places, chosen, pixels, maps, near, strict=True):
        predicted = int(answers.predicted[place])
        covered = overlay(seen, heat(last, bundle.head, predicted))
        shown = Thumbnail(one.name, data_address(_large(Image.fromarray(seen))), one.label)
        label, confidence = bundle.manifest.labels[predicted], float(answers.confidence[place])
        found.append(Case(shown, label, confidence, data_address(_large(covered)), neighbours))
    return found


def _pixels(one: LabelledImage, bundle: Bundle) -> "NDArray[np.uint8] | None":
    with suppress(BadImageError):
        return prepare(read(one.path, bundle.preparation), bundle.preparation)
    return None


def _large(image: Image.Image) -> Image.Image:
    return image.resize((LARGE, LARGE), Image.Resampling.BICUBIC) if image.width > LARGE else image


def _neighbours(
    features: "NDArray[np.float32]", index: Index, bundle: Bundle
) -> Iterator[tuple[Thumbnail, ...]]:  # fmt: skip
    reference = bundle.reference
    found = nearest(features, reference.features.astype(np.float32), _NEIGHBOURS)
    for places, similarities in zip(found.places, found.similarities, strict=True):
        yield tuple(
            Thumbnail(
                reference.names[place],
                thumbnail(index.root / reference.names[place], bundle.preparation, SMALL),
                bundle.manifest.labels[reference.labels[place]],
                f"cosine {similarity:.2f}",
            )
            for place, similarity in zip(places, similarities, strict=True)
        )
