import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tlcli.backbones.blocks import Pooling
from tlcli.engines.feature_maps import Normalization, features_by_position

if TYPE_CHECKING:
    from numpy.typing import NDArray


def drawn(*shape: int, seed: int = 0) -> "NDArray[np.float32]":
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def normalised(rows: "NDArray[np.float32]", norm: Normalization) -> "NDArray[np.float32]":
    """Keras's LayerNormalization, in float32."""
    centred = rows - rows.mean(axis=-1, keepdims=True)
    deviation = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + np.float32(norm.epsilon))
    return np.asarray(centred / deviation * norm.gamma + norm.beta, np.float32)


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("shape", [(1, 1, 4), (7, 7, 64), (3, 5, 9)])
def test_their_mean_is_the_pooled_feature(pooling: Pooling, shape: tuple[int, ...]) -> None:
    last = drawn(*shape)
    pooled = last.mean(axis=(0, 1)) if pooling == "avg" else last.max(axis=(0, 1))
    found = features_by_position(last, pooling)
    assert found.shape == shape
    assert found.dtype == np.float32
    assert found.mean(axis=(0, 1)) == pytest.approx(pooled, rel=1e-5, abs=1e-6)


def test_of_the_largest_value_each_channel_is_where_it_is_largest() -> None:
    last = np.zeros((2, 2, 3), np.float32)
    last[0, 1, 0] = 5
    last[:, 0, 1] = 2  # equal at two positions
    last[..., 2] = -1  # equal everywhere
    found = features_by_position(last, "max")
    assert found[..., 0].tolist() == [[0, 20], [0, 0]]
    assert found[..., 1].tolist() == [[4, 0], [4, 0]]
    assert found[..., 2].tolist() == [[-1, -1], [-1, -1]]


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("size", [1.0, 0.03])
def test_their_mean_is_the_normalised_feature(pooling: Pooling, size: float) -> None:
    """Also where the features are so small that epsilon counts."""
    norm = Normalization(drawn(32, seed=1), drawn(32, seed=2), 1e-3)
    last = drawn(4, 4, 32, seed=3) * np.float32(size)
    pooled = last.mean(axis=(0, 1)) if pooling == "avg" else last.max(axis=(0, 1))
    found = features_by_position(last, pooling, norm).mean(axis=(0, 1))
    assert found == pytest.approx(normalised(pooled[None], norm)[0], rel=1e-4, abs=1e-5)


def test_a_normalization_comes_back_from_json() -> None:
    norm = Normalization(drawn(7, seed=1), drawn(7, seed=2), 1e-6)
    text = json.dumps({"gamma": norm.gamma.tolist(), "beta": norm.beta.tolist(), "epsilon": norm.epsilon})
    found = Normalization.from_json(text)
    assert found is not None
    assert np.array_equal(found.gamma, norm.gamma)
    assert np.array_equal(found.beta, norm.beta)
    assert found.epsilon == norm.epsilon
    assert Normalization.from_json("null") is None
