"""Images whose label is probably wrong: what heads that were not fitted on an image say of it, against its label.

Confident learning (Northcutt et al. 2021), as cleanlab has it. Shapes: N images, L classes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Suspects:
    """Images in the order of how little their labels are believed."""

    places: "NDArray[np.int64]"
    """[N], the most suspicious first; those without probabilities are not among them"""
    scores: "NDArray[np.float64]"
    """[N], of each: the probability of its label by heads that have not seen it"""
    issues: int
    """The first so many are held for wrong; of the others there is just an order"""


def suspects(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> Suspects:
    """Orders images by how suspicious their labels are.

    Args:
        labels: as given [N].
        probabilities: out of fold [N, L]; rows of NaN are left out.
    """
    from cleanlab.filter import find_label_issues  # noqa: PLC0415 - with pandas 1 s to import
    from cleanlab.rank import get_label_quality_scores  # noqa: PLC0415

    known = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    given, said = labels[known], probabilities[known]
    scores = get_label_quality_scores(given, said)  # self-confidence
    wrong = find_label_issues(given, said, n_jobs=1)
    order = np.lexsort((scores, ~wrong))
    return Suspects(known[order], np.asarray(scores[order], np.float64), int(wrong.sum()))
