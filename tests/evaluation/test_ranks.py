"""Ranks and ROC curves, against SciPy and scikit-learn."""

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn import metrics

from tlcli.evaluation.ranks import area_under_roc, ranks, roc_points


def drawn(seed: int, different: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of 60 images are of the class, and scores of which many are equal."""
    random = np.random.default_rng(seed)
    return random.random(60) < 0.3, random.integers(0, different, 60) / 7


@pytest.mark.parametrize("different", [1, 5, 1000])
def test_ranks_are_those_of_scipy(different: int) -> None:
    _, scores = drawn(0, different)
    assert np.array_equal(ranks(scores), rankdata(scores))


@pytest.mark.parametrize("different", [1, 5, 1000])
def test_the_curve_and_its_area_are_those_of_scikit_learn(different: int) -> None:
    positive, scores = drawn(1, different)
    false, true, _ = metrics.roc_curve(positive, scores)
    found = roc_points(positive, scores)
    assert np.array_equal(found[0], false)
    assert np.array_equal(found[1], true)
    assert area_under_roc(positive, scores) == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-12)
