from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from tlcli.evaluation.resampling import bootstrap, freedom_of, logit_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.evaluation.resampling import Statistic


def mean_of(values: "NDArray[np.float64]") -> "Statistic":
    """The mean of one column of values [N]."""
    return lambda weights: (weights @ values / weights.sum(axis=1))[:, None]


@pytest.mark.parametrize("seed", range(3))
def test_of_a_mean_it_is_the_interval_that_scipy_gives_of_the_same_draws(seed: int) -> None:
    values = np.random.default_rng(3).exponential(size=200)
    expected = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=2000, rng=seed).confidence_interval
    found = bootstrap(mean_of(values), np.arange(200), seed=seed)
    assert found.shape == (1, 2)
    assert found[0].tolist() == pytest.approx([expected.low, expected.high], rel=1e-9)


def test_of_a_mean_of_many_it_is_about_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(3, 2, 5000)
    low, high = bootstrap(mean_of(values), np.arange(5000))[0]
    error = values.std() / 5000**0.5
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_copies_in_units_tell_no_more_than_one_of_them() -> None:
    values = np.random.default_rng(1).exponential(size=60)
    alone = bootstrap(mean_of(values), np.arange(60))
    unit = np.repeat(np.arange(60), 5)
    copies = bootstrap(mean_of(np.repeat(values, 5)), unit + 1000)  # whatever the units' numbers are
    assert copies == pytest.approx(alone)
    taken_for_alone = bootstrap(mean_of(np.repeat(values, 5)), np.arange(300))
    width = (alone[0, 1] - alone[0, 0]) / (taken_for_alone[0, 1] - taken_for_alone[0, 0])
    assert width == pytest.approx(5**0.5, rel=0.15)


def test_equal_seeds_give_equal_intervals_and_others_others() -> None:
    values = np.random.default_rng(2).normal(size=50)
    one, same, other = (bootstrap(mean_of(values), np.arange(50), seed=seed) for seed in (4, 4, 5))
    assert (one == same).all()
    assert (one != other).any()


def test_several_numbers_are_measured_at_once_and_what_is_not_defined_is_nan() -> None:
    values = np.random.default_rng(2).normal(size=50)

    def both(weights: "NDArray[np.float64]") -> "NDArray[np.float64]":
        mean = mean_of(values)(weights)
        return np.concatenate([mean, np.full_like(mean, np.nan), np.ones_like(mean)], axis=1)

    found = bootstrap(both, np.arange(50))
    assert (found[0] == bootstrap(mean_of(values), np.arange(50))[0]).all()
    assert np.isnan(found[1]).all()
    assert found[2].tolist() == [1, 1]


def test_resamples_without_a_value_are_passed_over() -> None:
    rare = np.arange(30) < 2  # one resample in eight has none of these two

    def of_the_rare(weights: "NDArray[np.float64]") -> "NDArray[np.float64]":
        with np.errstate(invalid="ignore"):
            return (weights @ (rare * np.arange(30)) / (weights @ rare))[:, None]

    low, high = bootstrap(of_the_rare, np.arange(30))[0]
    assert 0 <= low <= 0.5 <= high <= 1


# Nadeau & Bengio


def test_the_logit_interval_is_the_plain_one_where_the_share_is_far_from_its_ends() -> None:
    right = np.arange(400) % 2
    without = (right.sum() - right) / 399
    low, high = logit_interval(0.5, without, 10_000)
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.001)
    assert 0.99 < logit_interval(0.9999, without / 10 + 0.9, 3)[1] <= 1


def test_freedom_is_that_of_welch_for_two_strata() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=8), random.normal(0, 3, size=20)
    moved = np.concatenate([(a - a.mean()) / 8, (b - b.mean()) / 20])  # what leaving one out does to a difference
    v, w = (a - a.mean()) @ (a - a.mean()) / 64, (b - b.mean()) @ (b - b.mean()) / 400
    expected = (v + w) ** 2 / (v**2 / 7 + w**2 / 19)
    assert freedom_of(moved, np.array([0] * 8 + [1] * 20)) == pytest.approx(expected)
