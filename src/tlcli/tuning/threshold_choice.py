"""Whether thresholds per class improve the winner, on images that had no part in choosing them.

Shapes: N images, L classes, J outer folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.evaluation.objectives import Objective
from tlcli.evaluation.thresholds import choose_thresholds
from tlcli.tuning.head_search import NestedFolds
from tlcli.tuning.selection import interval_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ThresholdChoice:
    """The metric of the winner's answers with thresholds and without, on the outer folds."""

    objective: str
    """The metric, as ``head.thresholds`` has it. Of recall@precision: the recall, 0 where the precision is below."""
    most_probable: float
    """Of the most probable classes, mean over the folds."""
    chosen: float
    """With thresholds that were chosen on the inner folds of each outer one."""
    gain_ci95: tuple[float, float]
    """Of the paired difference, positive where thresholds help."""

    @property
    def gain(self) -> float:
        """Of thresholds."""
        return self.chosen - self.most_probable

    @property
    def helps(self) -> bool:
        """Whether there is evidence that thresholds help."""
        return self.gain_ci95[0] > 0

    @property
    def hurts(self) -> bool:
        """Whether there is evidence that they do harm."""
        return self.gain_ci95[1] < 0


def threshold_scores(
    labels: "NDArray[np.int64]", folds: NestedFolds, probabilities: "Sequence[NDArray[np.float64]]",
    objective: Objective,
) -> "NDArray[np.float64]":  # fmt: skip
    """The metric on each outer fold, of the most probable classes and of those that thresholds decide for.

    The thresholds of an outer fold are chosen on what its inner folds hold out: on images that it was fitted on, each
    by a head that was not.

    Args:
        labels: the ground truth [N].
        folds: of the images, nested.
        probabilities: of the images that each of all folds holds out, by the head that it was fitted with [n, L].
        objective: of the predicted classes.

    Returns:
        [2, J], more is better; NaN for a fold without images of the class whose recall is measured.
    """
    found = []
    for outer, within in zip(folds.outer, folds.inner, strict=True):
        inside = np.concatenate([folds.all[number][1] for number in within])
        chosen = choose_thresholds(labels[inside], np.concatenate([probabilities[n] for n in within]), objective)
        of_outer, truth = probabilities[outer], labels[folds.all[outer][1]]
        count = of_outer.shape[1]
        answers = (np.asarray(of_outer.argmax(axis=1)), chosen.decide(of_outer))
        found.append([objective.of_decisions(truth, one, count) for one in answers])
    return np.array(found).T


def threshold_choice(
    objective: Objective, scores: "NDArray[np.float64]", test_share: float
) -> ThresholdChoice | None:  # fmt: skip
    """From the scores of :func:`threshold_scores` [2, J]; None where none is defined.

    Args:
        objective: of the scores.
        scores: without and with thresholds.
        test_share: share of the images that an outer fold holds out.
    """
    scores = scores[:, np.isfinite(scores).all(axis=0)]
    if not scores.size:
        return None
    before, after = scores
    ends = interval_of(after - before, test_share)
    return ThresholdChoice(str(objective), float(before.mean()), float(after.mean()), ends)
