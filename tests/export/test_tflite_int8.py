"""Bytes for the weights of a TFLite file: which are, and that the file still answers."""

from pathlib import Path

import numpy as np
import pytest

from tlcli.system.lazy import start_tensorflow

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three convolutions, the second by depth, and a head."""
    start_tensorflow()
    import keras
    import tensorflow as tf

    image = keras.Input((16, 16, 3), dtype="float32")
    found = keras.layers.Conv2D(32, 3, strides=2, name="first")(image)
    found = keras.layers.DepthwiseConv2D(3, name="by_depth")(found)
    found = keras.layers.Conv2D(64, 1, name="second")(found)
    network = keras.Model(image, keras.layers.Dense(2, name="head")(keras.layers.GlobalAveragePooling2D()(found)))
    module = tf.Module()
    given = tf.TensorSpec((1, 16, 16, 3), tf.float32, "image")
    module.serve = tf.function(lambda image: {"probabilities": network(image)}, input_signature=[given])
    function = module.serve.get_concrete_function()
    module.used = list(function.variables)
    folder = tmp_path_factory.mktemp("saved")
    tf.saved_model.save(module, str(folder), signatures={"serving_default": function})
    return bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())


def test_convolutions_but_the_first_are_bytes_and_it_answers(model: bytes, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_quantizer")
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    from tlcli.export.tflite_int8 import quantised
    from tlcli.export.tflite_metadata import with_metadata

    made = with_metadata(quantised(model, tmp_path), "a test", {})
    graph = schema.ModelT.InitFromPackedBuf(made, 0).subgraphs[0]
    shapes = {tuple(one.shape) for one in graph.tensors if one.type == schema.TensorType.INT8}
    assert shapes == {(64, 1, 1, 32)}
    pixels = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    (before,), (after,) = (
        Interpreter(model_content=one).get_signature_runner()(image=pixels).values() for one in (model, made)
    )
    assert 0 < np.abs(before - after).max() < 0.05 * np.abs(before).max() + 0.01
