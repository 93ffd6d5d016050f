"""The charts of a page: one function a chart, each gives a matplotlib figure for :func:`tlcli.reports.svg.svg`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from tlcli.evaluation.calibration import Bin, Coverage
from tlcli.evaluation.learning_curve import LearningCurve
from tlcli.reports.figures import COLOURS, shortened
from tlcli.reports.svg import FAINT, GRID, INK, PAGE_STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 4.6
"""Inches: on a phone it is drawn at three quarters of that, and its words can still be read."""
_PERCENT = PercentFormatter(1)  # as many decimals as the axis needs: 87.5 % is not 88 %


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


def reliability(before: Sequence[Bin], after: Sequence[Bin]) -> Figure:
    """Accuracy against confidence, in bins; on the dashed line a confidence means what it says.

    Args:
        before: of probabilities as fitted.
        after: of the calibrated ones.
    """
    with mpl.rc_context(PAGE_STYLE):
        figure, axis = _chart(3.4)
        least = min(b.confidence for b in (*before, *after))
        axis.plot([least, 1], [least, 1], color=FAINT, linewidth=1, linestyle="--")
        axis.plot(
            [b.confidence for b in before], [b.accuracy for b in before], "o-", markersize=4, linewidth=1.2,
            color=COLOURS[1], label="before",
        )  # fmt: skip
        for b in after:
            axis.plot([b.confidence] * 2, b.accuracy_ci95, color=COLOURS[0], linewidth=1, alpha=0.5)
        axis.plot(
            [b.confidence for b in after], [b.accuracy for b in after], "o-", markersize=5, linewidth=1.8,
            color=COLOURS[0], label="after calibration",
        )  # fmt: skip
        axis.xaxis.set_major_formatter(_PERCENT)
        axis.yaxis.set_major_formatter(_PERCENT)
        axis.set_xlabel("confidence")
        axis.set_ylabel("accuracy")
        axis.legend(loc="upper left")
        return figure


def coverage(points: Sequence[Coverage]) -> Figure:
    """Accuracy among the most confident answers, against the share of images that are answered."""
    shares, accuracies = [p.share for p in points], [p.accuracy for p in points]
    with mpl.rc_context(PAGE_STYLE):
        figure, axis = _chart(2.8)
        axis.plot(shares, accuracies, color=COLOURS[0], linewidth=2)
        axis.set_xlim(0, 1.01)
        axis.set_ylim(min(*accuracies, 0.95) - 0.02, 1.01)
        axis.xaxis.set_major_formatter(_PERCENT)
        axis.yaxis.set_major_formatter(_PERCENT)
        axis.set_xlabel("share of images answered, the most confident first")
        axis.set_ylabel("accuracy of these")
        return figure


def learning(curve: LearningCurve) -> Figure:
    """Accuracy on held-out images against the number of training images, up to twice as many as there are."""
    n, line = [p.n for p in curve.fitted], [p.accuracy for p in curve.fitted]
    with mpl.rc_context(PAGE_STYLE):
        figure, axis = _chart(3.0)
        axis.fill_between(
            n, [p.low for p in curve.fitted], [p.high for p in curve.fitted], color=COLOURS[0], alpha=0.18, linewidth=0
        )
        axis.plot(n, line, color=COLOURS[0], linewidth=1.6)
        axis.plot(
            [p.n for p in curve.measured], [p.accuracy for p in curve.measured], "o", color=COLOURS[0], markersize=5,
            label="measured",
        )  # fmt: skip
        axis.axvline(curve.now, color=FAINT, linewidth=1, linestyle="--", label="images there are")
        axis.set_xscale("log")
        ticks = [p.n for p in curve.measured[:-1]] + [curve.now, 2 * curve.now]
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.minorticks_off()
        axis.yaxis.set_major_formatter(_PERCENT)
        axis.set_xlabel("training images")
        axis.set_ylabel("accuracy")
        axis.legend(loc="lower right")
        return figure


def history(steps: Sequence[Mapping[str, float | None]], chosen: int) -> Figure:
    """Log loss against epochs or strengths of the penalty, on what was fitted and on what was not.

    Args:
        steps: lines of the run's history.csv.
        chosen: number of the step whose weights were kept, from 1.
    """
    by_strength = steps[0].get("C") is not None
    x = [float((step["C"] if by_strength else step["step"]) or 0) for step in steps]
    names = ("fitted folds", "held-out folds") if by_strength else ("training", "validation")
    with mpl.rc_context(PAGE_STYLE):
        figure, axes = _chart(2.8)
        for name, key, colour in zip(names, ("loss", "val_loss"), COLOURS, strict=False):
            axes.plot(x, [step[key] or 0 for step in steps], "o-", markersize=3, color=colour, label=name)
        axes.axvline(x[chosen - 1], color=COLOURS[2], linewidth=1.2, zorder=1, label="chosen")
        axes.set_ylabel("log loss")
        axes.set_xlabel("C" if by_strength else "epoch")
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
        axis.set_ylabel("images")
        return figure
