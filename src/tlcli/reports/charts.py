"""The charts of a run: one function each, which draws a matplotlib figure for :mod:`tlcli.reports.figures` to save.

Shapes: N images, L labels.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from tlcli.evaluation.calibration import Bin, Coverage
from tlcli.evaluation.learning_curve import LearningCurve
from tlcli.evaluation.operating_curve import OperatingCurve
from tlcli.evaluation.ranks import area_under_roc, roc_points
from tlcli.heads.fit_record import Step
from tlcli.heads.task import Task
from tlcli.reports.figures import (
    COLOURS,
    FAINT,
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
    from numpy.typing import NDArray

_NUMBERED = 30
"""Classes up to which a confusion matrix has numbers and names; a larger one shows its pattern only."""
_PERCENT = PercentFormatter(1)  # as many decimals as the axis needs: 87.5 % is not 88 %


def history(steps: Sequence[Step], best: Step, is_fine_tuned: bool = False) -> Figure:
    """Log loss and accuracy against epochs (with marks where the learning rate fell), or against the values of C tried.

    Args:
        steps: of the fit.
        best: the one whose weights were kept.
        is_fine_tuned: the steps are epochs of fine-tuning, measured on training images that were held out.
    """
    is_search = best.C is not None
    names = ("fitted folds", "held-out folds") if is_search else ("training", "validation")
    if is_fine_tuned:
        names = ("training", "held-out training images")
    marker = "o" if len(steps) < 40 else None
    with styled():
        figure, axes = subplots(WIDTH, 4.6, 2)
        for axis, quantity in zip(axes, ("loss", "accuracy"), strict=True):
            for name, key, colour in zip(names, (quantity, f"val_{quantity}"), COLOURS, strict=False):
                y = [getattr(step, key) for step in steps]
                axis.plot([_x(step) for step in steps], y, marker=marker, markersize=3, color=colour, label=name)
            if not is_search:
                _mark_lower_rates(axis, steps)
            axis.axvline(_x(best), color=COLOURS[2], linewidth=1.2, zorder=1, label="chosen")
            _label_steps(axis, len(steps), is_search)
        axes[0].set_ylabel("log loss")
        lowest = min(min(step.accuracy, step.val_accuracy) for step in steps)
        # no zoom into rounding, nothing above 1
        axes[1].set(ylabel="accuracy", ylim=(max(0, min(lowest - 0.01, 0.94)), 1.005))
        axes[1].yaxis.set_major_formatter(_PERCENT)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figure


def _x(step: Step) -> float:
    return step.step if step.C is None else step.C


def _label_steps(axis: "Axes", count: int, is_search: bool) -> None:
    if is_search:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
        axis.set_xlabel("C (inverse regularisation strength)")
    else:
        axis.set_xlim(0.5, count + 0.5)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.set_xlabel("epoch")


def _mark_lower_rates(axis: "Axes", steps: Sequence[Step]) -> None:
    label = "learning rate reduced"
    for before, after in pairwise(steps):
        if (after.learning_rate or 0) < (before.learning_rate or 0):
            axis.axvline(after.step, color=FAINT, linewidth=0.8, linestyle=":", label=label)
            label = "_once in the legend"


def confusion_matrix(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> Figure:
    """Test images by true and predicted class: numbers, shaded by the share of the true class.

    Args:
        matrix: [L, L], true classes down, predicted ones across.
        labels: [L].
    """
    counted = np.array(matrix)
    shares = counted / np.maximum(counted.sum(axis=1, keepdims=True), 1)
    numbered = len(labels) <= _NUMBERED
    names = class_names(labels, 16) if numbered else []
    longest = max(map(len, names), default=0)
    slanted = len(names) > 3 or longest > 10
    side = max(3.6, 1.8 + 0.55 * min(len(labels), _NUMBERED))
    # Inches for names: 0.08 a character beside the matrix; below it, where they are slanted, 0.7 of that.
    width, height = side + 0.9 + 0.08 * longest, side + (0.056 * longest if slanted else 0)
    with styled({**fonts(names), "axes.grid": False}):
        figure, (axis,) = subplots(width, height)
        image = axis.imshow(shares, cmap="cividis", vmin=0, vmax=1)
        axis.set_xticks(range(len(names)), names, **({"rotation": 45, "ha": "right"} if slanted else {}))
        axis.set_yticks(range(len(names)), names)
        axis.set(xlabel="predicted", ylabel="true", title="Confusion matrix, test images")
        if numbered:
            for (row, column), count in np.ndenumerate(counted):
                colour = "black" if shares[row, column] > 0.55 else "white"
                axis.text(column, row, f"{count}", ha="center", va="center", color=colour)
        figure.colorbar(image, ax=axis, label="share of the true class", shrink=0.85, aspect=6 * side)
        return figure


def roc(truth: Sequence[int], probabilities: "NDArray[np.float64]", names: Sequence[str]) -> Figure:
    """ROC curve of the second class (of two), or of each class against the rest, with the area under it.

    Args:
        truth: the images' labels [N].
        probabilities: [N, L].
        names: of the labels [L].
    """
    drawn = Task(tuple(names)).roc_classes[:MAX_CLASSES]
    shown = class_names(names)
    outside = len(drawn) > 8  # a legend of more lines covers the curves
    with styled(fonts([shown[label] for label in drawn])):
        figure, (axis,) = subplots(8.2 if outside else 5.4, 4.6)
        axis.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--", label="chance")
        for number, label in enumerate(drawn):
            positive = np.array(truth) == label
            if positive.all() or not positive.any():
                continue
            false_rate, true_rate = roc_points(positive, probabilities[:, label])
            name = f"{shown[label]} ({area_under_roc(positive, probabilities[:, label]):.3f})"
            line = ("-", "-.", ":")[number // len(COLOURS) % 3]
            colour = COLOURS[number % len(COLOURS)]
            axis.plot(false_rate, true_rate, color=colour, linestyle=line, linewidth=2, label=name)
        title = titled("ROC, test images (area under the curve)", len(names))
        axis.set(aspect="equal", xlabel="false positive rate", ylabel="true positive rate", title=title)
        beside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.02, 0.5)}
        axis.legend(**(beside if outside else {"loc": "lower right"}), fontsize=8)
        return figure


def operating_curves(curves: Sequence[OperatingCurve], names: Sequence[str]) -> Figure:
    """Precision against recall, with the points of the answers; where thresholds moved them also of the most probable
    class.

    Args:
        curves: of one or two classes, of test images, or out of fold, or both.
        names: of all labels [L].
    """
    shown, of = class_names(names), {"test": "test", "out_of_fold": "out of fold"}
    numbers = list(dict.fromkeys(curve.number for curve in curves))
    moved = any(curve.answers != curve.most_probable for curve in curves)
    with styled(fonts([shown[number] for number in numbers])):
        figure, (axis,) = subplots(WIDTH, 4.4)
        for curve in curves:
            colour = COLOURS[2 * numbers.index(curve.number) + (curve.source != "test")]
            label = f"{shown[curve.number]}, {of[curve.source]}: average precision {curve.average_precision:.3f}"
            recalls, precisions = np.append(0, curve.recalls), np.append(curve.precisions[0], curve.precisions)
            line = "-" if curve.source == "test" else "--"
            axis.plot(recalls, precisions, line, drawstyle="steps-pre", color=colour, linewidth=1.6, label=label)
            axis.axhline(curve.share, color=FAINT, linewidth=0.8, linestyle=":", zorder=1)
            for point, marker in ((curve.most_probable, "s"), (curve.answers, "o")):
                if point.precision is not None and (marker == "o" or moved):
                    face = colour if marker == "o" else "none"
                    axis.plot(
                        point.recall, point.precision, marker, markersize=8, color=colour, markerfacecolor=face,
                        markeredgewidth=1.6, zorder=4,
                    )  # fmt: skip
        axis.plot([], [], "o", color=INK, label="answers, with thresholds" if moved else "answers: most probable class")
        if moved:
            axis.plot([], [], "s", color=INK, markerfacecolor="none", label="most probable class")
        axis.plot([], [], color=FAINT, linewidth=0.8, linestyle=":", label="share of the class")
        axis.set(xlim=(-0.01, 1.01), ylim=(0, 1.03))
        _label_shares(axis, "recall", "precision")
        figure.legend(loc="outside lower center", ncols=1, fontsize=8)
        return figure


class Estimate(NamedTuple):
    """A number with its interval."""

    name: str
    value: float
    ci95: tuple[float, float]
    is_baseline: bool = False


def estimates(rows: Sequence[Estimate]) -> Figure:
    """Accuracies with their intervals, one below the other; baselines are grey."""
    with styled():
        figure, (axis,) = subplots(WIDTH, 0.75 + 0.34 * len(rows))
        for number, row in enumerate(rows):
            colour = FAINT if row.is_baseline else COLOURS[0]
            axis.plot(row.ci95, [number, number], color=colour, linewidth=2.5, solid_capstyle="round")
            axis.plot([row.value], [number], "o", color=colour, markersize=6)
        name_rows(axis, [shortened(row.name, 30) for row in rows])
        axis.spines["left"].set_visible(False)
        axis.tick_params(axis="y", length=0)
        axis.xaxis.set_major_formatter(_PERCENT)
        axis.xaxis.set_major_locator(MaxNLocator(4, steps=(1, 2, 5, 10)))  # "97.5%" is wider than "98%"
        axis.set_xlabel("accuracy")
        return figure


def reliability_diagram(before: Sequence[Bin], after: Sequence[Bin]) -> Figure:
    """Accuracy against confidence, in bins; on the dashed line the two are equal.

    Args:
        before: of the probabilities as fitted.
        after: of the calibrated ones, with 95 % intervals.
    """
    with styled():
        figure, (axis,) = subplots(WIDTH, 3.4)
        least = min(b.confidence for b in (*before, *after))
        axis.plot([least, 1], [least, 1], color=FAINT, linewidth=1, linestyle="--")
        for b in after:
            axis.plot([b.confidence] * 2, b.accuracy_ci95, color=COLOURS[0], linewidth=1, alpha=0.5)
        for bins, name, colour, width in (
            (before, "before", COLOURS[1], 1.2),
            (after, "after calibration", COLOURS[0], 1.8),
        ):
            x, y = [b.confidence for b in bins], [b.accuracy for b in bins]
            axis.plot(x, y, "o-", markersize=2 + 1.7 * width, linewidth=width, color=colour, label=name)
        axis.legend(loc="upper left")
        _label_shares(axis, "confidence", "accuracy")
        return figure


def coverage(points: Sequence[Coverage]) -> Figure:
    """Accuracy on the most confident predictions against their share of all images."""
    accuracies = [p.accuracy for p in points]
    with styled():
        figure, (axis,) = subplots(WIDTH, 2.8)
        axis.plot([p.share for p in points], accuracies, color=COLOURS[0], linewidth=2)
        axis.set(xlim=(0, 1.01), ylim=(min(*accuracies, 0.95) - 0.02, 1.01))
        _label_shares(axis, "coverage (share of images, most confident first)", "accuracy on these")
        return figure


def _label_shares(axis: "Axes", x: str, y: str) -> None:
    axis.xaxis.set_major_formatter(_PERCENT)
    axis.yaxis.set_major_formatter(_PERCENT)
    axis.set(xlabel=x, ylabel=y)


def learning_curve(curve: LearningCurve) -> Figure:
    """Accuracy on held-out images against the number of training images, up to twice as many as there are."""
    n = [p.n for p in curve.fitted]
    lows, highs = [p.low for p in curve.fitted], [p.high for p in curve.fitted]
    with styled():
        figure, (axis,) = subplots(WIDTH, 3.0)
        axis.fill_between(n, lows, highs, color=COLOURS[0], alpha=0.18, linewidth=0)
        axis.plot(n, [p.accuracy for p in curve.fitted], color=COLOURS[0], linewidth=1.6)
        measured = [p.n for p in curve.measured], [p.accuracy for p in curve.measured]
        axis.plot(*measured, "o", color=COLOURS[0], markersize=5, label="measured")
        axis.axvline(curve.now, color=FAINT, linewidth=1, linestyle="--", label="current training images")
        axis.set_xscale("log")
        ticks = [p.n for p in curve.measured[:-1]] + [curve.now, 2 * curve.now]
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.minorticks_off()
        axis.yaxis.set_major_formatter(_PERCENT)
        axis.set(xlabel="training images", ylabel="accuracy")
        axis.legend(loc="lower right")
        return figure
