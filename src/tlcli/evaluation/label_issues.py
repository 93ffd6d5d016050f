"""Label issues: images whose label is probably wrong, by out-of-fold probabilities.

Confident learning (Northcutt et al. 2021), by cleanlab. Shapes: N images, L classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.features.rows import Rows
    from tlcli.progress import Progress


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


def doubted_labels(
    labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", training: "NDArray[np.bool_]"
) -> "NDArray[np.bool_]":
    """Which labels are label issues: those of training images by training images only, the others by all.

    So the labels of validation images decide nothing about what a head is fitted on, and it can be measured on them.

    Args:
        labels: as given [N].
        probabilities: out of fold [N, L], of heads that were fitted on training images; rows of NaN are left out.
        training: which images are for training [N].
    """
    found = np.zeros(len(labels), bool)
    own = find_label_issues(labels[training], probabilities[training])
    found[np.flatnonzero(training)[own.numbers[: own.count]]] = True
    if not training.all():
        both = find_label_issues(labels, probabilities)
        others = both.numbers[: both.count]
        found[others[~training[others]]] = True
    return found


def unseen_probabilities(
    rows: "Rows", training: "NDArray[np.bool_]", Cs: Sequence[float], folds: int, standardize: bool, seed: int,
    progress: "Progress",
) -> "NDArray[np.float64]":  # fmt: skip
    """Probabilities [N, L] by heads that never saw the image, and only training images: of training images by 3 times
    repeated cross-validation, of the others by a head fitted on all training images.

    Args:
        rows: features of the images.
        training: which images are for training [N].
        Cs: inverse regularisation strengths to choose from by cross-validation.
        folds: of the cross-validation.
        standardize: scale every feature to variance 1.
        seed: of the folds.
        progress: reports the stages.

    Raises:
        DataError: there are too few images of a class.
    """
    from tlcli.heads.logistic_regression import fit_logistic_regression  # noqa: PLC0415 - SciPy
    from tlcli.heads.repeated_cross_validation import cross_validate  # noqa: PLC0415

    own, others = (rows.part(np.flatnonzero(some)) for some in (training, ~training))
    fit = fit_logistic_regression(own, Cs, folds, standardize, "none", seed, progress)
    validated = cross_validate(own, fit.best.C or 1.0, folds, 3, standardize, "none", seed, (1.0,), progress)
    found = np.empty((len(rows), validated.probabilities.shape[1]))
    found[training] = validated.probabilities
    if len(others):
        found[~training] = fit.head.predict(others)
    return found
