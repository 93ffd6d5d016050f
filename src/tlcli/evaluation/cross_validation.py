"""What cross-validation of a head on its training and validation images found: the figure to choose between runs by,
which does not touch the test images.

Shapes: N images divided into folds, L classes, S training set sizes, J folds of all repeats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlcli.evaluation.split_metrics import Metrics
from tlcli.evaluation.threshold_gain import ThresholdGain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.heads.repeated_cross_validation import CrossValidated


@dataclass(frozen=True)
class LayerGain:
    """What the layers that the head uses bring over the last layer alone, on the same folds."""

    layers: tuple[str, ...]
    """Those that the head uses."""
    accuracy: float
    """Accuracy gained, a share; below 0 where it is lost."""
    ci95: tuple[float, float]
    """Corrected for overlapping training folds (Nadeau and Bengio 2003)."""
    compared_with: tuple[str, ...] = ()
    """Poolings of the last layer that it is compared with."""

    @property
    def may_be_chance(self) -> bool:
        """Whether the interval includes 0."""
        return self.ci95[0] <= 0 <= self.ci95[1]


@dataclass(frozen=True)
class CrossValidation:
    """Repeated cross-validation of logistic regression on the training and validation images."""

    __pydantic_config__ = {"allow_inf_nan": False}  # noqa: RUF012 - read by pydantic, no field

    accuracy: float
    """Mean over all folds of all repeats."""
    accuracy_ci95: tuple[float, float]
    """Corrected for overlapping training folds (Nadeau and Bengio 2003)."""
    balanced_accuracy: float | None
    """Of the out-of-fold predictions: each image's mean probabilities over the repeats."""
    log_loss: float | None
    """Of these, calibrated by the head's temperature."""
    images: int
    """N: all, or a sample where there are very many."""
    folds: int
    repeats: int
    repeats_requested: int
    """By the config; more than were made where so many classes would have taken too long."""
    reduced_sizes: bool
    """The smaller training set sizes were left out, as they would have taken too long."""
    near_duplicates: int
    """Pairs of near duplicates that are kept in one fold."""
    is_own_head: bool
    """The run's head is logistic regression, too; for a mini-batch head, logistic regression stands for it."""
    test_share: float
    """Share of the images that a fold holds out."""
    sizes: tuple[int, ...]
    """[S], images fitted on, of the learning curve."""
    accuracies: tuple[tuple[float, ...], ...]
    """[S, J], on held-out images, of heads fitted on each size."""
    layers: LayerGain | None = None
    """None where the head takes one layer, or layers that the config names."""
    filtered_accuracy: float | None = None
    """Where images are set aside or relabelled: only on those that the head is fitted on, by the labels that it is
    fitted on. It flatters, since a classifier chose them, and so has no interval; all else is by the labels of the
    data."""
    thresholds: ThresholdGain | None = None
    """Where thresholds decide the answers; then the accuracies, the balanced accuracy and the learning curve are those
    with thresholds that were chosen on other folds. The log loss and the gain of layers are without."""


def summarize(
    found: "CrossValidated", metrics: Metrics, near_duplicates: int, is_own_head: bool
) -> CrossValidation:  # fmt: skip
    """The result of :func:`tlcli.heads.repeated_cross_validation.cross_validate` in figures.

    Args:
        found: the result.
        metrics: of its out-of-fold probabilities.
        near_duplicates: pairs that are kept in one fold.
        is_own_head: see :class:`CrossValidation`.
    """
    scores = found.accuracies[-1]
    return CrossValidation(
        accuracy=float(scores.mean()),
        accuracy_ci95=_interval(scores, found),
        balanced_accuracy=metrics.scores["balanced_accuracy"],
        log_loss=metrics.scores["log_loss"],
        images=found.rows_used,
        folds=round(len(scores) / found.repeats),
        repeats=found.repeats,
        repeats_requested=found.repeats_requested,
        reduced_sizes=found.reduced_sizes,
        near_duplicates=near_duplicates,
        is_own_head=is_own_head,
        test_share=found.test_share,
        sizes=found.sizes,
        accuracies=tuple(tuple(row) for row in found.accuracies.tolist()),
    )


def layer_gain(
    layers: Sequence[str], found: "CrossValidated", last: "CrossValidated", compared_with: Sequence[str]
) -> LayerGain:  # fmt: skip
    """Compares a head with one of the last layer alone.

    Args:
        layers: that the head uses.
        found: cross-validation of the head.
        last: of the last layer alone, on the same folds; it may have more or fewer repeats, which are left out.
        compared_with: poolings of the last layer.
    """
    from tlcli.evaluation.intervals import paired_resampled  # noqa: PLC0415 - as below

    shared = min(found.accuracies.shape[1], last.accuracies.shape[1])
    scores, others = found.accuracies[-1, :shared], last.accuracies[-1, :shared]
    ends = paired_resampled(scores, others, found.test_share, found.units_used)
    return LayerGain(tuple(layers), float((scores - others).mean()), ends, tuple(compared_with))


def _interval(scores: "NDArray[np.float64]", found: "CrossValidated") -> tuple[float, float]:
    import numpy as np  # noqa: PLC0415 - what only reads the figures starts fast

    from tlcli.evaluation.intervals import corrected_resampled_t, wilson  # noqa: PLC0415 - SciPy

    mean = float(scores.mean())
    if len(scores) > 1 and np.ptp(scores) > 0:
        low, high = corrected_resampled_t(scores, found.test_share)
    else:  # such as every fold without an error: no variance, but so many images do not prove it
        low, high = wilson(mean * found.units_used, found.units_used)
    return max(0.0, low), min(1.0, high)
