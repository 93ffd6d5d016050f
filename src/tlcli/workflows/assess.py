"""What evaluate measures beside the metrics: how sure they are, what simpler ways reach, whether confidence can be
believed, what copies do, what more images would bring. All from stored features.

Shapes: N test images, L labels.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.errors import DataError
from tlcli.evaluation.calibration import (
    Bin,
    Coverage,
    coverage_curve,
    expected_calibration_error,
    reliability,
    with_temperature,
)
from tlcli.evaluation.intervals import corrected_resampled_t, wilson, wilson_of_units
from tlcli.evaluation.learning_curve import LearningCurve, learning_curve
from tlcli.evaluation.uncertain import metric_intervals
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.heads.convex import fit_convex
from tlcli.heads.resampling import Resampled, resample
from tlcli.model.bundle import Bundle
from tlcli.progress import Progress
from tlcli.workflows.baselines import split_baselines
from tlcli.workflows.copies import near_copies
from tlcli.workflows.measure import split_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Calibration:
    """What the temperature, fitted on validation images, does on test images."""

    temperature: float
    ece_before: float
    ece_after: float
    bins_before: tuple[Bin, ...]
    bins_after: tuple[Bin, ...]
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True)
class CrossValidated:
    """Accuracy over repeated divisions of the training and validation images."""

    accuracy: float
    accuracy_ci95: tuple[float, float]
    folds: int
    repeats: int
    images: int


@dataclass(frozen=True)
class Baseline:
    """Accuracy of a simpler way, on the same images."""

    name: str
    accuracy: float
    accuracy_ci95: tuple[float, float]


@dataclass(frozen=True)
class Twin:
    """A test image that training has, too."""

    test: str
    train: str
    kind: str
    """exact (the same bytes) or near"""


@dataclass(frozen=True)
class Leaks:
    """What copies of training images do to the test accuracy."""

    twins: tuple[Twin, ...]
    n_without: int
    """Test images that have no twin"""
    accuracy_without: float | None
    accuracy_without_ci95: tuple[float, float] | None

    def count(self, kind: str) -> int:
        """Test images with a twin of this kind."""
        return sum(twin.kind == kind for twin in self.twins)


@dataclass(frozen=True)
class Familiarity:
    """How often predict would say "none of these" of images that are of a class."""

    limit: float
    validation: float
    test: float


@dataclass(frozen=True)
class Assessment:
    """All of it."""

    intervals: dict[str, tuple[float, float] | None]
    """95 % interval of each metric of the test split"""
    is_grouped: bool
    """Test images of one group are taken together."""
    recall_intervals: tuple[tuple[float, float] | None, ...]
    """Of each class."""
    baselines: tuple[Baseline, ...]
    """On the test images; the first is the majority class"""
    calibration: Calibration
    leaks: Leaks
    familiarity: Familiarity
    cross_validation: CrossValidated | None
    learning_curve: LearningCurve | None
    is_convex: bool
    """The run's head was fitted the way that was cross-validated."""

    def as_json(self) -> dict[str, Any]:
        """For report.json."""
        return asdict(self)


def assess(
    index: Index, frozen: FeatureExtractor, bundle: Bundle, config: Config, strength: float | None,
    probabilities: "NDArray[np.float64]", progress: Progress,
) -> Assessment:  # fmt: skip
    """Measures a run beyond its metrics.

    Args:
        index: the images.
        frozen: the pass that made their features, all of which are in its store.
        bundle: the run's.
        config: the run's.
        strength: of the penalty, that the run chose; None of the minibatch recipe.
        probabilities: of the test images [N, L].
        progress: told of the stages.
    """
    test = split_rows(index.of("test"), index.labels, frozen.views[:1], frozen)
    is_grouped = len(np.unique(test.units)) < len(test)
    right = probabilities.argmax(axis=1) == test.labels
    with progress.stage("Measuring how sure that is"):
        intervals = metric_intervals(test.labels, probabilities, test.units)
    known = split_rows([*index.of("train"), *index.of("validation")], index.labels, frozen.views[:1], frozen)
    resampled = _resampled(known, config, strength, progress)
    return Assessment(
        intervals=intervals,
        is_grouped=is_grouped,
        recall_intervals=tuple(
            wilson_of_units(right[member], test.units[member]) if member.any() else None
            for member in (test.labels == number for number in range(len(index.labels)))
        ),
        baselines=tuple(
            Baseline(one.name, one.accuracy, wilson_of_units(one.right[0], test.units))
            for one in split_baselines(index, "test", frozen, config.train.seed, progress)
        ),
        leaks=_leaks(index, frozen, right, test.units, progress),
        familiarity=_familiarity(index, frozen, bundle),
        calibration=_calibration(test.labels, probabilities, bundle.head.temperature),
        cross_validation=_cross_validated(resampled, config),
        learning_curve=_curve(resampled, len(index.of("train"))),
        is_convex=strength is not None,
    )


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


def _leaks(
    index: Index, frozen: FeatureExtractor, right: "NDArray[np.bool_]", units: "NDArray[np.int64]", progress: Progress
) -> Leaks:  # fmt: skip
    """The test accuracy with and without images that training has, too."""
    training, test = index.of("train"), index.of("test")
    copies = {image.sha256: image.name for image in training}
    twins = {one.name: Twin(one.name, copies[one.sha256], "exact") for one in test if one.sha256 in copies}
    names = {one.name for one in test}
    for near in near_copies(test, training, index.labels, frozen, progress=progress):
        tested, trained = sorted((near.first.name, near.second.name), key=lambda name: name not in names)
        twins.setdefault(tested, Twin(tested, trained, "near"))
    alone = np.array([one.name not in twins for one in test])
    n, found = int(alone.sum()), tuple(sorted(twins.values(), key=lambda twin: twin.kind))
    if not n:
        return Leaks(found, 0, None, None)
    return Leaks(found, n, float(right[alone].mean()), wilson_of_units(right[alone], units[alone]))


def _familiarity(index: Index, frozen: FeatureExtractor, bundle: Bundle) -> Familiarity:
    limit = bundle.reference.limit
    shares = []
    for split in ("validation", "test"):
        rows = split_rows(index.of(split), index.labels, frozen.views[:1], frozen)
        far = [bundle.reference.similarities(block).max(axis=1) < 1 - limit for _, block in rows.blocks()]
        shares.append(float(np.concatenate(far).mean()))
    return Familiarity(limit, *shares)


def _resampled(known: Rows, config: Config, strength: float | None, progress: Progress) -> Resampled | None:
    """Repeated cross-validation of the convex fit; None where the config asks for none, or the images cannot be
    divided."""
    asked, head, seed = config.evaluate.cross_validation, config.head, config.train.seed
    if asked is None:
        return None
    try:
        if strength is None:  # the minibatch recipe has none, and to repeat it would take minutes
            fit = fit_convex(known, head.strengths, head.folds, head.standardize, head.class_weight, seed)
            strength = fit.history[fit.chosen - 1].strength or 1.0
        return resample(
            known, strength, asked.folds, asked.repeats, head.standardize, head.class_weight, seed, progress=progress
        )
    except DataError as error:
        progress.note(f"Without cross-validation: {error}")
        return None


def _cross_validated(resampled: Resampled | None, config: Config) -> CrossValidated | None:
    asked = config.evaluate.cross_validation
    if resampled is None or asked is None or len(scores := resampled.accuracies[-1]) < 2:
        return None
    accuracy, folds = float(scores.mean()), round(len(scores) / asked.repeats)
    if np.ptp(scores) > 0:
        low, high = corrected_resampled_t(scores, resampled.test_share)
    else:  # such as all right in every fold: nothing varies, but so many images do not prove it
        low, high = wilson(accuracy * resampled.units_used, resampled.units_used)
    ends = (max(0.0, low), min(1.0, high))
    return CrossValidated(accuracy, ends, folds, asked.repeats, resampled.rows_used)


def _curve(resampled: Resampled | None, images: int) -> LearningCurve | None:
    if resampled is None or len(resampled.sizes) < 3:
        return None
    return learning_curve(np.array(resampled.sizes), resampled.accuracies, resampled.test_share, images)
