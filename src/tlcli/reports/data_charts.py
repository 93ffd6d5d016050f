"""The charts of a data set: one function each, which draws a figure for :mod:`tlcli.reports.figures` to save."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from tlcli.reports.figures import (
    COLOURS,
    GRID,
    INK,
    MAX_CLASSES,
    WIDTH,
    class_names,
    fonts,
    name_rows,
    shortened,
    styled,
    subplots,
    titled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def class_counts(counts: Mapping[Any, Mapping[str, int]]) -> Figure:
    """Images of each class, as bars: one for each split.

    Args:
        counts: split -> class -> images.
    """
    every = list(next(iter(counts.values())))
    labels, names = every[:MAX_CLASSES], class_names(every)[:MAX_CLASSES]
    with styled(fonts(names)):
        figure, (axis,) = subplots(7, 1.4 + 0.62 * len(labels))
        height = 0.8 / len(counts)
        for number, (split, by_label) in enumerate(counts.items()):
            offset = (number - (len(counts) - 1) / 2) * height
            _bars(axis, [by_label[label] for label in labels], offset, height * 0.9, label=split, color=COLOURS[number])
        name_rows(axis, names)
        axis.set(xlabel="images", title=titled("Images of each class", len(every)))
        figure.legend(loc="outside lower center", ncols=len(counts))
        return figure


def counts(values: Mapping[str, int], unit: str) -> Figure:
    """Bars with their numbers, in the order given."""
    with styled():
        figure, (axis,) = subplots(WIDTH, 0.7 + 0.3 * len(values))
        _bars(axis, list(values.values()), 0, 0.7, color=COLOURS[0])
        name_rows(axis, [shortened(name, 24) for name in values])
        axis.set_xlabel(unit)
        return figure


def _bars(axis: "Axes", numbers: Sequence[int], offset: float, height: float, **how: Any) -> None:
    bars = axis.barh(np.arange(len(numbers)) + offset, numbers, height, **how)
    axis.bar_label(bars, [f"{number:,}" for number in numbers], padding=3, fontsize=9, color=INK)
    axis.margins(x=0.12)


def histogram(values: Sequence[float], bins: int, unit: str) -> Figure:
    """Distribution of a quantity over the images."""
    with styled():
        figure, (axis,) = subplots(WIDTH, 2.0)
        axis.hist(values, bins, color=COLOURS[0], edgecolor=GRID, linewidth=0.5)
        axis.set(xlabel=unit, ylabel="images")
        return figure
