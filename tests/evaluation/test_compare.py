"""The paired difference, held against published examples, closed forms and simulation."""

from math import comb

import numpy as np
import pytest
from scipy.stats import multinomial, t

from tlcli.evaluation.compare import (
    PairedDifference,
    clustered_difference,
    paired_difference,
    resampling_inflation,
)
from tlcli.evaluation.intervals import corrected_resampled_t, wilson


@pytest.mark.parametrize(
    ("both", "only_a", "only_b", "neither", "interval", "digits"),
    [
        # First classification less the second; a is the second here.
        (59, 16, 6, 80, (-0.1186, -0.0046), 4),  # Fagerland, Lydersen, Laake 2014, Cavo et al.: 59, 6, 16, 80
        (1, 7, 1, 12, (-0.507, -0.026), 3),  # the same, Bentur et al.: 1, 1, 7, 12
        (14, 0, 5, 22, (0.011, 0.226), 3),  # Altman et al., Statistics with Confidence, 2nd ed., table 6.2
    ],
)
def test_intervals_of_published_examples(
    both: int, only_a: int, only_b: int, neither: int, interval: tuple[float, float], digits: int
) -> None:
    found = paired_difference(both, only_a, only_b, neither)
    assert (round(found.low, digits), round(found.high, digits)) == interval
    assert found.difference == pytest.approx((only_b - only_a) / (both + only_a + only_b + neither))


def test_the_test_of_a_published_example() -> None:
    found = paired_difference(20, 12, 2, 16)  # Armitage and Berry 1994, p. 127: P = 0.0129
    assert round(found.p, 4) == 0.0129
    assert found.significant


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 1), (3, 3), (1, 6), (12, 2), (40, 65)])
def test_p_is_the_binomial_sum_over_images_that_one_alone_classifies_correctly(only_a: int, only_b: int) -> None:
    discordant = only_a + only_b
    tail = sum(comb(discordant, k) for k in range(min(only_a, only_b) + 1)) / 2**discordant
    assert paired_difference(50, only_a, only_b, 10).p == pytest.approx(min(1.0, 2 * tail))


@pytest.mark.parametrize("counts", [(30, 4, 9, 7), (0, 5, 2, 0), (10, 0, 0, 0), (0, 0, 0, 3), (400, 20, 41, 64)])
def test_changing_sides_changes_the_sign_and_nothing_else(counts: tuple[int, int, int, int]) -> None:
    both, only_a, only_b, neither = counts
    found, turned = paired_difference(*counts), paired_difference(both, only_b, only_a, neither)
    mirrored = (-found.difference, -found.high, -found.low, found.p)
    assert (turned.difference, turned.low, turned.high, turned.p) == pytest.approx(mirrored)
    assert -1 <= found.low <= found.difference <= found.high <= 1


def test_without_a_discordant_image_there_is_no_evidence_but_a_width() -> None:
    found = paired_difference(480, 0, 0, 45)
    assert (found.difference, found.p, found.significant) == (0.0, 1.0, False)
    assert found.low < 0 < found.high
    assert found.high < wilson(480, 525)[1] - wilson(480, 525)[0]  # narrower than of unpaired accuracies


def test_one_that_is_always_right_has_no_correlation() -> None:
    found = paired_difference(40, 0, 10, 0)
    low, high = wilson(40, 50)
    assert found.low == pytest.approx(0.2 - ((1 - wilson(50, 50)[0]) ** 2 + (high - 0.8) ** 2) ** 0.5)
    assert found.high == pytest.approx(0.2 + (0.8 - low))


def test_evidence_needs_both_the_test_and_the_interval() -> None:
    assert paired_difference(400, 20, 41, 64).significant
    assert not paired_difference(400, 20, 25, 80).significant
    assert not PairedDifference(0.02, 0.001, 0.04, 0.06).significant
    assert not PairedDifference(0.02, -0.001, 0.04, 0.04).significant


@pytest.mark.parametrize("shares", [(0.7, 0.08, 0.08, 0.14), (0.6, 0.05, 0.15, 0.2), (0.5, 0.15, 0.05, 0.3)])
def test_the_interval_holds_the_truth_as_often_as_it_says(shares: tuple[float, ...]) -> None:
    """Exactly: the probability of all tables of 24 images whose interval holds the true difference."""
    n = 24
    tables = [
        (both, only_a, only_b, n - both - only_a - only_b)
        for only_a in range(n + 1)
        for only_b in range(n + 1 - only_a)
        for both in range(n + 1 - only_a - only_b)
    ]
    weights = multinomial.pmf(tables, n, shares)
    common = np.flatnonzero(weights > 1e-4)
    found = [paired_difference(*tables[number]) for number in common]
    holds = [one.low <= shares[2] - shares[1] <= one.high for one in found]
    assert weights[common].sum() > 0.95
    assert 0.93 < np.average(holds, weights=weights[common]) < 0.99


def test_images_that_stand_alone_are_no_groups() -> None:
    plain = paired_difference(80, 5, 8, 7)
    assert clustered_difference(plain, np.array([1] * 8 + [-1] * 5 + [0] * 87), np.arange(100)) == plain


def test_groups_that_are_right_or_wrong_together_are_less_sure() -> None:
    """Two equally good ones, 60 groups of 5, errors shared within a group."""
    random = np.random.default_rng(0)
    units = np.repeat(np.arange(60), 5)
    told = {"plain": 0, "groups": 0}
    holds = 0
    for _ in range(300):
        right_a, right_b = ((random.random(60) < 0.8)[units] for _ in range(2))
        gained = right_b.astype(int) - right_a.astype(int)
        counts = (int((right_a & right_b).sum()), int((gained < 0).sum()), int((gained > 0).sum()))
        plain = paired_difference(*counts, 300 - sum(counts))
        found = clustered_difference(plain, gained, units)
        assert found.low <= plain.low
        assert found.p >= plain.p
        told["plain"] += plain.significant
        told["groups"] += found.significant
        holds += found.low <= 0 <= found.high
    assert told["plain"] > 0.2 * 300  # what it would come to without groups
    assert told["groups"] < 0.08 * 300
    assert 0.92 <= holds / 300 <= 0.99


def test_one_group_says_nothing() -> None:
    found = clustered_difference(paired_difference(0, 0, 50, 0), np.ones(50, np.int64), np.zeros(50, np.int64))
    assert not found.significant


def test_equal_ones_are_seldom_told_apart() -> None:
    random = np.random.default_rng(0)
    tables = random.multinomial(300, (0.8, 0.05, 0.05, 0.1), 200)
    told = sum(paired_difference(*map(int, table)).significant for table in tables)
    assert told / len(tables) < 0.05


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (3, -1, 2, 5)])
def test_counts_that_are_none_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="received"):
        paired_difference(*counts)


@pytest.mark.parametrize(("folds", "repeats"), [(5, 1), (5, 3), (10, 10)])
def test_the_variance_of_cross_validation_is_that_of_the_corrected_t_test(folds: int, repeats: int) -> None:
    values = np.random.default_rng(0).normal(size=folds * repeats)
    low, high = corrected_resampled_t(values, 1 / folds)
    error = (high - low) / 2 / float(t.ppf(0.975, len(values) - 1))
    independent = values.var(ddof=1) / folds  # the variance of a mean of as many images in one pass over the folds
    assert error**2 == pytest.approx(resampling_inflation(folds, repeats) * independent)


def test_a_larger_variance_widens_every_interval_and_raises_p() -> None:
    for counts in ((80, 0, 12, 8), (60, 10, 25, 5), (99, 0, 0, 1)):
        both, only_a, only_b, neither = counts
        gained = np.repeat([0, -1, 1, 0], counts)
        plain = paired_difference(both, only_a, only_b, neither)
        found = clustered_difference(plain, gained, np.arange(len(gained)), 1.5833)
        assert found.difference == plain.difference
        assert found.low < plain.low < plain.high < found.high
        assert found.p >= plain.p
