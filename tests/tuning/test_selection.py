"""What scores say: the best, its equals, its optimism, what mattered."""

import numpy as np
import pytest

from tlcli.features.rows import Rows
from tlcli.tuning.head_search import NestedFolds
from tlcli.tuning.selection import expected_of, importance, interval_of, no_worse, score_interval, survivors


def folds(rows: int = 200, inner: int = 5) -> NestedFolds:
    labels = np.arange(rows) % 2
    return NestedFolds.of(Rows.of(np.zeros((rows, 1), np.float32), labels), 5, inner, 0)


def test_inner_folds_divide_what_an_outer_one_is_fitted_on() -> None:
    found = folds()
    assert (len(found.outer), [len(within) for within in found.inner]) == (5, [5] * 5)
    for outer, within in zip(found.outer, found.inner, strict=True):
        fitted, held = (set(part.tolist()) for part in found.all[outer])
        assert not fitted & held
        parts = [found.all[number] for number in within]
        assert set(np.concatenate([part[1] for part in parts]).tolist()) == fitted
        for kept, left in parts:
            assert set(kept.tolist()) | set(left.tolist()) == fitted
            assert not set(left.tolist()) & held


def test_units_stay_whole_and_views_are_never_held_out() -> None:
    units = np.repeat(np.arange(50), 4)
    rows = Rows.of(np.zeros((200, 1), np.float32), units % 2, units)
    found = NestedFolds.of(rows, 5, 0, 0)
    for fitted, held in found.all:
        assert not set(units[fitted]) & set(units[held])
    for fitted, held in found.with_views(200, 2).all:
        assert held.max() < 200
        assert len(fitted) == 3 * len(np.unique(fitted % 200))
        assert not set(fitted % 200) & set(held)


def test_of_equal_settings_the_best_is_flattered_and_nested_folds_say_so() -> None:
    """50 settings that differ by chance alone: the truth is 0.8."""
    nested, random = folds(), np.random.default_rng(3)
    optimism = []
    for _ in range(40):
        scores = random.normal(0.8, 0.02, (50, len(nested.all)))
        found = expected_of(scores, nested)
        assert found is not None
        assert found.shown == pytest.approx(scores[:, nested.outer].mean(axis=1).max())
        optimism.append((found.optimism, found.expected))
    assert np.mean([one for one, _ in optimism]) == pytest.approx(0.02, abs=0.006)
    assert np.mean([expected for _, expected in optimism]) == pytest.approx(0.8, abs=0.004)


def test_where_one_setting_is_better_it_is_expected_to_stay_so() -> None:
    nested = folds()
    scores = np.full((3, len(nested.all)), 0.7)
    scores[1] = 0.9
    found = expected_of(scores, nested)
    assert found is not None
    assert found.expected == found.shown == pytest.approx(0.9)
    assert found.chosen == (1,) * 5


def test_nothing_is_expected_without_inner_folds() -> None:
    flat = folds(inner=0)
    assert expected_of(np.ones((2, len(flat.all))), flat) is None


def test_an_interval_without_spread_is_a_point() -> None:
    assert interval_of(np.full(5, 0.5), 0.2) == (0.5, 0.5)
    low, high = interval_of(np.array([0.4, 0.5, 0.6, 0.5, 0.5]), 0.2)
    assert low < 0.5 < high


def test_a_setting_is_no_worse_unless_it_is_behind_on_nearly_all_folds() -> None:
    best = np.array([0.90, 0.92, 0.91, 0.89, 0.93])
    behind, unclear = best - 0.1 - np.array([0, 0.01, 0, 0.01, 0]), best - np.array([0.05, -0.04, 0.03, -0.02, 0.02])
    assert no_worse(np.stack([best, behind, unclear]), 0.2).tolist() == [True, False, True]


def test_survivors_are_a_third_and_their_equals_within_limits() -> None:
    noise = np.array([0.0, 0.01, -0.01, 0.005, -0.005])
    scores = {number: 0.9 - 0.1 * number + noise * (number + 1) for number in range(6)}
    assert survivors(scores, 0.2, least=1, most=6) == [0, 1]
    assert survivors(scores, 0.2, least=3, most=6) == [0, 1, 2]
    equal = {number: 0.9 + np.roll(noise, number) for number in range(6)}
    assert len(survivors(equal, 0.2, least=2, most=3)) == 3


def test_importance_is_the_share_of_variance_that_a_setting_explains() -> None:
    values: list[dict[str, object]] = [{"a": a, "b": b, "c": 1} for a in range(3) for b in range(4)]
    scores = [float(10 * one["a"] + one["b"]) for one in values]  # type: ignore[operator]
    found = importance(values, scores)
    assert list(found) == ["a", "b", "c"]
    assert found["a"] + found["b"] == pytest.approx(1)
    assert found["c"] == 0
    assert importance(values, [1.0] * 12) == {"a": 0, "b": 0, "c": 0}
    assert importance([], []) == {}


def test_without_a_setting_on_all_inner_folds_there_is_nothing_to_expect() -> None:
    folds = NestedFolds([], (0, 1), ((2, 3), (4, 5)))
    scores = np.full((3, 6), 0.5)
    scores[:, 4] = np.nan
    assert expected_of(scores, folds) is None


def test_the_interval_of_scores_ends_where_scores_do() -> None:
    scores = np.array([0.9, 1.0, 1.0, 0.98, 1.0])
    assert interval_of(scores, 0.2)[1] > 1
    assert score_interval(scores, 0.2) == (interval_of(scores, 0.2)[0], 1.0)
    losses = np.array([-0.001, -0.1, -0.002, -0.03, -0.001])
    assert score_interval(losses, 0.2)[1] == 0.0
