"""The PNG files of a run's ``figures/``: which there are, and their names."""

from collections.abc import Sequence
from pathlib import Path

from tlcli.datasets.index import Index
from tlcli.evaluation.labelled_predictions import Predictions
from tlcli.evaluation.operating_curve import operating_curves
from tlcli.heads.fit_record import Step
from tlcli.images.augmentation import Augmentation
from tlcli.images.preparation import Preparation
from tlcli.reports import charts, data_charts, samples
from tlcli.reports.figures import save_png


def draw_training(
    folder: Path, index: Index, history: Sequence[Step], best: Step, views: Sequence[str],
    preparation: Preparation, augmentation: Augmentation, is_fine_tuned: bool,
) -> None:  # fmt: skip
    """Writes what train knows: class counts, samples, augmented views (where there are any) and the fit's history."""
    training = index.of("train")
    save_png(data_charts.class_counts(index.counts()), folder / "class_counts.png")
    save_png(samples.samples(training, index.labels, preparation), folder / "samples.png")
    if len(views) > 1:
        save_png(samples.augmented(training, views, preparation, augmentation), folder / "augmented.png")
    save_png(charts.history(history, best, is_fine_tuned), folder / "history.png")


def draw_test(
    folder: Path, labels: Sequence[str], matrix: Sequence[Sequence[int]], test: Predictions,
    out_of_fold: Predictions | None,
) -> None:  # fmt: skip
    """Writes what evaluate adds: the confusion matrix [L, L], the ROC curves and the operating curves of test images.

    Args:
        folder: of the figures.
        labels: all class names [L].
        matrix: true classes down, predicted ones across.
        test: of the test images.
        out_of_fold: of training and validation images by cross-validation, where there was one.
    """
    save_png(charts.confusion_matrix(matrix, labels), folder / "confusion_matrix.png")
    save_png(charts.roc(test.truth.tolist(), test.probabilities, labels), folder / "roc.png")
    if curves := operating_curves({"test": test, "out_of_fold": out_of_fold}):
        save_png(charts.operating_curves(curves, labels), folder / "precision_recall.png")
