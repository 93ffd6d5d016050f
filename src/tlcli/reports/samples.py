"""Figures that show images, as the backbone sees them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tlcli.datasets.index import LabelledImage
from tlcli.images.augmentation import Augmentation, augment
from tlcli.images.decode import prepare
from tlcli.images.preparation import Preparation
from tlcli.reports.figures import MAX_CLASSES, STYLE, save, shortened, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_SAMPLES = 6

Item = TypeVar("Item")


def _evenly(items: Sequence[Item], count: int) -> list[Item]:
    """Up to ``count`` of the items, evenly spread over all of them."""
    count = min(count, len(items))
    return [items[len(items) * number // count] for number in range(count)]


def samples(path: Path, images: Sequence[LabelledImage], labels: Sequence[str], preparation: Preparation) -> None:
    """Six training images of each class, evenly picked, as the backbone sees them."""
    shown = list(labels)[:MAX_CLASSES]
    chosen = [_evenly([p for p in images if p.label == label], _SAMPLES) for label in shown]
    rows = [[prepare(one.path.read_bytes(), preparation) for one in row] for row in chosen]
    title = titled("Training images", len(labels)) if len(labels) > len(shown) else ""
    _grid(path, rows, _SAMPLES, preparation.size, title, [shortened(label) for label in shown], [])


def augmented(
    path: Path,
    images: Sequence[LabelledImage],
    views: Sequence[str],
    preparation: Preparation,
    augmentation: Augmentation,
) -> None:
    """Four training images, each beside its first five augmented views."""
    rows, shown = [], views[:6]
    for one in _evenly(images, 4):
        plain = prepare(one.path.read_bytes(), preparation)
        rows.append([augment(plain, view, one.sha256, augmentation) for view in shown])
    titles = ["original" if number == 0 else f"view {number}" for number in range(len(shown))]
    _grid(path, rows, len(shown), preparation.size, "", [], titles)


def _grid(
    path: Path, rows: "Sequence[Sequence[NDArray[np.uint8]]]", columns: int, side: int,
    title: str, above_rows: Sequence[str], above_columns: Sequence[str],
) -> None:  # fmt: skip
    """Images of equal size on one pair of axes (a pair for each would take five times as long), as one image a row
    (one for all would take 500 MB)."""
    gap, line = round(0.05 * side), round(0.18 * side)
    head = (line if title else 0) + (line if above_columns else 0)
    height = side + gap + (line if above_rows else 0)
    right, bottom = (side + gap) * columns - gap, head + height * len(rows)
    with mpl.rc_context(STYLE):
        inch = 1.5 / side  # a pixel
        figure = Figure(figsize=((right + 2 * gap) * inch, (bottom + gap) * inch))
        FigureCanvasAgg(figure)
        axis: Axes = figure.add_axes((0, 0, 1, 1))
        axis.axis("off")
        for number, row in enumerate(rows):
            strip = np.full((side, right, 3), 255, np.uint8)
            for column, pixels in enumerate(row):
                left = column * (side + gap)
                strip[:, left : left + side] = pixels
            low = head + height * (number + 1) - gap
            axis.imshow(strip, extent=(0, right, low, low - side), aspect="auto")
        axis.set_xlim(-gap, right + gap)
        axis.set_ylim(bottom, -gap)
        place: dict[str, Any] = {"va": "center", "weight": "bold"}
        if title:
            axis.text(0, 0.45 * line, title, fontsize=11, **place)
        for number, name in enumerate(above_rows):
            axis.text(0, head + number * height + 0.45 * line, name, fontsize=11, **place)
        for column, name in enumerate(above_columns):
            axis.text(column * (side + gap), head - 0.55 * line, name, fontsize=11, **place)
        save(figure, path)
