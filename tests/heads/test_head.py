import math

import numpy as np
import pytest

from tlcli.heads.head import Head

RANDOM = np.random.default_rng(7)
FEATURES = RANDOM.normal(3, 2, (20, 5)).astype(np.float32)


def head(width: int, units: int) -> Head:
    random = np.random.default_rng(units)
    return Head(random.normal(0, 1, (width, units)).astype(np.float32), random.normal(0, 1, units).astype(np.float32))


def test_two_classes_are_a_sigmoid_of_the_second() -> None:
    binary = head(5, 1)
    probabilities = binary.probabilities(FEATURES)
    assert probabilities.shape == (20, 2)
    for row, features in zip(probabilities, FEATURES.astype(float), strict=True):
        logit = sum(w * f for w, f in zip(binary.weights[:, 0].tolist(), features, strict=True)) + float(binary.bias[0])
        assert row[1] == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-12)
        assert row[0] == pytest.approx(1 / (1 + math.exp(logit)), rel=1e-12)


def test_more_classes_are_a_softmax() -> None:
    several = head(5, 4)
    probabilities = several.probabilities(FEATURES)
    assert probabilities.shape == (20, 4)
    for row, features in zip(probabilities, FEATURES.astype(float), strict=True):
        odds = [
            math.exp(sum(w * f for w, f in zip(column, features, strict=True)) + bias)
            for column, bias in zip(several.weights.T.tolist(), several.bias.tolist(), strict=True)
        ]
        assert row.tolist() == pytest.approx([o / sum(odds) for o in odds], rel=1e-12)


@pytest.mark.parametrize("units", [1, 3])
def test_huge_logits_neither_overflow_nor_lose_the_sum_of_1(units: int) -> None:
    weights = np.full((1, units), 1e6, np.float32) * np.arange(1, units + 1).astype(np.float32)
    extreme = Head(weights, np.zeros(units, np.float32))
    probabilities = extreme.probabilities(np.array([[1e4], [-1e4]], np.float32))
    assert np.isfinite(probabilities).all()
    assert probabilities.sum(axis=1).tolist() == [1, 1]
    assert probabilities[0, -1] == 1
    assert probabilities[1, 0] == 1


def test_a_head_on_densenet201_for_two_classes_has_1921_parameters() -> None:
    assert head(1920, 1).trainable_parameters == 1921
    assert head(1920, 3).trainable_parameters == 3 * 1921


def test_no_images_give_no_probabilities() -> None:
    assert head(5, 1).probabilities(np.empty((0, 5), np.float32)).shape == (0, 2)
