import numpy as np
import pytest
from scipy.stats import binomtest

from tlcli.evaluation.compare import newcombe, paired_difference


@pytest.mark.parametrize(
    ("both", "only_a", "only_b", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:2635, table III, method 10
        (36, 12, 2, 50, 0.0569, 0.3404),
        # nobody errs: two Wilson intervals of 30 of 30, 0.1135 wide, at a right angle for want of a correlation
        (30, 0, 0, 30, -0.1135, 0.1135),
        # A alone is right, always: as wide as the two Wilson intervals at a right angle
        (0, 30, 0, 30, 1 - 0.1135 * 2**0.5, 1.0),
    ],
)
def test_the_interval_is_the_published_one(
    both: int, only_a: int, only_b: int, n: int, low: float, high: float
) -> None:
    assert newcombe(both, only_a, only_b, n) == pytest.approx((low, high), abs=6e-5)


def test_to_change_a_and_b_changes_the_sign() -> None:
    one, other = newcombe(40, 9, 3, 60), newcombe(40, 3, 9, 60)
    assert one == pytest.approx((-other[1], -other[0]))


@pytest.mark.parametrize("seed", range(20))
def test_the_interval_holds_the_difference_and_stays_within_1(seed: int) -> None:
    cells = np.random.default_rng(seed).multinomial(25, np.random.default_rng(seed).dirichlet([1, 1, 1, 1]))
    both, only_a, only_b = (int(cell) for cell in cells[:3])
    low, high = newcombe(both, only_a, only_b, 25)
    assert -1 <= low <= (only_a - only_b) / 25 <= high <= 1


def answers(both: int, only_a: int, only_b: int, neither: int) -> "tuple[np.ndarray, np.ndarray]":
    cells = np.repeat([0, 1, 2, 3], [both, only_a, only_b, neither])
    return cells <= 1, (cells == 0) | (cells == 2)


def test_single_pictures_get_the_exact_test_of_mcnemar() -> None:
    found = paired_difference(*answers(36, 12, 2, 0))
    assert (found.only_a, found.only_b, found.n) == (12, 2, 50)
    assert found.difference == pytest.approx(0.2)
    assert (found.low, found.high) == newcombe(36, 12, 2, 50)
    assert found.p_value == pytest.approx(binomtest(2, 14).pvalue)


def test_equal_answers_differ_by_nothing_for_sure() -> None:
    found = paired_difference(*answers(20, 0, 0, 5))
    assert (found.difference, found.p_value) == (0, 1)
    assert found.low < 0 < found.high


def test_units_of_one_picture_change_nothing() -> None:
    right = answers(30, 8, 3, 4)
    assert paired_difference(*right, np.arange(45)[::-1]) == paired_difference(*right)


def test_copies_make_nothing_surer() -> None:
    a, b = answers(60, 14, 4, 22)
    alone = paired_difference(a, b)
    copies = paired_difference(np.repeat(a, 4), np.repeat(b, 4), np.repeat(np.arange(100), 4))
    assert copies.difference == alone.difference
    assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high), abs=0.02)
    assert copies.p_value == pytest.approx(alone.p_value, abs=0.015)
    assert copies.n == 400
