import numpy as np
import pytest

from tlcli.features.int8_agreement import cosine_similarities


def test_cosine_similarity_ignores_lengths() -> None:
    exact = np.array([[1, 0], [1, 1], [0, 2], [0, 0]], np.float32)
    quantized = np.array([[3, 0], [1, 0], [0, -1], [0, 1]], np.float32)
    assert cosine_similarities(quantized, exact) == pytest.approx([1, 0.5**0.5, -1, 0])
