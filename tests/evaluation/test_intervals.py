from typing import TYPE_CHECKING

import numpy as np
import pytest

from tlcli.evaluation.intervals import area_of_counts, corrected_resampled_t, mean_of_shares, wilson, wilson_of_units

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3 (score without continuity correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # one side is n / (n + z²), with z = 1.96
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_gives_the_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_a_higher_confidence_gives_a_wider_interval_around_the_same_share() -> None:
    narrow, wide = wilson(30, 40, confidence=0.8), wilson(30, 40, confidence=0.99)
    assert wide[0] < narrow[0] < 0.75 < narrow[1] < wide[1]


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_the_interval_contains_the_share_and_stays_between_0_and_1(n: int) -> None:
    for successes in range(n + 1):
        low, high = wilson(successes, n)
        assert 0 <= low <= successes / n <= high <= 1


def test_images_that_are_copies_are_worth_one_of_them() -> None:
    correct = np.arange(60) % 6 > 0
    alone = wilson_of_units(correct, np.arange(60))
    assert alone == wilson(50, 60)
    copies = wilson_of_units(np.repeat(correct, 5), np.repeat(np.arange(60), 5))
    assert copies == pytest.approx(alone, abs=0.006)  # wider by Student's t and the 1 in 60 of the variance
    assert copies[1] - copies[0] > alone[1] - alone[0]


def test_units_whose_images_have_nothing_in_common_change_little() -> None:
    correct = np.random.default_rng(0).random(2000) < 0.8
    apart = wilson_of_units(correct, np.repeat(np.arange(500), 4))
    assert apart == pytest.approx(wilson(int(correct.sum()), 2000), abs=0.004)


@pytest.mark.parametrize("right", [True, False])
def test_where_all_are_right_or_wrong_units_count_once(right: bool) -> None:
    found = wilson_of_units(np.full(80, right), np.repeat(np.arange(20), 4))
    whole = wilson(20 * right, 20)
    assert found[0] <= whole[0]
    assert found[1] >= whole[1]
    assert found == pytest.approx(whole, abs=0.03)


def test_one_unit_alone_tells_nearly_nothing() -> None:
    low, high = wilson_of_units(np.array([True, True, False]), np.zeros(3, np.int64))
    assert 0 <= low < 0.05
    assert high > 0.95


@pytest.mark.parametrize("n", [10.5, 200.25])
def test_parts_of_images_lie_between_whole_ones(n: float) -> None:
    below, found, above = (wilson(0.8 * size, size) for size in (n // 5 * 5, n, n // 5 * 5 + 5))
    assert below[0] < found[0] < above[0]
    assert below[1] > found[1] > above[1]


# The bootstrap


def test_the_corrected_interval_is_the_one_of_the_formula() -> None:
    scores = [0.8, 0.9, 0.85, 0.95, 0.75]
    variance = np.var(scores, ddof=1)
    low, high = corrected_resampled_t(scores, 0.2)
    assert (low + high) / 2 == pytest.approx(0.85)
    assert (high - low) / 2 == pytest.approx(2.7764451 * (variance * (1 / 5 + 0.2 / 0.8)) ** 0.5)


def test_more_repeats_do_not_make_it_narrower_than_the_images_allow() -> None:
    scores = np.random.default_rng(0).normal(0.8, 0.03, 5)
    few, many = corrected_resampled_t(scores, 0.2), corrected_resampled_t(np.tile(scores, 1000), 0.2)
    assert many[1] - many[0] < few[1] - few[0]
    assert many[1] - many[0] > 2 * 1.959 * (0.25 * scores.var()) ** 0.5


def test_equal_scores_give_no_width() -> None:
    assert corrected_resampled_t([1.0, 1.0, 1.0], 1 / 3) == (1.0, 1.0)


def test_the_mean_of_one_share_has_the_interval_of_the_share() -> None:
    assert mean_of_shares([0.7], [(0.6, 0.75)]) == pytest.approx((0.6, 0.75))


def test_the_mean_of_shares_is_surer_than_each_and_stays_a_share() -> None:
    low, high = mean_of_shares([1.0, 1.0], [(0.8, 1.0), (0.8, 1.0)])
    assert low == pytest.approx(1 - 0.2 / 2**0.5)
    assert high == 1


@pytest.mark.parametrize(("area", "positives", "negatives"), [(0.5, 20, 20), (0.9, 10, 40), (0.75, 100, 30)])
def test_an_area_lies_inside_the_interval_of_its_counts(area: float, positives: int, negatives: int) -> None:
    low, high = area_of_counts(area, positives, negatives)
    assert 0 < low < area < high < 1
    wider_low, wider_high = area_of_counts(area, positives // 2, negatives // 2)
    assert wider_low < low
    assert wider_high > high
    turned = area_of_counts(1 - area, positives, negatives)
    assert turned == pytest.approx((1 - high, 1 - low), abs=0.02)


def test_the_ends_of_an_area_are_those_at_which_newcombes_variance_would_just_allow_it() -> None:
    low, _ = area_of_counts(1.0, 20, 20)
    half = 19
    variance = low * (1 - low) * (1 + half * (1 - low) / (2 - low) + half * low / (1 + low)) / 400
    assert (1 - low) / variance**0.5 == pytest.approx(1.959964, abs=1e-4)


def test_a_perfect_or_hopeless_area_has_an_interval_on_one_side() -> None:
    assert area_of_counts(1.0, 20, 20)[1] == 1
    assert area_of_counts(0.0, 20, 20)[0] == 0
    assert area_of_counts(0.0, 20, 20)[1] > 0.05
