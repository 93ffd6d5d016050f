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
from tlcli.evaluation.baselines import measure_baselines
from tlcli.evaluation.calibration import Bin, Coverage, coverage_curve, expected_calibration_error, reliability
from tlcli.evaluation.cross_validation import CrossValidation
from tlcli.evaluation.duplicate_pairs import near_duplicate_pairs
from tlcli.evaluation.intervals import wilson_of_units
from tlcli.evaluation.learning_curve import MIN_SIZES, LearningCurve, learning_curve
from tlcli.evaluation.prediction_sets import LEVELS, PredictionSets, prediction_sets
from tlcli.evaluation.resampled_intervals import metric_intervals
from tlcli.evaluation.transfer_gap import NoTransfer, TransferGap
from tlcli.features.colour_histogram import COLOURS
from tlcli.features.rows import Rows
from tlcli.heads.calibration import with_temperature
from tlcli.heads.fit_record import WITH_FOLDS, FitKind
from tlcli.heads.task import Task
from tlcli.images.preparation import Preparation
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ENOUGH = 50
"""Images below which shares of the most confident ones say nothing."""
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


@dataclass(frozen=True)
class Confidence:
    """What ``--min-confidence`` and ``--coverage`` of predict cost and gain, measured on images that the head was not
    fitted on and that are no test images."""

    source: Literal["out_of_fold", "validation"]
    """Training and validation images, out of fold; or, of a mini-batch head, the validation images."""
    images: int
    coverage: tuple[Coverage, ...]
    prediction_sets: tuple[PredictionSets, ...]


@dataclass(frozen=True)
class Unseen:
    """Predictions of images that the head was not fitted on and that are no test images."""

    source: Literal["out_of_fold", "validation"]
    """See :class:`Confidence`."""
    labels: "NDArray[np.int64]"
    """[M]"""
    probabilities: "NDArray[np.float64]"
    """[M, L], calibrated."""
    predicted: "NDArray[np.int64]"
    """[M], the answers: the most probable classes, or those of thresholds."""


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
    test: float | None
    """Share of the test images; None where there are none."""


@dataclass(frozen=True)
class Assessment:
    """The whole assessment, as report.json has it."""

    measured: Literal["test", "out_of_fold"]
    """The images that everything was measured on: the test images; or, of a run without test images, training and
    validation images out of fold."""
    intervals: dict[str, Interval | None]
    """Of each metric of the test split"""
    is_grouped: bool
    """Test images belong together in groups, which the intervals respect."""
    recall_intervals: tuple[Interval | None, ...]
    """Of each class [L]; None of a class without test images"""
    baselines: tuple[BaselineAccuracy, ...]
    """On the test images; the first is the majority class. None out of fold"""
    calibration: Calibration
    near_duplicates: TrainTestDuplicates
    out_of_distribution: OutOfDistribution
    confidence: Confidence | None
    """None where there are fewer than 50 such images."""
    cross_validation: CrossValidation | None
    learning_curve: LearningCurve | None
    is_logistic_regression: bool
    """The run's head was fitted by logistic regression, as those of cross-validation and learning curve always are."""
    no_learning_curve: NoCurve | None = None
    """Why there is none; None where there is one."""
    transfer: TransferGap | None = None
    """Whether pretraining helps, on training and validation images; None where that was not measured."""
    no_transfer: NoTransfer | None = None
    """Why it was not."""


def assess(
    images: Sequence[LabelledImage], rows: Rows, task: Task, probabilities: "NDArray[np.float64]",
    predicted: "NDArray[np.int64]", *, kind: FitKind, temperature: float, preparation: Preparation, features: str,
    out_of_distribution: OutOfDistribution,
    cross_validation: CrossValidation | None, unseen: Unseen, seed: int, progress: Progress = SILENT,
) -> Assessment:  # fmt: skip
    """Assesses a run on its test images.

    Args:
        images: of all splits [N].
        rows: features of these plain images, in the same order, to compare images by.
        task: the classes.
        probabilities: of the test images, in their order [n, L].
        predicted: the answers for them [n].
        kind: how the head was fitted.
        temperature: of the head.
        preparation: decodes images, for colour histograms and near duplicates.
        features: the key of the features, by which near duplicates are kept in the cache.
        out_of_distribution: see :meth:`tlcli.model.reference.Reference.out_of_distribution`.
        cross_validation: of the training and validation images; None leaves out what follows from it.
        unseen: images that the head was not fitted on and that are no test images.
        seed: of the baselines.
        progress: receives the stages.
    """
    test = rows.part(_members(images, "test"))
    correct = predicted == test.labels
    with progress.stage("Computing confidence intervals"):
        intervals = metric_intervals(test.labels, probabilities, task, test.units, predicted=predicted)
    return Assessment(
        measured="test",
        intervals=intervals,
        is_grouped=len(np.unique(test.units)) < len(test),
        recall_intervals=_recall_intervals(test.labels, correct, test.units, task),
        baselines=_baselines(images, rows, preparation, seed, progress),
        near_duplicates=train_test_duplicates(images, rows, preparation, features, correct, progress),
        out_of_distribution=out_of_distribution,
        calibration=_calibration(test.labels, probabilities, temperature),
        confidence=_confidence(unseen, (test.labels, probabilities), predicted),
        cross_validation=cross_validation,
        learning_curve=_learning_curve(cross_validation, len(_members(images, "train"))),
        is_logistic_regression=kind in WITH_FOLDS,
        no_learning_curve=_no_curve(cross_validation),
    )


def assess_out_of_fold(
    rows: Rows, task: Task, found: Unseen, *, temperature: float, out_of_distribution: OutOfDistribution,
    cross_validation: CrossValidation, training: int, progress: Progress = SILENT,
) -> Assessment:  # fmt: skip
    """Assesses a run without test images by the predictions of cross-validation.

    Args:
        rows: features of the images predicted [M].
        task: the classes.
        found: their predictions.
        temperature: of the head.
        out_of_distribution: see :func:`assess`.
        cross_validation: the figures; the interval of the accuracy is theirs.
        training: number of training images.
        progress: receives the stages.
    """
    correct = found.predicted == found.labels
    with progress.stage("Computing confidence intervals"):
        intervals = metric_intervals(found.labels, found.probabilities, task, rows.units, predicted=found.predicted)
    return Assessment(
        measured="out_of_fold",
        intervals={**intervals, "accuracy": cross_validation.accuracy_ci95},
        is_grouped=len(np.unique(rows.units)) < len(rows),
        recall_intervals=_recall_intervals(found.labels, correct, rows.units, task),
        baselines=(),
        near_duplicates=TrainTestDuplicates((), 0, None, None),
        out_of_distribution=out_of_distribution,
        calibration=_calibration(found.labels, found.probabilities, temperature),
        confidence=_confidence(found, None),
        cross_validation=cross_validation,
        learning_curve=_learning_curve(cross_validation, training),
        is_logistic_regression=True,
        no_learning_curve=_no_curve(cross_validation),
    )


def _recall_intervals(
    labels: "NDArray[np.int64]", correct: "NDArray[np.bool_]", units: "NDArray[np.int64]", task: Task
) -> tuple[Interval | None, ...]:
    members = (labels == number for number in range(task.count))
    return tuple(wilson_of_units(correct[part], units[part]) if part.any() else None for part in members)


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
    )


def _confidence(
    unseen: Unseen, test: "tuple[NDArray[np.int64], NDArray[np.float64]] | None",
    answers: "NDArray[np.int64] | None" = None,
) -> Confidence | None:  # fmt: skip
    if len(unseen.labels) < _ENOUGH:
        return None
    found = (unseen.labels, unseen.probabilities)
    sets = (prediction_sets(*found, level, test, unseen.predicted, answers) for level in LEVELS)
    return Confidence(
        unseen.source,
        len(unseen.labels),
        coverage_curve(*found, unseen.predicted),
        tuple(one for one in sets if one),
    )


def _baselines(
    images: Sequence[LabelledImage], rows: Rows, preparation: Preparation, seed: int, progress: Progress
) -> tuple[BaselineAccuracy, ...]:
    numbers = _members(images, "train", "test")
    chosen, features = [images[number] for number in numbers], rows.part(numbers)
    held = np.array([image.split == "test" for image in chosen])
    colours = COLOURS.rows(chosen, features, preparation, progress)
    return tuple(
        BaselineAccuracy(one.name, one.accuracy, wilson_of_units(one.correct, features.units[held]))
        for one in measure_baselines(features, colours, held, seed, progress)
    )


def train_test_duplicates(
    images: Sequence[LabelledImage], rows: Rows, preparation: Preparation, features: str,
    correct: "NDArray[np.bool_]", progress: Progress = SILENT,
) -> TrainTestDuplicates:  # fmt: skip
    """Finds the test images that have an exact or near duplicate among the training images.

    Args:
        images: of these splits at least [N].
        rows: features of these plain images, in the same order, to compare images by.
        preparation: decodes them.
        features: the key of the features.
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
    near = near_duplicate_pairs(chosen, rows.part(both), preparation, features, progress, ("test", "train"))
    for content, of_training in near:
        for one in tested:
            if one.sha256 == content:
                pairs.setdefault(one.name, DuplicatePair(one.name, training[of_training], "near"))
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


def _learning_curve(cross_validation: CrossValidation | None, images: int) -> LearningCurve | None:
    if cross_validation is None:
        return None
    sizes, accuracies = np.array(cross_validation.sizes), np.array(cross_validation.accuracies)
    return learning_curve(sizes, accuracies, cross_validation.test_share, images)


def _no_curve(cross_validation: CrossValidation | None) -> NoCurve | None:
    if cross_validation is None:
        return "not_cross_validated"
    if len(cross_validation.sizes) >= MIN_SIZES:
        return None
    return "many_classes" if cross_validation.reduced_sizes else "few_images"
