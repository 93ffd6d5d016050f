from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tlcli.evaluation import nearest as module
from tlcli.evaluation.nearest import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray


def drawn(*shape: int, seed: int = 0) -> "NDArray[np.float32]":
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize(("n", "m", "k"), [(1, 1, 1), (7, 30, 5), (40, 200, 1), (3, 4, 9), (2, 5, 0), (0, 5, 2)])
@pytest.mark.parametrize("block", [1, 100, 1 << 24])
def test_neighbours_are_those_of_brute_force(
    n: int, m: int, k: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    features, reference = drawn(n, 6), drawn(m, 6, seed=1)
    expected = 1 - cdist(features, reference, "cosine") if n else np.empty((0, m))
    order = np.argsort(-expected, axis=1, kind="stable")[:, :k]
    found = nearest(features, reference, k)
    assert np.array_equal(found.numbers, order)
    assert found.similarities == pytest.approx(np.take_along_axis(expected, order, axis=1), abs=1e-6)
    assert found.similarities.dtype == np.float32


def test_images_of_the_same_unit_are_no_neighbours() -> None:
    features, units = drawn(6, 4), np.array([0, 0, 0, 1, 1, 2])
    found = nearest(features, features, 4, units, units)
    for unit, row, similar in zip(units, found.numbers, found.similarities, strict=True):
        there = row[row >= 0]
        assert len(there) == min(4, (units != unit).sum())
        assert (units[there] != unit).all()
        assert (similar[row < 0] == -np.inf).all()
    assert nearest(features, features, 1).numbers.ravel().tolist() == list(range(6))


def test_of_equal_images_the_first_are_taken_and_zeros_have_cosine_0() -> None:
    reference = np.tile(np.array([[1, 0]], np.float32), (50, 1)) * np.arange(1, 51, dtype=np.float32)[:, None]
    features = np.array([[2, 0], [0, 0]], np.float32)
    found = nearest(features, reference, 3)
    assert found.numbers.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert found.similarities.tolist() == [[1, 1, 1], [0, 0, 0]]
