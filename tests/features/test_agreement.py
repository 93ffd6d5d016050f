import numpy as np
import pytest

from tlcli.features.int8_agreement import cosine_similarities, label_agreement


def test_cosine_similarity_ignores_lengths() -> None:
    exact = np.array([[1, 0], [1, 1], [0, 2], [0, 0]], np.float32)
    quantized = np.array([[3, 0], [1, 0], [0, -1], [0, 1]], np.float32)
    assert cosine_similarities(quantized, exact) == pytest.approx([1, 0.5**0.5, -1, 0])


def test_equal_predictions_and_both_accuracies() -> None:
    quantized = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.6, 0.4]])
    exact = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0.7, 0.3]])
    assert label_agreement(quantized, exact, np.array([0, 0, 1, 1])) == (0.75, 0.5, 0.75)
