"""The figures of a run, as PNG: one function a figure, in colours that colour-blind people tell apart."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tlcli.heads.fit import Fit
from tlcli.heads.task import Task
from tlcli.system.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

# Okabe & Ito 2008, in an order that also differs in lightness.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 160,
}
MAX_CLASSES = 20
"""Classes drawn in figures that have a row or a curve a class; their titles say so where there are more."""
_NUMBERED = 30
"""Classes up to which a confusion matrix has numbers and names; a larger one shows its pattern only."""


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, "NDArray[Any]"]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, whole or not at all."""
    with whole_file(path) as temporary, warnings.catch_warnings():
        # A class named in a script that the font lacks is drawn as boxes; a warning a character helps nobody.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(
            temporary, format="png", pil_kwargs={"compress_level": 3}
        )  # half the time of 6, files 5 % larger


def shortened(text: str, length: int = 22) -> str:
    """A name fit for a figure: cut, ``$`` kept from starting a formula, and ``_`` from hiding a line of the legend."""
    text = " ".join(text.split())
    text = text if len(text) <= length else f"{text[: length - 1]}…"
    return (f" {text}" if text.startswith("_") else text).replace("$", r"\$")


def titled(title: str, classes: int) -> str:
    """The title, which says so where not all classes are drawn."""
    return title if classes <= MAX_CLASSES else f"{title}: the first {MAX_CLASSES} of {classes} classes"


def class_counts(path: Path, counts: Mapping[Any, Mapping[str, int]]) -> None:
    """Images of each class in each split, as bars with their numbers."""
    every = list(next(iter(counts.values())))
    labels = every[:MAX_CLASSES]
    with mpl.rc_context(STYLE):
        figure, axes = _figure(7, 1.4 + 0.62 * len(labels))
        axis: Axes = axes[0, 0]
        height = 0.8 / len(counts)
        for number, (split, by_label) in enumerate(counts.items()):
            places = np.arange(len(labels)) + (number - (len(counts) - 1) / 2) * height
            numbers = [by_label[label] for label in labels]
            bars = axis.barh(places, numbers, height * 0.9, label=split, color=COLOURS[number])
            axis.bar_label(bars, padding=3, fontsize=8)
        axis.set_yticks(range(len(labels)), [shortened(label) for label in labels])
        axis.set_ylim(len(labels) - 0.5, -0.5)
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.1)
        axis.set_xlabel("images")
        axis.set_title(titled("Images of each class", len(every)))
        figure.legend(loc="outside lower center", ncols=len(counts))
        save(figure, path)


def history(path: Path, fit: Fit) -> None:
    """Loss and accuracy against epochs, with the epochs at which the learning rate fell; or against strengths tried."""
    steps = fit.history
    by_strength = fit.kind == "logistic_regression"
    x = [step.C if by_strength else step.step for step in steps]
    names = ("fitted folds", "held-out folds") if by_strength else ("training", "validation")
    with mpl.rc_context(STYLE):
        figure, axes = _figure(9, 3.6, 1, 2)
        for axis, quantity in zip(axes[0], ("loss", "accuracy"), strict=True):
            marker = "o" if len(steps) < 40 else None
            for name, prefix, colour in zip(names, ("", "val_"), COLOURS, strict=False):
                y = [getattr(step, prefix + quantity) for step in steps]
                axis.plot(x, y, marker=marker, markersize=4, color=colour, label=name)
            if quantity == "accuracy":
                low = min(min(step.accuracy, step.val_accuracy) for step in steps)
                axis.set_ylim(max(0, min(low - 0.01, 0.94)), 1.005)  # no zoom into rounding, nothing above 1
            axis.set_title({"loss": "Log loss", "accuracy": "Accuracy"}[quantity])
            if by_strength:
                axis.set_xscale("log")
                axis.set_xlabel("C")
            else:
                axis.set_xlabel("epoch")
                axis.set_xlim(0.5, len(steps) + 0.5)
                axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
                _mark_lower_rates(axis, fit)
            axis.axvline(x[fit.best.step - 1], color=COLOURS[2], linewidth=1.2, zorder=1, label="chosen")
        handles, texts = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside lower center", ncols=4)
        save(figure, path)


def _mark_lower_rates(axis: "Axes", fit: Fit) -> None:
    label = "learning rate lowered"
    for before, after in zip(fit.history, fit.history[1:], strict=False):
        if (after.learning_rate or 0) < (before.learning_rate or 0):
            axis.axvline(after.step, color="#777777", linewidth=0.8, linestyle=":", label=label)
            label = "_once in the legend"


def confusion_matrix(path: Path, matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
    """Test images by true and predicted class: numbers, shaded by the share of the true class."""
    counts = np.array(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    numbered = len(labels) <= _NUMBERED
    names = [shortened(label, 16) for label in labels] if numbered else []
    longest = max(map(len, names), default=0)
    slanted = len(names) > 3 or longest > 10
    side = max(3.6, 1.8 + 0.55 * min(len(labels), _NUMBERED))
    # inches for names: 0.08 a character beside the matrix; under it, where they are slanted, 0.7 of that
    width, height = side + 0.9 + 0.08 * longest, side + (0.056 * longest if slanted else 0)
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = _figure(width, height)
        axis = axes[0, 0]
        image = axis.imshow(shares, cmap="cividis", vmin=0, vmax=1)
        axis.set_xticks(range(len(names)), names, **({"rotation": 45, "ha": "right"} if slanted else {}))
        axis.set_yticks(range(len(names)), names)
        axis.set_xlabel("predicted")
        axis.set_ylabel("true")
        axis.set_title("Confusion matrix, test images")
        if numbered:
            for (row, column), count in np.ndenumerate(counts):
                light = shares[row, column] > 0.55
                axis.text(column, row, f"{count}", ha="center", va="center", color="black" if light else "white")
        figure.colorbar(image, ax=axis, label="share of the true class", shrink=0.85, aspect=6 * side)
        save(figure, path)


def roc(path: Path, labels: Sequence[int], probabilities: "NDArray[np.float64]", names: Sequence[str]) -> None:
    """ROC curve of the second class (of two), or of each class against the rest, with the area below it."""
    from sklearn import metrics  # noqa: PLC0415 - 1 s that no other figure needs

    truth = np.array(labels)
    drawn = Task(tuple(names)).roc_classes[:MAX_CLASSES]
    outside = len(drawn) > 8  # a legend of more lines covers the curves
    with mpl.rc_context(STYLE):
        figure, axes = _figure(8.2 if outside else 5.4, 4.6)
        axis = axes[0, 0]
        axis.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="chance")
        for number, label in enumerate(drawn):
            positive = truth == label
            if positive.all() or not positive.any():
                continue
            false_rate, true_rate, _ = metrics.roc_curve(positive, probabilities[:, label])
            area = metrics.auc(false_rate, true_rate)
            axis.plot(
                false_rate,
                true_rate,
                color=COLOURS[number % len(COLOURS)],
                linestyle=("-", "-.", ":")[number // len(COLOURS) % 3],
                linewidth=2,
                label=f"{shortened(names[label])} ({area:.3f})",
            )
        axis.set_aspect("equal")
        axis.set_xlabel("false positive rate")
        axis.set_ylabel("true positive rate")
        axis.set_title(titled("ROC, test images (area under the curve)", len(names)))
        if outside:
            axis.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
        else:
            axis.legend(loc="lower right", fontsize=8)
        save(figure, path)
