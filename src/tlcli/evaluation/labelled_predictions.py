"""Labelled images with their predictions, and those of them that are worth a look.

Shapes: N images, L classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.datasets.index import LabelledImage

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SURE = 0.9
_ERRORS, _LEAST_CONFIDENT = 12, 6


@dataclass(frozen=True)
class Predictions:
    """Labelled images, and the probabilities that a model gives them."""

    images: Sequence[LabelledImage]
    truth: "NDArray[np.int64]"
    """Numbers of the labels [N]."""
    probabilities: "NDArray[np.float64]"
    """[N, L]"""
    answers: "NDArray[np.int64] | None" = None
    """Numbers of the classes answered [N], where thresholds decide; None: the most probable ones."""

    @property
    def predicted(self) -> "NDArray[np.int64]":
        """Numbers of the classes answered [N]."""
        return np.asarray(self.probabilities.argmax(axis=1)) if self.answers is None else self.answers

    @property
    def confidence(self) -> "NDArray[np.float64]":
        """Probabilities of the predicted classes [N]."""
        return np.asarray(self.probabilities[np.arange(len(self.probabilities)), self.predicted])

    def worst_errors(self, most: int = _ERRORS) -> "NDArray[np.int64]":
        """The misclassified images of the highest confidence, the worst first."""
        wrong = np.flatnonzero(self.predicted != self.truth)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:most]

    def sure_errors(self) -> tuple[int, float]:
        """How many images are misclassified with a confidence of 0.9 or more, and how many would be by these
        confidences if all labels were right."""
        sure = self.confidence >= _SURE
        wrong = np.count_nonzero(sure & (self.predicted != self.truth))
        return int(wrong), float((1 - self.confidence[sure]).sum())

    def least_confident(self) -> "NDArray[np.int64]":
        """The correctly classified images of the lowest confidence, the lowest first."""
        correct = np.flatnonzero(self.predicted == self.truth)
        return correct[np.argsort(self.confidence[correct], kind="stable")][:_LEAST_CONFIDENT]
