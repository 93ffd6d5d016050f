"""Whether fine-tuning is better: pairs of answers with known counts."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tlcli.evaluation.balanced_difference import balanced_difference
from tlcli.evaluation.compare import paired_difference
from tlcli.evaluation.finetuning_proof import pair_of, prove

if TYPE_CHECKING:
    from numpy.typing import NDArray


def answers(labels: "NDArray[Any]", wrong: int, start: int = 0) -> "NDArray[Any]":
    """Probabilities [N, 2] of a classifier that is wrong of ``wrong`` images, from number ``start`` on."""
    sure = np.where(np.arange(len(labels)) - start < 0, 0.9, np.where(np.arange(len(labels)) - start < wrong, 0.1, 0.9))
    of_second = np.where(labels == 1, sure, 1 - sure)
    return np.stack([1 - of_second, of_second], axis=1)


@pytest.fixture
def labels() -> "NDArray[Any]":
    return np.tile([0, 1], 100)


def test_a_pair_has_the_paired_interval_and_test(labels: "NDArray[Any]") -> None:
    found = pair_of(labels, np.arange(200), answers(labels, 30), answers(labels, 10))
    expected = paired_difference(170, 0, 20, 10)
    assert found.difference == pytest.approx(0.1)
    assert found.difference_ci95 == (expected.low, expected.high)
    assert found.p == expected.p
    assert (found.frozen.accuracy, found.tuned.accuracy) == (0.85, 0.95)
    assert found.frozen.log_loss == pytest.approx(-(170 * np.log(0.9) + 30 * np.log(0.1)) / 200)
    assert found.is_better
    assert not found.is_worse


def test_equal_answers_are_no_evidence(labels: "NDArray[Any]") -> None:
    found = pair_of(labels, np.arange(200), answers(labels, 30), answers(labels, 30))
    assert (found.difference, found.p) == (0, 1)
    assert not found.is_better
    assert not found.is_worse


def test_images_that_belong_together_are_less_evidence(labels: "NDArray[Any]") -> None:
    alone = pair_of(labels, np.arange(200), answers(labels, 30), answers(labels, 10))
    together = pair_of(labels, np.arange(200) // 50, answers(labels, 30), answers(labels, 10))
    assert together.p > alone.p
    assert not together.is_better


def test_a_loss_is_told_by_shift(labels: "NDArray[Any]") -> None:
    frozen, tuned = answers(labels, 30), answers(labels, 10)
    found = prove(labels, np.arange(200), {"0": (frozen, tuned), "blur": (tuned, frozen)}, "0")
    assert found.images == 200
    assert found.is_better
    assert list(found.shifts) == ["blur"]
    assert found.shifts["blur"].is_worse


def test_where_classes_are_weighted_the_rare_one_counts_as_much(labels: "NDArray[Any]") -> None:
    rare = np.arange(200) < 20
    labels = rare.astype(np.int64)
    # 15 of the 20 rare images are gained, 15 of the 180 others lost.
    frozen, tuned = answers(labels, 15), answers(labels, 15, start=20)
    plain = pair_of(labels, np.arange(200), frozen, tuned)
    assert plain.difference == 0
    assert not plain.is_better
    found = pair_of(labels, np.arange(200), frozen, tuned, "balanced accuracy")
    assert found.difference == pytest.approx((15 / 20 - 15 / 180) / 2)
    assert found.frozen.score("balanced accuracy") == pytest.approx((5 / 20 + 1) / 2)
    assert found.is_better
    assert (
        prove(labels, np.arange(200), {"0": (frozen, tuned)}, "0", "balanced accuracy").compared == "balanced accuracy"
    )


def test_balanced_answers_that_are_equal_are_no_evidence(labels: "NDArray[Any]") -> None:
    found = pair_of(labels, np.arange(200), answers(labels, 30), answers(labels, 30), "balanced accuracy")
    assert (found.difference, found.difference_ci95, found.p) == (0, (0, 0), 1)


@pytest.mark.parametrize(("gained", "p"), [([1] * 6, 2 / 64), ([1] * 3, 2 / 8)])
def test_the_permutation_test_is_the_sign_test_where_all_images_weigh_the_same(gained: list[int], p: float) -> None:
    labels, differences = np.tile([0, 1], 10), np.zeros(20, np.int64)
    differences[: len(gained)] = gained
    assert balanced_difference(labels, differences, np.arange(20)).p == pytest.approx(p, abs=0.01)
