"""How an artefact's answers agree with those of the trained model: arrays in, numbers out.

Shapes: N images, L classes.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.evaluation.thresholds import Thresholds, decided
from tlcli.export.formats import ArtefactPrecision

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_DIFFERENCE = 1e-3
"""Of a probability, and of a distance, for f32."""
MIN_AGREEMENT = {"f32": 1.0, "f16": 0.97, "int8": 0.97}
"""Share of images of equal class."""
_TIE = 1e-3
"""Two classes whose scores differ by less are equally probable: rounding decides."""


@dataclass(frozen=True)
class Answers:
    """What a model says of N images."""

    probabilities: "NDArray[np.float64]"
    """[N, L]"""
    distance: "NDArray[np.float64]"
    """[N]"""


@dataclass(frozen=True)
class Parity:
    """Agreement of two models on the same images."""

    images: int
    same_class: int
    """Images of equal class, as thresholds decide it or the highest probability; classes that are equally probable
    count as equal."""
    same_answer: int
    """The same with "none of these"."""
    max_difference: float
    """Of all probabilities."""
    mean_difference: float
    max_distance_difference: float

    @property
    def agreement(self) -> float:
        """Share of equal classes."""
        return self.same_class / self.images

    def is_enough(self, precision: ArtefactPrecision, resizes: bool = False) -> bool:
        """Whether an artefact of a precision may be given away.

        Args:
            precision: of the artefact.
            resizes: it resizes images itself, and so gets other pixels than training.
        """
        if not math.isfinite(self.max_distance_difference):
            return False
        if resizes:
            return self.agreement >= MIN_AGREEMENT["int8"]
        if precision == "f32" and not max(self.max_difference, self.max_distance_difference) <= MAX_DIFFERENCE:
            return False
        return self.agreement >= MIN_AGREEMENT[precision]


def compare(expected: Answers, found: Answers, limit: float, thresholds: Thresholds | None) -> Parity:
    """Compares the answers to the same images.

    Args:
        expected: of the trained model.
        found: of the artefact; numbers that are not finite agree with nothing.
        limit: of the distance, above which the answer is "none of these".
        thresholds: that decide the answers.
    """
    got = np.nan_to_num(found.probabilities, nan=-1.0)
    difference = np.abs(expected.probabilities - got)
    ours, theirs = (decided(one, thresholds) for one in (expected.probabilities, got))
    at = np.arange(len(ours))
    of_classes = np.array(thresholds.of_classes) if thresholds else np.ones(got.shape[1])
    scores = expected.probabilities / of_classes * of_classes.min()
    same = np.isfinite(found.probabilities).all(axis=1)
    same &= (ours == theirs) | (scores[at, ours] - scores[at, theirs] < _TIE)
    apart = np.abs(expected.distance - limit) > _TIE  # else rounding decides
    same_side = ((expected.distance > limit) == (found.distance > limit)) | ~apart
    return Parity(
        len(ours),
        int(same.sum()),
        int((same & same_side).sum()),
        float(difference.max()),
        float(difference.mean()),
        float(np.abs(expected.distance - found.distance).max()),
    )
