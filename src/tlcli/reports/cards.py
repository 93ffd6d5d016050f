"""One prediction explained on a card: the image, its heat map, and the nearest training images.

Shapes: H and W are the image's height and width in pixels; h and w are positions of the heat map.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from tlcli.model.prediction import NoMap
from tlcli.reports.figures import save_png, styled
from tlcli.reports.fonts import escaped, families
from tlcli.reports.overlays import NO_MAP, coloured, overlay, scale
from tlcli.reports.thumbnails import fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_ACROSS = 5
"""Neighbours in the row."""
_LONGEST = 1200
"""Pixels of the longer side of an image as drawn; more are not seen, and take seconds."""
_QUIET, _OTHER = "#666666", "#B23A00"

# Hundredths of an inch (so dots at matplotlib's default of 100 an inch), from the card's upper left corner.
_MARGIN, _SIDE, _GAP = 20, 300, 20
_WIDTH = 2 * _MARGIN + 2 * _SIDE + _GAP
_TOP = 88
_LEGEND = _TOP + _SIDE + 14
_ROW = _LEGEND + 66
_SMALL = (_WIDTH - 2 * _MARGIN - (_ACROSS - 1) * 12) // _ACROSS


@dataclass(frozen=True)
class NeighbourImage:
    """A training image that is similar to the one explained."""

    name: str
    label: str
    similarity: float
    """Cosine similarity of the features."""
    pixels: "NDArray[np.uint8] | None"
    """Prepared, uint8 [H, W, 3]; None where the file is missing or unreadable."""


@dataclass(frozen=True)
class Card:
    """The contents of a card."""

    name: str
    answer: str
    label: str
    """The most probable class, which the heat map explains."""
    probability: float | None
    """Of that class; None where it has no meaning."""
    pixels: "NDArray[np.uint8]"
    """The prepared image, uint8 [H, W, 3]."""
    heat: "NDArray[np.float64] | None"
    """[h, w], log odds of the label at each position; None where there is no map."""
    neighbours: Sequence[NeighbourImage] = ()
    """The nearest first; five are shown."""
    short: Mapping[str, str] = field(default_factory=dict)
    """How labels are written below neighbours, where not as they are."""
    whole: "NDArray[np.uint8] | None" = None
    """The whole image with the input of the network outlined, uint8 [W, W, 3]; None where that is all of it."""
    no_map: NoMap | None = None
    """Why there is no heat map: the nearest training image has its place."""


def draw(path: Path, card: Card) -> None:
    """Writes the card as PNG, whole or not at all."""
    save_png(figure_of(card), path)


def figure_of(card: Card) -> Figure:
    """The card as a matplotlib figure."""
    large, shown = _large_neighbour(card), card.neighbours[:_ACROSS]
    if large is not None:
        shown = card.neighbours[1 : _ACROSS + 1]
    height = _ROW + _SMALL + 62 if shown else _ROW - 14
    with styled({"text.parse_math": False, "text.color": "black"}):
        figure = Figure(figsize=(_WIDTH / 100, height / 100))
        FigureCanvasAgg(figure)
        axis: Axes = figure.add_axes((0, 0, 1, 1))
        axis.axis("off")
        axis.set(xlim=(0, _WIDTH), ylim=(height, 0), autoscale_on=False)
        _answer(axis, card)
        if card.heat is not None:
            _heat(axis, card, card.heat)
        elif card.no_map is not None:
            _line(axis, _MARGIN, _LEGEND + 5, "There is no heat map:", _SIDE, fontsize=9)
            _line(axis, _MARGIN, _LEGEND + 20, f"{NO_MAP[card.no_map]}.", _SIDE, fontsize=9)
        if large is not None:
            _nearest(axis, large, card)
        if shown:
            title = "Nearest training images" if large is None else "Other training images, the nearest first"
            axis.text(_MARGIN, _ROW - 14, title, fontsize=11, weight="bold", va="center")
        for number, one in enumerate(shown):
            left, label = _MARGIN + number * (_SMALL + 12), card.short.get(one.label, one.label)
            _neighbour(axis, one, left, label, one.label == card.label)
        return figure


def _answer(axis: "Axes", card: Card) -> None:
    if card.probability is not None:
        share = f"{100 * card.probability:.1f} %" if card.probability < 0.9995 else "> 99.9 %"
        axis.text(_WIDTH - _MARGIN, 24, share, fontsize=15, weight="bold", va="center", ha="right")
    _line(axis, _MARGIN, 24, card.answer, _WIDTH - 2 * _MARGIN - 120, fontsize=15, weight="bold")
    _line(axis, _MARGIN, 48, card.name, _WIDTH - 2 * _MARGIN, keep_end=True, fontsize=9, color=_QUIET)
    shown = "input of the network" if card.whole is None else "outlined: input of the network"
    _line(axis, _MARGIN, _TOP - 11, shown, _SIDE, fontsize=10)
    _image(axis, _fitted(card.pixels) if card.whole is None else card.whole, _MARGIN, _TOP, _SIDE)


def _fitted(pixels: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    return np.asarray(fitted(Image.fromarray(pixels), _LONGEST))


def _heat(axis: "Axes", card: Card, heat: "NDArray[np.float64]") -> None:
    """The heat map, and its colours on grey with the log odds that they stand for."""
    left = _MARGIN + _SIDE + _GAP
    _line(axis, left, _TOP - 11, f"evidence for {card.label}", _SIDE, fontsize=10)
    _image(axis, np.asarray(overlay(_fitted(card.pixels), heat)), left, _TOP, _SIDE)
    relevance = np.tile(np.linspace(-1, 1, 301), (2, 1))
    grey = np.full((*relevance.shape, 3), 200, np.uint8)
    axis.imshow(coloured(grey, relevance), extent=(left, left + _SIDE, _LEGEND + 10, _LEGEND), aspect="auto")
    small: dict[str, Any] = {"fontsize": 8, "color": _QUIET, "va": "center"}
    of_a_hundredth = scale(heat) / 100
    axis.text(left, _LEGEND + 20, f"against, -{of_a_hundredth:.2g}", **small)
    axis.text(left + _SIDE / 2, _LEGEND + 20, "0", ha="center", **small)
    axis.text(left + _SIDE, _LEGEND + 20, f"for, +{of_a_hundredth:.2g}", ha="right", **small)
    axis.text(_MARGIN, _LEGEND + 5, "Log odds that each hundredth of the image adds.", **small)
    axis.text(_MARGIN, _LEGEND + 20, f"All of it: {heat.mean():+.2f} (before calibration).", **small)


def _large_neighbour(card: Card) -> NeighbourImage | None:
    """The nearest training image in the place of the heat map, where there is none."""
    if card.heat is None and card.neighbours and card.neighbours[0].pixels is not None:
        return card.neighbours[0]
    return None


def _nearest(axis: "Axes", one: NeighbourImage, card: Card) -> None:
    left, label = _MARGIN + _SIDE + _GAP, card.short.get(one.label, one.label)
    _line(axis, left, _TOP - 11, f"nearest training image: {label}", _SIDE, fontsize=10)
    if one.pixels is not None:
        _image(axis, _fitted(one.pixels), left, _TOP, _SIDE)
    axis.text(left, _LEGEND + 5, f"similarity {one.similarity:.3f}", fontsize=8, va="center")
    _line(axis, left, _LEGEND + 20, one.name, _SIDE, keep_end=True, fontsize=7, color=_QUIET)


def _neighbour(axis: "Axes", one: NeighbourImage, left: int, label: str, agrees: bool) -> None:
    if one.pixels is None:
        axis.fill([left, left + _SMALL, left + _SMALL, left], [_ROW, _ROW, _ROW + _SMALL, _ROW + _SMALL], "#EEEEEE")
        middle: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "color": _QUIET}
        axis.text(left + _SMALL / 2, _ROW + _SMALL / 2, "image missing", **middle)
    else:
        _image(axis, one.pixels, left, _ROW, _SMALL)
    below = _ROW + _SMALL
    colour = "black" if agrees else _OTHER
    _line(axis, left, below + 11, label, _SMALL, fontsize=9, weight="bold", color=colour)
    axis.text(left, below + 27, f"similarity {one.similarity:.3f}", fontsize=8, va="center")
    _line(axis, left, below + 42, one.name, _SMALL, keep_end=True, fontsize=7, color=_QUIET)


def _image(axis: "Axes", pixels: "NDArray[np.uint8]", left: int, top: int, side: int) -> None:
    """Draws an image in the middle of a square."""
    high, wide = (side * pixels.shape[way] / max(pixels.shape[:2]) for way in (0, 1))
    x, y = left + (side - wide) / 2, top + (side - high) / 2
    axis.imshow(pixels, extent=(x, x + wide, y + high, y), aspect="auto", interpolation="antialiased")


def _line(axis: "Axes", left: int, top: int, text: str, width: int, keep_end: bool = False, **how: Any) -> None:
    """A text of any length and script on one line of this width; where it is longer, its end or its start is cut."""
    shown = " ".join(text.encode(errors="backslashreplace").decode().split())
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
    shown = escaped(shown[-200:] if keep_end else shown[:200])
    if len(fonts := families(shown)) > 1:
        how["weight"] = "normal"  # matplotlib warns about fonts that have no other
    drawn = axis.text(left, top, shown, va="center", family=fonts, **how)
    while shown and (ratio := drawn.get_window_extent().width / width) > 1:
        kept = min(len(shown) - 1, int(len(shown) / ratio))
        shown = shown[len(shown) - kept :] if keep_end else shown[:kept]
        drawn.set_text(f"…{shown}" if keep_end else f"{shown.rstrip()}…")
