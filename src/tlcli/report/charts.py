"""The charts of a page: one function a chart, each gives a matplotlib figure for :func:`tlcli.report.svg.svg`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter

from tlcli.report.figures import COLOURS, shortened
from tlcli.report.svg import FAINT, GRID, INK, PAGE_STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 4.6
"""Inches: on a phone it is drawn at three quarters of that, and its words can still be read."""
_PERCENT = PercentFormatter(1, decimals=0)


@dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    name: str
    value: float
    low: float
    high: float
    is_ours: bool = True
    """Of the model itself, not of what it is compared with."""


def _chart(height: float) -> tuple[Figure, "Axes"]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.subplots()


def estimates(rows: Sequence[Estimate]) -> Figure:
    """Accuracies with their intervals, one under the other."""
    with mpl.rc_context(PAGE_STYLE):
        figure, axis = _chart(0.75 + 0.34 * len(rows))
        for place, row in enumerate(rows):
            colour = COLOURS[0] if row.is_ours else FAINT
            axis.plot([row.low, row.high], [place, place], color=colour, linewidth=2.5, solid_capstyle="round")
            axis.plot([row.value], [place], "o", color=colour, markersize=6)
        axis.set_yticks(range(len(rows)), [shortened(row.name, 30) for row in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.grid(axis="y", visible=False)
        axis.spines["left"].set_visible(False)
        axis.tick_params(axis="y", length=0)
        axis.xaxis.set_major_formatter(_PERCENT)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.set_xlabel("accuracy")
        return figure


def reliability(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy against confidence, in bins; on the dashed line a confidence means what it says.

    Args:
        before: bins with ``confidence``, ``accuracy``, ``low``, ``high``, of probabilities as fitted.
        after: of the calibrated ones.
    """
    with mpl.rc_context(PAGE_STYLE):
        figure, axis = _chart(3.4)
        least = min((bin_["confidence"] for bin_ in (*before, *after)), default=0.0)
        axis.plot([least, 1], [least, 1], color=FAINT, linewidth=1, linestyle="--")
        axis.plot(
            [b["confidence"] for b in before], [b["accuracy"] for b in before], "o-", markersize=4, linewidth=1.2,
            color=COLOURS[1], label="before",
        )  # fmt: skip
        for bin_ in after:
            axis.plot([bin_["confidence"]] * 2, [bin_["low"], bin_["high"]], color=COLOURS[0], linewidth=1, alpha=0.5)
        axis.plot(
            [b["confidence"] for b in after], [b["accuracy"] for b in after], "o-", markersize=5, linewidth=1.8,
            color=COLOURS[0], label="after calibration",
        )  # fmt: skip
        axis.xaxis.set_major_formatter(_PERCENT)
        axis.yaxis.set_major_formatter(_PERCENT)
        axis.set_xlabel("confidence")
        axis.set_ylabel("accuracy")
        axis.legend(loc="upper left")
        return figure


def coverage(shares: Sequence[float], accuracies: Sequence[float]) -> Figure:
    """Accuracy among the most confident answers, against the share of pictures that are answered."""
    with mpl.rc_context(PAGE_STYLE):
        figure, axis = _chart(2.8)
        axis.plot(shares, accuracies, color=COLOURS[0], linewidth=2)
        axis.set_xlim(0, 1.01)
        axis.set_ylim(min(*accuracies, 0.95) - 0.02, 1.01)
        axis.xaxis.set_major_formatter(_PERCENT)
        axis.yaxis.set_major_formatter(_PERCENT)
        axis.set_xlabel("share of pictures answered, the most confident first")
        axis.set_ylabel("accuracy of these")
        return figure


def learning_curve(
    sizes: Sequence[float], means: Sequence[float], lows: Sequence[float], highs: Sequence[float],
    ahead: tuple[float, float, float, float] | None = None,
) -> Figure:  # fmt: skip
    """Accuracy on held-out pictures against the number of training pictures.

    Args:
        sizes: training pictures.
        means: accuracies.
        lows: of the band.
        highs: of the band.
        ahead: where the curve is expected at some more pictures: how many, accuracy, lower and upper end.
    """
    with mpl.rc_context(PAGE_STYLE):
        figure, axis = _chart(3.0)
        axis.fill_between(sizes, lows, highs, color=COLOURS[0], alpha=0.18, linewidth=0)
        axis.plot(sizes, means, "o-", color=COLOURS[0], markersize=4, linewidth=1.8)
        ticks = list(sizes)
        if ahead is not None:
            size, value, low, high = ahead
            axis.plot([sizes[-1], size], [means[-1], value], color=COLOURS[0], linewidth=1.4, linestyle=":")
            axis.plot([size, size], [low, high], color=COLOURS[0], linewidth=1.4)
            axis.plot([size], [value], "o", color=COLOURS[0], markersize=5, markerfacecolor="none")
            ticks.append(size)
        axis.set_xscale("log")
        axis.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.minorticks_off()
        axis.yaxis.set_major_formatter(_PERCENT)
        axis.set_xlabel("training pictures")
        axis.set_ylabel("accuracy")
        return figure


def history(steps: Sequence[Mapping[str, float | None]], chosen: int) -> Figure:
    """Log loss against epochs or strengths of the penalty, on what was fitted and on what was not.

    Args:
        steps: lines of the run's history.csv.
        chosen: number of the step whose weights were kept, from 1.
    """
    by_strength = steps[0].get("strength") is not None
    x = [float((step["strength"] if by_strength else step["step"]) or 0) for step in steps]
    names = ("fitted folds", "held-out folds") if by_strength else ("training", "validation")
    with mpl.rc_context(PAGE_STYLE):
        figure, axes = _chart(2.8)
        for name, key, colour in zip(names, ("loss", "val_loss"), COLOURS, strict=False):
            axes.plot(x, [step[key] or 0 for step in steps], "o-", markersize=3, color=colour, label=name)
        axes.axvline(x[chosen - 1], color=COLOURS[2], linewidth=1.2, zorder=1, label="chosen")
        axes.set_ylabel("log loss")
        axes.set_xlabel("strength of the L2 penalty" if by_strength else "epoch")
        if by_strength:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
        axes.legend(loc="best")
        return figure


def counts(values: Mapping[str, int], unit: str) -> Figure:
    """Bars with their numbers, the largest first."""
    with mpl.rc_context(PAGE_STYLE):
        figure, axis = _chart(0.7 + 0.3 * len(values))
        bars = axis.barh(range(len(values)), list(values.values()), 0.7, color=COLOURS[0])
        axis.bar_label(bars, [f"{value:,}" for value in values.values()], padding=3, fontsize=9, color=INK)
        axis.set_yticks(range(len(values)), [shortened(name, 24) for name in values])
        axis.set_ylim(len(values) - 0.5, -0.5)
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.12)
        axis.set_xlabel(unit)
        return figure


def histogram(values: Sequence[float], bins: int, unit: str) -> Figure:
    """How often which values occur."""
    with mpl.rc_context(PAGE_STYLE):
        figure, axis = _chart(2.0)
        axis.hist(values, bins, color=COLOURS[0], edgecolor=GRID, linewidth=0.5)
        axis.set_xlabel(unit)
        axis.set_ylabel("pictures")
        return figure
