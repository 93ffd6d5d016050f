import numpy as np
import pytest
from tlcli.evaluation.agreement import cosines, label_agreement


def test_cosine_does_not_mind_lengths() -> None:
    exact = np.array([[1, 0], [1, 1], [0, 2], [0, 0]], np.float32)
    coarse = np.array([[3, 0], [1, 0], [0, -1], [0, 1]], np.float32)
    assert cosines(coarse, exact) == pytest.approx([1, 0.5**0.5, -1, 0])


def test_labels_alike_and_both_accuracies() -> None:
    coarse = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.6, 0.4]])
    exact = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0.7, 0.3]])
    assert label_agreement(coarse, exact, np.array([0, 0, 1, 1])) == (0.75, 0.5, 0.75)
