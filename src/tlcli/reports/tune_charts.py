"""The charts of a search: one function each, which draws a figure for :mod:`tlcli.reports.figures` to save."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter
from matplotlib.transforms import Bbox

from tlcli.reports.figures import COLOURS, FAINT, INK, WIDTH, name_rows, shortened, styled, subplots
from tlcli.reports.tune_text import network_name
from tlcli.tuning.metric_units import as_measured, ends_as_measured, is_loss, title_of
from tlcli.tuning.outcome import Contender, Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

_LABELLED = 8
"""Points with a name, at most: the front of many passes has more than have room."""


def pareto(outcome: Outcome, width: float = WIDTH, height: float = 4.2) -> Figure:
    """The metric of all contenders against the time of an image, with the front that no other contender beats.

    Args:
        outcome: of the search.
        width: inches.
        height: inches.
    """
    front, given = outcome.pareto, outcome.given
    on_front = set(map(id, front))  # contenders hold arrays, which do not compare as wholes
    with styled():
        figure, (axis,) = subplots(width, height)
        others = [one for one in outcome.contenders if id(one) not in on_front]
        _points(axis, outcome.metric, others, FAINT, "other contenders", faint=True)
        x, y = [one.cost.ms_per_image for one in front], [as_measured(outcome.metric, one.score) for one in front]
        axis.step(x, y, where="post", color=COLOURS[0], linewidth=1, alpha=0.6, zorder=1.5)
        before = [one for one in front if one is not outcome.best]
        _points(axis, outcome.metric, before, COLOURS[0], "Pareto front")
        _points(axis, outcome.metric, [outcome.best], COLOURS[2], "best", marker="*")
        if given:
            _points(axis, outcome.metric, [given], COLOURS[5], "config as it is", marker="D")
        _scale(axis, outcome)
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
        _label(figure, axis, outcome)
        return figure


def _points(
    axis: "Axes", metric: str, contenders: Sequence[Contender], colour: str, label: str, marker: str = "o",
    faint: bool = False,
) -> None:  # fmt: skip
    """Points with their intervals."""
    if not contenders:
        return
    x = [one.cost.ms_per_image for one in contenders]
    lows, highs = zip(*(ends_as_measured(metric, one.interval) for one in contenders), strict=True)
    axis.vlines(x, lows, highs, colors=colour, linewidth=0.7 if faint else 1.6, alpha=0.35 if faint else 0.7, zorder=1)
    size = {"*": 150, "D": 36}.get(marker, 10 if faint else 30)
    y = [as_measured(metric, one.score) for one in contenders]
    axis.scatter(x, y, size, color=colour, marker=marker, label=label, zorder=2 if marker == "o" else 3, linewidths=0)


def _scale(axis: "Axes", outcome: Outcome) -> None:
    times = [one.cost.ms_per_image for one in (*outcome.contenders, *([outcome.given] if outcome.given else []))]
    low, high = min(times), max(times)
    axis.set_xscale("log")
    axis.set_xlim(low / 1.6, high * (1.6 if high > 1.3 * low else 2.5))  # room for names
    few = high / low < 20
    axis.xaxis.set_major_locator(LogLocator(10, (1, 2, 5) if few else (1, 3)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    better = "smaller is better" if is_loss(outcome.metric) else "more is better"
    axis.set(xlabel="milliseconds per image (network alone)", ylabel=f"{title_of(outcome.metric)} ({better})")
    if is_loss(outcome.metric):
        axis.invert_yaxis()  # the best on top, as for all others


def _label(figure: Figure, axis: "Axes", outcome: Outcome) -> None:
    """Names the best, and of the front as many others as have room, each where it covers nothing."""
    named = [outcome.best, *(one for one in reversed(outcome.pareto) if one is not outcome.best)][:_LABELLED]
    figure.draw_without_rendering()  # decides where the axes are, so that overlaps can be measured
    shown = [*outcome.contenders, *([outcome.given] if outcome.given else [])]
    prominent = {*map(id, outcome.pareto), id(outcome.best), id(outcome.given)}
    taken = [_box(axis, outcome.metric, one) for one in shown if id(one) in prominent]
    inside = axis.get_window_extent()
    for one in named:
        text = shortened(f"{network_name(one.input)} {one.input.size_text}", 30)
        place = (one.cost.ms_per_image, as_measured(outcome.metric, one.score))
        if (label := _placed(axis, text, place, taken, inside, one is outcome.best)) is not None:
            taken.append(label.get_window_extent())


_PLACES = tuple(
    (x, y, "left" if x > 0 else "right" if x < 0 else "center")
    for x, y in ((7, 5), (-7, 5), (7, -12), (-7, -12), (7, 18), (-7, 18), (7, -26), (-7, -26), (7, 32), (-7, 32))
)
"""Points from the marker to the text's baseline, and its alignment."""
_NEAR = 12
"""Points up to which it is clear whose name it is; beyond, a line leads there."""
_LEADER: dict[str, Any] = {"arrowstyle": "-", "color": FAINT, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}


def _placed(
    axis: "Axes", text: str, place: tuple[float, float], taken: Sequence[Bbox], inside: Bbox, must: bool
) -> "Annotation | None":
    """The name at the first place where it is inside and covers nothing; without one, the best is named anyway."""
    for x, y, side in _PLACES:
        label = axis.annotate(text, place, (x, y), textcoords="offset points", ha=side, fontsize=8, color=INK, zorder=4)
        box = label.get_window_extent()
        is_inside = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
        if is_inside and not any(box.overlaps(other) for other in taken):
            if abs(y) > _NEAR:
                nearest = (x, y - 2 if y > 0 else y + 8)  # of the text's lower or upper edge
                axis.annotate("", place, nearest, textcoords="offset points", arrowprops=_LEADER)
            return label
        label.remove()
    if not must:
        return None
    return axis.annotate(text, place, (0, 12), textcoords="offset points", ha="center", fontsize=8, color=INK, zorder=4)


def _box(axis: "Axes", metric: str, one: Contender) -> Bbox:
    """What a marker and its interval cover, in pixels."""
    ms = one.cost.ms_per_image
    low, high = (axis.transData.transform((ms, end)) for end in ends_as_measured(metric, one.interval))
    return Bbox([[low[0] - 4, min(low[1], high[1])], [low[0] + 4, max(low[1], high[1])]])


def shares(values: Mapping[str, float]) -> Figure:
    """Shares of the variance by setting, as bars.

    Args:
        values: setting -> share, at most 1.
    """
    with styled():
        figure, (axis,) = subplots(WIDTH, 0.8 + 0.3 * len(values))
        bars = axis.barh(np.arange(len(values)), list(values.values()), 0.7, color=COLOURS[0])
        axis.bar_label(bars, [f"{100 * share:.0f} %" for share in values.values()], padding=3, fontsize=9, color=INK)
        name_rows(axis, [shortened(name.replace("_", " "), 24) for name in values])
        axis.set_xlim(0, 1.15 * max(0.05, *values.values()))
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.set_xlabel("share of the variance")
        return figure
