"""Poolings of earlier layers, set apart from the layers that follow."""

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from tlcli.backbones.side_outputs import join, pooling_of, separate


def convolution(map_: object, weights: np.ndarray, stride: int) -> openvino.Node:
    kernel = ops.constant(weights.astype(np.float32))
    return ops.convolution(map_, kernel, [stride] * 2, [0, 0], [0, 0], [1, 1])


def has_bf16() -> bool:
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def network() -> openvino.Model:
    """Two stages of convolutions with a sum at their ends, as every catalog row has them; outputs named like blocks."""
    image = ops.parameter([1, 3, 8, 8], np.float32)
    rng = np.random.default_rng(0)
    first = ops.convolution(
        image, ops.constant(rng.normal(size=(4, 3, 1, 1)).astype(np.float32)), [1, 1], [0, 0], [0, 0], [1, 1]
    )
    summed = ops.add(first, ops.relu(first))
    second = ops.convolution(
        summed, ops.constant(rng.normal(size=(5, 4, 2, 2)).astype(np.float32)), [2, 2], [0, 0], [0, 0], [1, 1]
    )
    results = []
    for layer, map_ in (("stage1", summed), ("last", second)):
        for pooling, reduce in (("avg", ops.reduce_mean), ("max", ops.reduce_max)):
            result = ops.result(reduce(map_, np.array([2, 3]), keep_dims=False))
            result.output(0).get_tensor().set_names({f"{layer}.{pooling}"})
            results.append(result)
    return openvino.Model(results, [image])


def outputs(model: openvino.Model, precision: str = "f32") -> dict[str, np.ndarray]:
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    found = compiled(np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32))
    return {value.get_any_name(): found[value].copy() for value in compiled.outputs}


def kinds(model: openvino.Model) -> list[str]:
    return [node.get_type_name() for node in model.get_ordered_ops()]


def test_layers_but_the_last_are_set_apart_and_all_outputs_stay_equal() -> None:
    model, expected = network(), outputs(network())
    separate(model)
    assert kinds(model).count("GroupConvolution") == 1  # for both poolings of stage1, none for last
    found = outputs(model)
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    pooling = pooling_of(model.outputs[0].get_node())
    assert pooling is not None
    assert pooling.input_value(0).get_node().get_type_name() == "GroupConvolution"


def test_join_undoes_it() -> None:
    model, before = network(), kinds(network())
    separate(model)
    join(model)
    assert sorted(kinds(model)) == sorted(before)


def test_a_graph_without_poolings_stays_as_it_is() -> None:
    image = ops.parameter([1, 3, 8, 8], np.float32)
    result = ops.result(ops.relu(image))
    result.output(0).get_tensor().set_names({"stage1.avg"})
    model = openvino.Model([result], [image])
    separate(model)
    assert kinds(model) == ["Parameter", "Relu", "Result"]


@pytest.mark.skipif(
    "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"), reason="no bfloat16"
)
def test_in_bfloat16_the_last_layer_is_that_of_a_network_without_other_outputs() -> None:
    model = network()
    separate(model)
    alone = network()
    alone = openvino.Model(
        [one for one in alone.get_results() if one.output(0).get_any_name() == "last.avg"], alone.get_parameters()
    )
    np.testing.assert_array_equal(outputs(model, "bf16")["last.avg"], outputs(alone, "bf16")["last.avg"])
