"""Label issues: images whose label is probably wrong, by out-of-fold probabilities.

Confident learning (Northcutt et al. 2021), by cleanlab. Shapes: N images, L classes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelIssues:
    """Images ranked by how unlikely their labels are."""

    numbers: "NDArray[np.int64]"
    """[N], the least likely label first; images without probabilities are left out"""
    scores: "NDArray[np.float64]"
    """[N], self-confidence of each: the out-of-fold probability of its label"""
    count: int
    """The first so many are label issues by confident learning; the others are ranked only"""


def find_label_issues(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> LabelIssues:
    """Finds label issues and ranks all images.

    Args:
        labels: as given [N].
        probabilities: out of fold [N, L]; rows of NaN are left out.
    """
    from cleanlab import filter as cleanlab_filter  # noqa: PLC0415 - with pandas 1 s to import
    from cleanlab.rank import get_label_quality_scores  # noqa: PLC0415

    known = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    given, predicted = labels[known], probabilities[known]
    scores = get_label_quality_scores(given, predicted)  # self-confidence
    wrong = cleanlab_filter.find_label_issues(given, predicted, n_jobs=1)
    order = np.lexsort((scores, ~wrong))
    return LabelIssues(known[order], np.asarray(scores[order], np.float64), int(wrong.sum()))
