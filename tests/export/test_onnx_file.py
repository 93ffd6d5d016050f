"""Smaller ONNX files: half-precision and 8-bit weights, and the metadata."""

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def write_model(path: Path) -> None:
    """A convolution of 40 weights a channel, a depthwise one of 9, a mean and a dense head."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> object:
        return numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["levels"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["channels", "full"], ["a"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
        helper.make_node("Conv", ["a", "depthwise"], ["b"], kernel_shape=[3, 3], group=8),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "head"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 8, 8, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["m", 2])],
        [weights("full", 8, 3, 5, 5), weights("depthwise", 8, 1, 3, 3), weights("head", 8, 2)],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


@pytest.mark.parametrize("precision", ["f16", "int8"])
def test_weights_are_smaller_and_answers_alike(tmp_path: Path, precision: str) -> None:
    from tlcli.export.check import open_artefact
    from tlcli.export.onnx_file import write_half, write_int8

    plain, out = tmp_path / "plain.onnx", tmp_path / "out.onnx"
    write_model(plain)
    if precision == "f16":
        write_half(plain, out)
    else:
        write_int8(plain, out, [(8, 2)])
    kinds = {one.name: one.data_type for one in onnx.load(out).graph.initializer}
    smaller = onnx.TensorProto.FLOAT16 if precision == "f16" else onnx.TensorProto.INT8
    suffix = "half" if precision == "f16" else "int8"
    assert kinds[f"full_{suffix}"] == smaller
    assert kinds["head"] == onnx.TensorProto.FLOAT
    if precision == "int8":  # nine weights a channel: not worth it
        assert kinds["depthwise"] == onnx.TensorProto.FLOAT
    images = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3), np.uint8)
    expected, found = (open_artefact("onnx", path)(images)["probabilities"] for path in (plain, out))
    assert np.abs(found - expected).max() <= 0.02 * np.abs(expected).max()
    assert not np.array_equal(found, expected)


def test_metadata_has_the_keys_of_model_api(tmp_path: Path) -> None:
    from tlcli.export.onnx_file import add_metadata

    write_model(tmp_path / "plain.onnx")
    add_metadata(tmp_path / "plain.onnx", {"labels": "a b", "model_type": "Classification"})
    model = onnx.load(tmp_path / "plain.onnx")
    found = {one.key: one.value for one in model.metadata_props}
    assert found == {"model_info labels": "a b", "model_info model_type": "Classification"}
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
