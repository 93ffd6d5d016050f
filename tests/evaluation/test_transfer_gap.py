"""Whether transfer helps, from accuracies on folds."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from tlcli.evaluation.intervals import corrected_resampled_t, paired_resampled
from tlcli.evaluation.transfer_gap import Reference, TransferGap, compare_features

SCORES = 0.8 + 0.04 * np.sin(np.arange(15.0))
"""Of 3 x 5 folds."""


@pytest.mark.parametrize(
    ("apart", "verdict"), [(0.14, "helps"), (0.002, "no_evidence"), (-0.002, "no_evidence"), (-0.2, "hurts")]
)
def test_the_verdict_follows_the_interval(apart: float, verdict: str) -> None:
    others = SCORES - apart + 0.02 * np.cos(7 * np.arange(15.0))
    (found,) = compare_features(SCORES, {"random_weights": others}, 0.2, 300)
    assert found.verdict == verdict
    assert found.accuracy == pytest.approx(others.mean())
    assert found.gain == pytest.approx((SCORES - others).mean())
    assert found.ci95 == pytest.approx(corrected_resampled_t(SCORES - others, 0.2))


def test_the_folds_are_paired() -> None:
    """What makes a fold hard for both says nothing of their difference."""
    hard = np.linspace(-0.3, 0.3, 15)
    others = SCORES - 0.05 + 0.01 * np.cos(7 * np.arange(15.0))
    (paired,) = compare_features(SCORES + hard, {"pixels": others + hard}, 0.2, 300)
    (mixed,) = compare_features(SCORES + hard, {"pixels": others - hard}, 0.2, 300)
    assert (paired.verdict, mixed.verdict) == ("helps", "no_evidence")
    assert paired.gain == pytest.approx(mixed.gain)


def test_a_reference_with_fewer_folds_is_compared_on_these() -> None:
    others = SCORES - 0.05 + 0.02 * np.cos(7 * np.arange(15.0))
    long, short = compare_features(SCORES, {"pixels": others, "from_scratch": others[:5]}, 0.2, 300)
    assert (long.folds, short.folds) == (15, 5)
    assert short.gain == pytest.approx((SCORES - others)[:5].mean())
    assert short.ci95 == pytest.approx(corrected_resampled_t((SCORES - others)[:5], 0.2, 0.975))


def test_intervals_of_several_comparisons_are_wider() -> None:
    others = SCORES - 0.05 + 0.02 * np.cos(7 * np.arange(15.0))
    (alone,) = compare_features(SCORES, {"pixels": others}, 0.2, 300)
    both = compare_features(SCORES, {"pixels": others, "colour_histogram": others}, 0.2, 300)
    assert both[0].ci95 == both[1].ci95 == pytest.approx(corrected_resampled_t(SCORES - others, 0.2, 0.975))
    assert both[0].ci95[0] < alone.ci95[0]


def test_three_comparisons_of_nothing_seldom_look_like_evidence() -> None:
    random, wrong = np.random.default_rng(0), 0
    for _ in range(400):
        draws = random.normal(0.5, 0.1, (4, 15))
        names: tuple[Reference, ...] = ("random_weights", "pixels", "colour_histogram")
        references = dict(zip(names, draws[1:], strict=True))
        wrong += any(one.verdict != "no_evidence" for one in compare_features(draws[0], references, 0.2, 100))
    assert wrong < 0.05 * 400


@pytest.mark.parametrize(("mine", "yours"), [(1.0, 1.0), (0.5, 0.5), (1.0, 0.9)])
def test_folds_that_all_differ_by_the_same_prove_little_on_few_images(mine: float, yours: float) -> None:
    low, high = paired_resampled(np.full(15, mine), np.full(15, yours), 0.2, 20)
    assert -1 <= low < 0 <= mine - yours < high <= 1
    narrow = paired_resampled(np.full(15, mine), np.full(15, yours), 0.2, 20_000)
    assert high - low > 5 * (narrow[1] - narrow[0])
    assert (narrow[0] > 0) == (mine > yours)


def test_what_is_recorded_is_read_again() -> None:
    compared = compare_features(SCORES, {"random_weights": SCORES - 0.1}, 0.2, 300)
    gap = TransferGap(float(SCORES.mean()), compared, 300, 1000, 2, 5, 3, is_own_head=True)
    adapter = TypeAdapter(TransferGap)
    assert adapter.validate_json(adapter.dump_json(gap)) == gap
    partial = replace(gap, left_out={"random_weights": "own_network"})
    assert adapter.validate_json(adapter.dump_json(partial)) == partial
    assert gap.against("random_weights").verdict == "helps"
