"""What evaluate measures beside the metrics, as typed results."""

from dataclasses import dataclass

from tlcli.evaluation.calibration import Bin, Coverage
from tlcli.evaluation.learning_curve import LearningCurve


@dataclass(frozen=True)
class Calibration:
    """The effect of the temperature on the test images; it was fitted on validation images and held-out training
    folds."""

    temperature: float
    ece_before: float
    ece_after: float
    bins_before: tuple[Bin, ...]
    bins_after: tuple[Bin, ...]
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True)
class CrossValidated:
    """Accuracy over repeated cross-validation of the training and validation images."""

    accuracy: float
    accuracy_ci95: tuple[float, float]
    folds: int
    repeats: int
    images: int


@dataclass(frozen=True)
class BaselineAccuracy:
    """Accuracy of a simpler method on the same test images."""

    name: str
    accuracy: float
    accuracy_ci95: tuple[float, float]


@dataclass(frozen=True)
class DuplicatePair:
    """A test image that has a duplicate in training."""

    test: str
    train: str
    kind: str
    """exact (the same bytes) or near."""


@dataclass(frozen=True)
class TrainTestDuplicates:
    """Test images with a duplicate in training, and the test accuracy without them."""

    pairs: tuple[DuplicatePair, ...]
    n_without: int
    """Test images that have none."""
    accuracy_without: float | None
    accuracy_without_ci95: tuple[float, float] | None

    def count(self, kind: str) -> int:
        """Test images with a duplicate of this kind."""
        return sum(pair.kind == kind for pair in self.pairs)


@dataclass(frozen=True)
class OutOfDistribution:
    """How often predict would answer "none of these" for images that do belong to a class."""

    threshold: float
    """Cosine distance from the nearest reference image above which it does."""
    validation: float
    test: float


@dataclass(frozen=True)
class Assessment:
    """All of it."""

    intervals: dict[str, tuple[float, float] | None]
    """95 % interval of each metric of the test split."""
    is_grouped: bool
    """Test images of one group were resampled as a whole."""
    recall_intervals: tuple[tuple[float, float] | None, ...]
    """Of each class."""
    baselines: tuple[BaselineAccuracy, ...]
    """On the test images; the first is the majority class."""
    calibration: Calibration
    near_duplicates: TrainTestDuplicates
    out_of_distribution: OutOfDistribution
    cross_validation: CrossValidated | None
    learning_curve: LearningCurve | None
    is_logistic_regression: bool
    """The run's own head is of the kind that was cross-validated."""
