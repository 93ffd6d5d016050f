"""Straightened graphs: no transposes between layers, and the same function."""

from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from tlcli.backbones.transposes import remove_transposes

if TYPE_CHECKING:
    from numpy.typing import NDArray

TO_FIRST, TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
RANDOM = np.random.default_rng(0)


def numbers(*shape: int) -> "NDArray[np.float32]":
    return RANDOM.normal(size=shape).astype(np.float32)


def convolution(maps: Any, inputs: int, outputs: int) -> Any:
    """As Keras exports it: channels-last outside, channels-first inside."""
    kernel = ops.constant(numbers(outputs, inputs, 3, 3))
    inner = ops.convolution(ops.transpose(maps, TO_FIRST), kernel, [1, 1], [1, 1], [1, 1], [1, 1])
    return ops.transpose(inner, TO_LAST)


def normalised(maps: Any, channels: int) -> Any:
    gamma, beta, mean = (ops.constant(numbers(channels)) for _ in range(3))
    variance = ops.constant(np.abs(numbers(channels)) + 0.5)
    inner = ops.batch_norm_inference(ops.transpose(maps, TO_FIRST), gamma, beta, mean, variance, 1e-3)
    return ops.transpose(inner, TO_LAST)


def pooled(maps: Any, keep_dims: bool = False) -> Any:
    return ops.reduce_mean(maps, ops.constant(np.array([1, 2])), keep_dims)


def padded(maps: Any) -> Any:
    return ops.pad(maps, [0, 1, 2, 0], [0, 3, 0, 0], "constant", ops.constant(np.float32(0.5)))


def layers(maps: Any) -> dict[str, Any]:
    """What may stand between two convolutions, from maps of four channels to maps of ``channels``."""
    scaled = ops.multiply(maps, ops.constant(numbers(4)))
    return {
        "activation": (ops.relu(maps), 4),
        "normalisation": (ops.clamp(normalised(maps, 4), 0, 6), 4),
        "one constant for all": (ops.add(maps, ops.constant(np.float32(3))), 4),
        "a constant for every place": (ops.add(maps, ops.constant(numbers(8, 8, 4))), 4),
        "residual": (ops.add(scaled, maps), 4),
        "concatenation": (ops.concat([maps, ops.relu(scaled)], -1), 8),
        "concatenation along the width": (ops.concat([maps, scaled], 2), 4),
        "padding": (padded(maps), 4),
        "squeeze and excite": (ops.multiply(maps, ops.sigmoid(pooled(maps, keep_dims=True))), 4),
    }


NAMES = sorted(layers(ops.parameter([1, 8, 8, 4], np.float32)))


def graph_of(name: str) -> openvino.Model:
    image = ops.parameter([1, 8, 8, 3], np.float32)
    between, channels = layers(convolution(image, 3, 4))[name]
    features = pooled(convolution(between, channels, 5))
    return openvino.Model([ops.result(features)], [image], name)


def computed(graph: openvino.Model) -> "NDArray[np.float32]":
    image = np.random.default_rng(1).normal(size=(1, 8, 8, 3)).astype(np.float32)
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found: NDArray[np.float32] = compiled(image)[0]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_one_transpose_is_left_and_the_function_is_the_same(name: str) -> None:
    graph = graph_of(name)
    before = computed(graph.clone())
    remove_transposes(graph)
    kinds = [node.get_type_name() for node in graph.get_ops()]
    assert kinds.count("Transpose") == 1  # of the image
    assert "BatchNormInference" not in kinds
    after = computed(graph)
    assert before.shape == after.shape == (1, 5)
    assert np.abs(after - before).max() < 1e-5 * np.abs(before).max()


def test_what_is_not_known_stays_as_it_is() -> None:
    image = ops.parameter([1, 8, 8, 3], np.float32)
    maps = ops.softmax(convolution(image, 3, 4), 3)  # along channels: behind a transpose it would be another axis
    graph = openvino.Model([ops.result(pooled(convolution(maps, 4, 5)))], [image], "softmax")
    before = computed(graph.clone())
    remove_transposes(graph)
    assert np.abs(computed(graph) - before).max() < 1e-5
    assert [node.get_type_name() for node in graph.get_ops()].count("Transpose") == 3
