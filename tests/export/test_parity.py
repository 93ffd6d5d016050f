"""What counts as the same answer."""

import numpy as np
import pytest

from tlcli.evaluation.thresholds import Thresholds
from tlcli.export.parity import Answers, compare

EXPECTED = np.array([[0.9, 0.1], [0.3, 0.7], [0.50001, 0.49999], [0.2, 0.8]])
NEAR = np.array([0.1, 0.1, 0.1, 0.9])


def test_differences_and_agreement() -> None:
    found = np.array([[0.8, 0.2], [0.6, 0.4], [0.49999, 0.50001], [0.2, 0.8]])
    parity = compare(Answers(EXPECTED, NEAR), Answers(found, NEAR + 0.01), 0.5, None)
    assert (parity.images, parity.same_class, parity.same_answer) == (4, 3, 3)  # the third is a tie
    assert parity.max_difference == pytest.approx(0.3)
    assert parity.max_distance_difference == pytest.approx(0.01)
    assert not parity.is_enough("f32")
    assert not parity.is_enough("int8")


def test_none_of_these_is_another_answer_but_no_other_class() -> None:
    parity = compare(Answers(EXPECTED, NEAR), Answers(EXPECTED, np.array([0.1, 0.6, 0.1, 0.9])), 0.5, None)
    assert (parity.same_class, parity.same_answer) == (4, 3)
    assert parity.is_enough("f16")
    assert not parity.is_enough("f32")


def test_thresholds_decide() -> None:
    found = EXPECTED + np.array([[0, 0], [0.06, -0.06], [0, 0], [0, 0]])
    plain = compare(Answers(EXPECTED, NEAR), Answers(found, NEAR), 0.5, None)
    decided = compare(Answers(EXPECTED, NEAR), Answers(found, NEAR), 0.5, Thresholds("f1", (0.33, 0.67)))
    assert (plain.same_class, decided.same_class) == (4, 3)


def test_numbers_that_are_not_finite_agree_with_nothing() -> None:
    found = EXPECTED.copy()
    found[0] = np.nan
    assert not compare(Answers(EXPECTED, NEAR), Answers(found, NEAR), 0.5, None).is_enough("f16")
