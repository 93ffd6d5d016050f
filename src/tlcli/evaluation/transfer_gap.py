"""Does transfer help? The negative-transfer gap: what pretrained features gain over features that know of no other
images, by the same kind of head on the same folds (Wang et al. 2019, arXiv 1811.09751, section 3).

Shapes: J folds of all repeats.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Reference = Literal["random_weights", "pixels", "colour_histogram", "from_scratch"]
"""What pretrained features are compared with: those of the same network with random weights, small thumbnails, colour
histograms; a small network that is trained from scratch on each fold (:mod:`tlcli.heads.small_network`)."""
Verdict = Literal["helps", "no_evidence", "hurts"]
"""Whether the 95 % interval of the gain is above 0, contains 0, or is below 0."""
NoTransfer = Literal["off", "random_weights", "few_images", "not_divisible"]
"""Why nothing is compared: switched off; the backbone is itself random; too few images; a class has too few different
images to be divided."""
LeftOut = Literal["own_network", "unavailable", "no_time"]
"""Why one reference is left out: there are no random weights of an own network; it cannot be computed on this machine;
the budget of a search has no time for it."""
MIN_IMAGES = 50
"""Below which an interval of a difference says nothing."""


@dataclass(frozen=True)
class Comparison:
    """The pretrained features against one reference."""

    reference: Reference
    accuracy: float
    """Of the head on the reference's features, mean over the folds."""
    gain: float
    """Accuracy of the pretrained features less this one, a share; below 0 where transfer hurts."""
    ci95: tuple[float, float]
    """Of the gain, paired by fold and corrected for overlapping training folds (Nadeau and Bengio 2003). Simultaneous:
    with 95 % all comparisons' intervals contain the true gain (Bonferroni), so that of several that mean nothing none
    looks like evidence more often than 5 % of the time."""
    verdict: Verdict
    folds: int | None = None
    """On which both are measured, the first ones; the gain is that on these. None in records of older versions: all."""


@dataclass(frozen=True)
class TransferGap:
    """Whether pretraining helps on a sample of the training and validation images."""

    __pydantic_config__ = {"allow_inf_nan": False}  # noqa: RUF012 - read by pydantic, no field

    accuracy: float
    """Of the head on the pretrained features, mean over the folds."""
    comparisons: tuple[Comparison, ...]
    images: int
    """Of the sample, training and validation images."""
    of_images: int
    """All of these."""
    classes: int
    """In the sample: fewer than there are where so many images have no room for all."""
    folds: int
    repeats: int
    is_own_head: bool
    """The run's head is logistic regression, too; for other heads, logistic regression stands for it."""
    left_out: Mapping[Reference, LeftOut] = field(default_factory=dict)
    """References without a comparison, and why."""

    def against(self, reference: Reference) -> Comparison:
        """The comparison with one reference."""
        return next(one for one in self.comparisons if one.reference == reference)


def compare_features(
    pretrained: "NDArray[np.float64]", references: "Mapping[Reference, NDArray[np.float64]]", test_share: float,
    units: int,
) -> tuple[Comparison, ...]:  # fmt: skip
    """Compares the accuracy of pretrained features with that of each reference.

    Args:
        pretrained: accuracy on each fold of each repeat [J].
        references: the same of each reference, on the same folds [J], or on the first of them.
        test_share: share of the images that a fold holds out.
        units: how many images, or groups of images, are divided.
    """
    from tlcli.evaluation.intervals import paired_resampled  # noqa: PLC0415 - SciPy: reading the figures does without

    found, confidence = [], 1 - 0.05 / len(references)
    for reference, accuracies in references.items():
        mine = pretrained[: len(accuracies)]
        ends = paired_resampled(mine, accuracies, test_share, units, confidence)
        gain = float(mine.mean() - accuracies.mean())
        found.append(Comparison(reference, float(accuracies.mean()), gain, ends, _verdict(*ends), len(accuracies)))
    return tuple(found)


def _verdict(low: float, high: float) -> Verdict:
    if low > 0:
        return "helps"
    return "hurts" if high < 0 else "no_evidence"
