"""Figures that show training images as the backbone sees them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tlcli.datasets.index import LabelledImage
from tlcli.images.augmentation import Augmentation
from tlcli.images.preparation import Preparation
from tlcli.reports.figures import MAX_CLASSES, class_names, fonts, styled, titled
from tlcli.reports.thumbnails import decoded, decoded_views, evenly

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_SAMPLES, _AUGMENTED, _VIEWS = 6, 4, 6
"""Images of each class; augmented images; and views of each of those, the original included."""
_LONGEST = 300
"""Pixels of the longer side of an image in a figure."""


def samples(images: Sequence[LabelledImage], labels: Sequence[str], preparation: Preparation) -> Figure:
    """Six training images of each class, evenly picked."""
    shown, preparation = list(labels)[:MAX_CLASSES], _shrunk(preparation)
    rows = []
    for label in shown:
        chosen = evenly([one for one in images if one.label == label], _SAMPLES)
        rows.append([pixels for one in chosen if (pixels := decoded(one.path, preparation)) is not None])
    title = titled("Training images", len(labels)) if len(labels) > len(shown) else ""
    return _grid(rows, _SAMPLES, preparation.size, title, class_names(labels)[: len(shown)], [])


def augmented(
    images: Sequence[LabelledImage], views: Sequence[str], preparation: Preparation, augmentation: Augmentation
) -> Figure:
    """Four training images, each beside its first five augmented views."""
    shown, preparation = views[:_VIEWS], _shrunk(preparation)
    rows = [decoded_views(one, shown, preparation, augmentation) for one in evenly(images, _AUGMENTED)]
    titles = ["original", *(f"view {number}" for number in range(1, len(shown)))]
    return _grid(rows, len(shown), preparation.size, "", [], titles)


def _shrunk(preparation: Preparation) -> Preparation:
    return preparation.at(min(_LONGEST, max(preparation.canvas)))


def _grid(
    rows: "Sequence[Sequence[NDArray[np.uint8]]]", columns: int, size: tuple[int, int],
    title: str, above_rows: Sequence[str], above_columns: Sequence[str],
) -> Figure:  # fmt: skip
    """Images of equal size on one pair of axes (a pair for each would take five times as long), as one image a row
    (one for all would take 500 MB)."""
    high, wide = size
    side = max(size)
    gap, line = round(0.05 * side), round(0.18 * side)
    head = (line if title else 0) + (line if above_columns else 0)
    height = high + gap + (line if above_rows else 0)
    right, bottom = (wide + gap) * columns - gap, head + height * len(rows)
    with styled(fonts(above_rows)):
        inch = 1.5 / side  # a pixel
        figure = Figure(figsize=((right + 2 * gap) * inch, (bottom + gap) * inch))
        FigureCanvasAgg(figure)
        axis: Axes = figure.add_axes((0, 0, 1, 1))
        axis.axis("off")
        for number, row in enumerate(rows):
            strip = np.full((high, right, 3), 255, np.uint8)
            for column, pixels in enumerate(row):
                left = column * (wide + gap)
                strip[:, left : left + wide] = pixels
            low = head + height * (number + 1) - gap
            axis.imshow(strip, extent=(0, right, low, low - high), aspect="auto")
        axis.set(xlim=(-gap, right + gap), ylim=(bottom, -gap))
        text: dict[str, Any] = {"va": "center", "weight": "bold", "fontsize": 11}
        axis.text(0, 0.45 * line, title, **text)
        for number, name in enumerate(above_rows):
            axis.text(0, head + number * height + 0.45 * line, name, **text)
        for column, name in enumerate(above_columns):
            axis.text(column * (wide + gap), head - 0.55 * line, name, **text)
        return figure
