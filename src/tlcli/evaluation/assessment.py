"""The assessment of a run beyond its metrics: confidence intervals, baselines, calibration, leaks, out-of-distribution
images, cross-validation and learning curve. All from stored features.

Shapes: N images of all splits, n test images, L classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tlcli.datasets.index import LabelledImage
from tlcli.datasets.split_names import SplitName
from tlcli.evaluation.baselines import colour_rows, measure_baselines
from tlcli.evaluation.calibration import Bin, Coverage, coverage_curve, expected_calibration_error, reliability
from tlcli.evaluation.intervals import corrected_resampled_t, wilson, wilson_of_units
from tlcli.evaluation.learning_curve import MIN_SIZES, LearningCurve, learning_curve
from tlcli.evaluation.near_duplicates import find_near_duplicates
from tlcli.evaluation.resampled_intervals import metric_intervals
from tlcli.features.rows import Rows
from tlcli.heads.calibration import with_temperature
from tlcli.heads.fit_record import FitKind
from tlcli.heads.repeated_cross_validation import CrossValidated
from tlcli.heads.task import Task
from tlcli.images.preparation import Preparation
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

NoCurve = Literal["not_cross_validated", "many_classes", "few_images"]
"""Why there is no learning curve."""

Interval = tuple[float, float]
"""Lower and upper end of a 95 % confidence interval."""


@dataclass(frozen=True)
class Calibration:
    """What the temperature does on the test images. It is fitted on validation images, and (of logistic regression) on
    training images while cross-validation held them out."""

    temperature: float
    ece_before: float
    ece_after: float
    bins_before: tuple[Bin, ...]
    bins_after: tuple[Bin, ...]
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True)
class CrossValidationAccuracy:
    """Accuracy of logistic regression by repeated cross-validation on the training and validation images."""

    accuracy: float
    accuracy_ci95: Interval
    folds: int
    repeats: int
    images: int
    repeats_requested: int
    """By the config; more than were made where so many classes would have taken too long"""


@dataclass(frozen=True)
class BaselineAccuracy:
    """Accuracy of a baseline on the test images."""

    name: str
    accuracy: float
    accuracy_ci95: Interval


@dataclass(frozen=True)
class DuplicatePair:
    """A test image and its duplicate among the training images."""

    test: str
    train: str
    kind: Literal["exact", "near"]
    """exact: the same bytes"""


@dataclass(frozen=True)
class TrainTestDuplicates:
    """Test images that have a duplicate in training (leaks), and the test accuracy without them."""

    pairs: tuple[DuplicatePair, ...]
    """One for each such test image"""
    n_without: int
    """Test images without a duplicate"""
    accuracy_without: float | None
    """On these; None where there are none"""
    accuracy_without_ci95: Interval | None

    def count(self, kind: Literal["exact", "near"]) -> int:
        """Test images with a duplicate of this kind."""
        return sum(pair.kind == kind for pair in self.pairs)


@dataclass(frozen=True)
class OutOfDistribution:
    """How often predict would answer "none of these" for images that belong to one of the classes."""

    threshold: float
    """Cosine distance from the nearest reference image above which it does."""
    validation: float
    """Share of the validation images."""
    test: float
    """Share of the test images."""


@dataclass(frozen=True)
class Assessment:
    """The whole assessment, as report.json has it."""

    intervals: dict[str, Interval | None]
    """Of each metric of the test split"""
    is_grouped: bool
    """Test images belong together in groups, which the intervals respect."""
    recall_intervals: tuple[Interval | None, ...]
    """Of each class [L]; None of a class without test images"""
    baselines: tuple[BaselineAccuracy, ...]
    """On the test images; the first is the majority class"""
    calibration: Calibration
    near_duplicates: TrainTestDuplicates
    out_of_distribution: OutOfDistribution
    cross_validation: CrossValidationAccuracy | None
    learning_curve: LearningCurve | None
    is_logistic_regression: bool
    """The run's head was fitted by logistic regression, as those of cross-validation and learning curve always are."""
    no_learning_curve: NoCurve | None = None
    """Why there is none; None where there is one."""


def assess(
    images: Sequence[LabelledImage], rows: Rows, task: Task, probabilities: "NDArray[np.float64]", *, kind: FitKind,
    temperature: float, preparation: Preparation, out_of_distribution: OutOfDistribution,
    cross_validated: CrossValidated | None, seed: int, progress: Progress = SILENT,
) -> Assessment:  # fmt: skip
    """Assesses a run on its test images.

    Args:
        images: of all splits [N].
        rows: features of these plain images, in the same order.
        task: the classes.
        probabilities: of the test images, in their order [n, L].
        kind: how the head was fitted.
        temperature: of the head.
        preparation: decodes images, for colour histograms and near duplicates.
        out_of_distribution: see :meth:`tlcli.model.reference.Reference.out_of_distribution`.
        cross_validated: of the training and validation images; None leaves out what follows from it.
        seed: of the baselines.
        progress: receives the stages.
    """
    test = rows.part(_members(images, "test"))
    correct = probabilities.argmax(axis=1) == test.labels
    with progress.stage("Computing confidence intervals"):
        intervals = metric_intervals(test.labels, probabilities, task, test.units)
    return Assessment(
        intervals=intervals,
        is_grouped=len(np.unique(test.units)) < len(test),
        recall_intervals=tuple(
            wilson_of_units(correct[member], test.units[member]) if member.any() else None
            for member in (test.labels == number for number in range(task.count))
        ),
        baselines=_baselines(images, rows, preparation, seed, progress),
        near_duplicates=train_test_duplicates(images, rows, preparation, correct, progress),
        out_of_distribution=out_of_distribution,
        calibration=_calibration(test.labels, probabilities, temperature),
        cross_validation=_accuracy(cross_validated) if cross_validated else None,
        learning_curve=_learning_curve(cross_validated, len(_members(images, "train"))) if cross_validated else None,
        is_logistic_regression=kind == "logistic_regression",
        no_learning_curve=_no_curve(cross_validated),
    )


def _members(images: Sequence[LabelledImage], *splits: SplitName) -> "NDArray[np.int64]":
    """Numbers of the images of these splits."""
    return np.flatnonzero([image.split in splits for image in images])


def _calibration(
    truth: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", temperature: float
) -> Calibration:  # fmt: skip
    before = with_temperature(probabilities, 1 / temperature)
    return Calibration(
        temperature,
        expected_calibration_error(truth, before),
        expected_calibration_error(truth, probabilities),
        reliability(truth, before),
        reliability(truth, probabilities),
        coverage_curve(truth, probabilities),
    )


def _baselines(
    images: Sequence[LabelledImage], rows: Rows, preparation: Preparation, seed: int, progress: Progress
) -> tuple[BaselineAccuracy, ...]:
    numbers = _members(images, "train", "test")
    chosen, features = [images[number] for number in numbers], rows.part(numbers)
    held = np.array([image.split == "test" for image in chosen])
    colours = colour_rows(chosen, features, preparation, progress)
    return tuple(
        BaselineAccuracy(one.name, one.accuracy, wilson_of_units(one.correct, features.units[held]))
        for one in measure_baselines(features, colours, held, seed, progress)
    )


def train_test_duplicates(
    images: Sequence[LabelledImage], rows: Rows, preparation: Preparation, correct: "NDArray[np.bool_]",
    progress: Progress = SILENT,
) -> TrainTestDuplicates:  # fmt: skip
    """Finds the test images that have an exact or near duplicate among the training images.

    Args:
        images: of these splits at least [N].
        rows: features of these plain images, in the same order.
        preparation: decodes them.
        correct: which test images are classified correctly [n].
        progress: receives the stage.
    """
    test = _members(images, "test")
    both = np.concatenate([test, _members(images, "train")])
    training = {image.sha256: image.name for image in images if image.split == "train"}
    tested = [images[number] for number in test]
    pairs = {
        one.name: DuplicatePair(one.name, training[one.sha256], "exact") for one in tested if one.sha256 in training
    }
    chosen = [images[number] for number in both]
    for near in find_near_duplicates(chosen, rows.part(both), preparation, ("test", "train"), progress=progress):
        pairs.setdefault(near.first.name, DuplicatePair(near.first.name, near.second.name, "near"))
    return without_duplicates(list(pairs.values()), [one.name for one in tested], correct, rows.units[test])


def without_duplicates(
    pairs: Sequence[DuplicatePair], names: Sequence[str], correct: "NDArray[np.bool_]", units: "NDArray[np.int64]"
) -> TrainTestDuplicates:  # fmt: skip
    """The pairs, and the accuracy on the other test images; names, correctness and units of all of these [n]."""
    duplicated = {pair.test for pair in pairs}
    alone = np.array([name not in duplicated for name in names])
    n, found = int(alone.sum()), tuple(sorted(pairs, key=lambda pair: pair.kind))
    if not n:
        return TrainTestDuplicates(found, 0, None, None)
    return TrainTestDuplicates(found, n, float(correct[alone].mean()), wilson_of_units(correct[alone], units[alone]))


def _accuracy(cross_validated: CrossValidated) -> CrossValidationAccuracy | None:
    scores = cross_validated.accuracies[-1]
    if len(scores) < 2:  # no variance
        return None
    accuracy, folds = float(scores.mean()), round(len(scores) / cross_validated.repeats)
    if np.ptp(scores) > 0:
        low, high = corrected_resampled_t(scores, cross_validated.test_share)
    else:  # such as every fold without an error: no variance, but so many images do not prove it
        low, high = wilson(accuracy * cross_validated.units_used, cross_validated.units_used)
    ends = (max(0.0, low), min(1.0, high))
    return CrossValidationAccuracy(
        accuracy, ends, folds, cross_validated.repeats, cross_validated.rows_used, cross_validated.repeats_requested
    )


def _no_curve(cross_validated: CrossValidated | None) -> NoCurve | None:
    if cross_validated is None:
        return "not_cross_validated"
    if len(cross_validated.sizes) >= MIN_SIZES:
        return None
    return "many_classes" if cross_validated.reduced_sizes else "few_images"


def _learning_curve(cross_validated: CrossValidated, images: int) -> LearningCurve | None:
    sizes = np.array(cross_validated.sizes)
    return learning_curve(sizes, cross_validated.accuracies, cross_validated.test_share, images)
