"""The images of a run's page: the cells of the confusion matrix, and predictions explained.

Shapes: N test images, L labels, D features, h and w positions of the last feature map.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tlcli.evaluation.labelled_predictions import Predictions
from tlcli.model.bundle import Bundle
from tlcli.model.prediction import Explanation
from tlcli.reports.overlays import overlay
from tlcli.reports.page import percent
from tlcli.reports.thumbnails import Thumbnail, data_address, fitted, thumbnail, thumbnails
from tlcli.reports.whole_images import whole_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

Explain = Callable[[Sequence[Path]], "Iterable[Explanation | None]"]
_LARGE = 224
"""Pixels of the longer side of an image that is explained."""
_IN_A_CELL, _IN_ALL = 24, 480
"""Images of one cell, and of all cells together: 2 MB of the page, 6 MB if all of them were noise."""
_NEIGHBOURS, _OUT_OF_FOLD = 4, 24


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion matrix that has images."""

    true: str
    predicted: str
    anchor: str
    """Its id in the page."""
    count: int
    share: float
    """Of the true class's images."""
    images: tuple[Thumbnail, ...]
    """Some or all of them."""

    @property
    def is_correct(self) -> bool:
        """Whether it lies on the diagonal."""
        return self.true == self.predicted


def confusion_cells(predictions: Predictions, bundle: Bundle) -> list[Cell]:
    """Every cell of the confusion matrix that has images; more errors than correct predictions are shown."""
    labels, confidence = bundle.manifest.labels, predictions.confidence
    members: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number in np.argsort(-confidence, kind="stable"):  # the most confident errors come first
        members[int(predictions.truth[number]), int(predictions.predicted[number])].append(int(number))
    shown = _allotted(members)
    numbers = [number for part in shown.values() for number in part]
    notes = [f"{labels[predictions.predicted[number]]} {percent(confidence[number], 0)}" for number in numbers]
    ready = iter(thumbnails([predictions.images[number] for number in numbers], bundle.preparation, notes))
    of_cell = {cell: tuple(islice(ready, len(part))) for cell, part in shown.items()}
    totals = np.bincount(predictions.truth, minlength=len(labels))
    return [
        Cell(
            labels[true], labels[predicted], f"cell-{true}-{predicted}", len(found), len(found) / int(totals[true]),
            of_cell.get((true, predicted), ()),
        )
        for (true, predicted), found in sorted(members.items())
    ]  # fmt: skip


def _allotted(members: Mapping[tuple[int, int], list[int]]) -> dict[tuple[int, int], list[int]]:
    """The images shown of each cell: about as many of every error, then the least confident correct predictions."""
    order = sorted(members, key=lambda cell: (cell[0] == cell[1], -len(members[cell]), cell))
    left, shown, errors = _IN_ALL, {}, sum(true != predicted for true, predicted in order)
    for number, cell in enumerate(order):
        is_correct = cell[0] == cell[1]
        found = members[cell][::-1] if is_correct else members[cell]
        cells_left = (len(order) if is_correct else errors) - number
        shown[cell] = found[: min(_IN_A_CELL, max(1, left // cells_left), left)]
        left -= len(shown[cell])
    return {cell: part for cell, part in shown.items() if part}


@dataclass(frozen=True)
class Case:
    """A test image, its prediction, and why: the evidence in the image, and the most similar training images."""

    image: Thumbnail
    predicted: str
    probability: float
    heat: str
    """The heat map of the predicted class over the image, a ``data:`` address; empty where there is none."""
    neighbours: tuple[Thumbnail, ...]
    """The nearest training images."""

    @property
    def is_correct(self) -> bool:
        """Whether the predicted class is the label."""
        return self.predicted == self.image.label


def error_thumbnails(predictions: Predictions, bundle: Bundle) -> list[Thumbnail]:
    """The misclassified images of the highest confidence, each with its label and what was predicted."""
    numbers = [n for n in predictions.worst_errors(_OUT_OF_FOLD) if not predictions.images[n].is_set_aside]
    labels, predicted, confidence = bundle.labels, predictions.predicted, predictions.confidence
    notes = [f"predicted {labels[predicted[n]]} {percent(confidence[n], 0)}" for n in numbers]
    return thumbnails([predictions.images[number] for number in numbers], bundle.preparation, notes)


def explained(
    numbers: "NDArray[np.int64]", predictions: Predictions, root: Path, bundle: Bundle, explain: Explain
) -> list[Case]:
    """Test images with their heat maps and nearest training images; images that can no longer be read are left out.

    Args:
        numbers: of the images among the predictions.
        predictions: of the test images.
        root: the data folder, in which the training images are.
        bundle: the model.
        explain: :meth:`tlcli.model.predictor.Predictor.explain`; called only where there is something to explain.
    """
    if not len(numbers):
        return []
    found = explain([predictions.images[number].path for number in numbers])
    pairs = zip(numbers, found, strict=True)
    return [_case(number, one, predictions, root, bundle) for number, one in pairs if one is not None]


def _case(number: int, explanation: Explanation, predictions: Predictions, root: Path, bundle: Bundle) -> Case:
    image, predicted = predictions.images[number], int(predictions.predicted[number])
    whole = whole_image(image.path, bundle.preparation)
    shown = Image.fromarray(explanation.pixels if whole is None else whole)
    return Case(
        Thumbnail(image.name, _large(shown), image.label),
        bundle.labels[predicted],
        float(predictions.confidence[number]),
        _heat(explanation),
        tuple(
            Thumbnail(
                near.name, thumbnail(root / near.name, bundle.preparation), near.label, f"cosine {near.similarity:.2f}"
            )
            for near in explanation.neighbours[:_NEIGHBOURS]
        ),
    )


def _heat(explanation: Explanation) -> str:
    if explanation.evidence is None:
        return ""
    pixels = np.asarray(fitted(Image.fromarray(explanation.pixels), 4 * _LARGE))
    return _large(overlay(pixels, explanation.evidence))


def _large(image: Image.Image) -> str:
    return data_address(fitted(image, _LARGE))
