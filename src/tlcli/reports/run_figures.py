"""The PNG files of a run's ``figures/``: which there are, and their names."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.datasets.index import Index
from tlcli.heads.fit_record import Step
from tlcli.images.augmentation import Augmentation
from tlcli.images.preparation import Preparation
from tlcli.reports import charts, data_charts, samples
from tlcli.reports.figures import save_png

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def draw_training(
    folder: Path, index: Index, history: Sequence[Step], best: Step, views: Sequence[str],
    preparation: Preparation, augmentation: Augmentation,
) -> None:  # fmt: skip
    """Writes what train knows: class counts, samples, augmented views (where there are any) and the fit's history."""
    training = index.of("train")
    save_png(data_charts.class_counts(index.counts()), folder / "class_counts.png")
    save_png(samples.samples(training, index.labels, preparation), folder / "samples.png")
    if len(views) > 1:
        save_png(samples.augmented(training, views, preparation, augmentation), folder / "augmented.png")
    save_png(charts.history(history, best), folder / "history.png")


def draw_test(
    folder: Path, labels: Sequence[str], matrix: Sequence[Sequence[int]], truth: Sequence[int],
    probabilities: "NDArray[np.float64]",
) -> None:  # fmt: skip
    """Writes what evaluate adds: the confusion matrix [L, L] and the ROC curves of the test images.

    Args:
        folder: of the figures.
        labels: all class names [L].
        matrix: true classes down, predicted ones across.
        truth: numbers of the images' labels [N].
        probabilities: [N, L].
    """
    save_png(charts.confusion_matrix(matrix, labels), folder / "confusion_matrix.png")
    save_png(charts.roc(truth, probabilities, labels), folder / "roc.png")
