"""An artefact in OpenVINO's format: the converted backbone with its heads behind it.

Shapes: N images, D features, L classes, M landmarks, R reference images.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import Model, Output
from openvino import opset13 as ops

from tlcli.backbones.blocks import Blocks
from tlcli.backbones.side_outputs import join
from tlcli.errors import ModelError
from tlcli.export.formats import ArtefactPrecision
from tlcli.export.heads import ExportedHead
from tlcli.export.resizing import image_of_any_size, resized
from tlcli.images.preparation import Preparation

_TINY = np.float32(1e-12)


def write_openvino(
    backbone: Path, blocks: Blocks, heads: Sequence[ExportedHead], precision: ArtefactPrecision,
    info: Mapping[str, str], out: Path, resize: Preparation | None = None,
) -> None:  # fmt: skip
    """Writes an IR.

    Args:
        backbone: model.xml of a converted or quantised backbone.
        blocks: all blocks of its features.
        heads: one or several on the same features.
        precision: f16 keeps float weights as half-precision numbers; the others keep the graph as it is.
        info: of Model API, see :func:`tlcli.export.model_info.model_info`.
        out: the folder.
        resize: how images of any size are resized; None takes those of the network's size.
    """
    model = build_model(backbone, blocks, heads, resize)
    for key, value in info.items():
        model.set_rt_info(value, ["model_info", key])
    out.mkdir(parents=True)
    openvino.save_model(model, out / "model.xml", compress_to_fp16=precision == "f16")


def build_model(
    backbone: Path, blocks: Blocks, heads: Sequence[ExportedHead], resize: Preparation | None = None
) -> Any:
    """The whole graph: uint8 [N, H, W, 3] -> probabilities [N, L], features [N, F], distance [N, 1].

    Args:
        backbone: model.xml of a converted or quantised backbone.
        blocks: all blocks of its features.
        heads: one or several; the first one's probabilities are the first output.
        resize: see :func:`write_openvino`.

    Raises:
        ModelError: the network takes one image at a time.
    """
    graph = openvino.Core().read_model(backbone)
    join(graph)
    image = graph.inputs[0]
    image.get_tensor().set_names({"image"})
    try:
        graph.reshape({image: openvino.PartialShape([-1, *list(image.partial_shape)[1:]])})
    except RuntimeError as error:
        raise ModelError(
            "model.export_one_image",
            "The network of backbone.path takes one image at a time, and an artefact takes any number.",
            "Export the network again with a dynamic batch (docs/own_network.md), and train again.",
        ) from error
    features = {name: graph.output(name).get_node().input_value(0) for name in blocks.names}
    last = features[blocks.last.names[0]]
    results = []
    for head in heads:
        results.append(_result(_probabilities(head, features), head.output("probabilities")))
        results.append(_result(_distance(head, last), head.output("distance")))
    results.insert(1, _result(last, "features"))
    parameters = graph.get_parameters()
    if resize is not None:
        given = image_of_any_size()
        given.output(0).get_tensor().set_names({"image"})
        inner, (old,) = resized(given, resize), parameters
        for target in old.output(0).get_target_inputs():
            target.replace_source_output(inner.output(0))
        parameters = [given]
    model = Model(results, parameters, "tlcli")
    model.inputs[0].get_node().set_layout(openvino.Layout("NHWC"))
    return model


def _result(value: Any, name: str) -> Any:
    copied = ops.convert(value, "f32")  # an output of its own: the last features are also what heads take
    copied.set_friendly_name(name)
    copied.output(0).get_tensor().set_names({name})
    return ops.result(copied)


def _probabilities(head: ExportedHead, features: Mapping[str, Output]) -> Any:
    parts = [features[name] for name in head.inputs]
    taken: Any = parts[0] if len(parts) == 1 else ops.concat(parts, 1)
    if head.kernel is not None:
        kernel = head.kernel
        scaled = ops.multiply(ops.subtract(taken, ops.constant(kernel.mean)), ops.constant(kernel.scale))
        squares = ops.reduce_sum(ops.multiply(scaled, scaled), np.array([1], np.int64), keep_dims=True)
        of_landmarks = np.einsum("md,md->m", kernel.landmarks, kernel.landmarks)[None]
        products = ops.matmul(scaled, ops.constant(-2 * kernel.landmarks), False, True)
        distances = ops.relu(ops.add(ops.add(squares, ops.constant(of_landmarks)), products))
        taken = ops.exp(ops.negative(distances))
    logits = ops.add(ops.matmul(taken, ops.constant(head.weights), False, False), ops.constant(head.bias[None]))
    return ops.softmax(logits, 1)


def _distance(head: ExportedHead, last: Output) -> Any:
    axis = np.array([1], np.int64)
    length = ops.sqrt(ops.reduce_sum(ops.multiply(last, last), axis, keep_dims=True))
    unit = ops.divide(last, ops.maximum(length, ops.constant(_TINY)))
    cosines = ops.matmul(unit, ops.constant(head.reference), False, True)
    nearest = ops.reduce_max(cosines, axis, keep_dims=True)
    return ops.relu(ops.subtract(ops.constant(np.float32(1)), nearest))  # rounded references are up to 1.0005 long
