"""Whether fine-tuning is better: pairs of answers with known counts."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

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
