"""Reads a network that a user brings into OpenVINO, and finds the layers whose features are taken.

Shapes: the input is [1, 3, H, W] or [1, H, W, 3]; maps are [1, C, h, w] or [1, h, w, C], tokens [1, T, C] of which
h * w stand for parts of the image.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import Core, Model, Node, Output
from openvino import opset13 as ops

from tlcli.backbones.blocks import LAST, Block
from tlcli.backbones.catalog import Scaling
from tlcli.backbones.side_outputs import separate
from tlcli.errors import ModelError

_MAX_STAGES = 8
_MAX_PREFIX = 16
"""Tokens before those of the image: a class token, and up to 15 registers."""
_MAX_PATCH = 32
"""Pixels a side of the part of an image that a token stands for: 14 to 32 in ViT, DINOv2 and CLIP, 32 at Swin's end."""
_WINDOWS = ("Convolution", "GroupConvolution", "MaxPool", "AvgPool")
"""What makes the maps of a convolutional network; OpenVINO has them as [1, C, h, w] whatever the file had."""
_ACTIVATIONS = ("Relu", "Clamp", "Elu", "Gelu", "HSwish", "Mish", "PRelu", "SoftPlus", "Swish")
_RANKS = (4, 3, 2)
"""Of an output that is taken where none is named, the best first: it tells most."""
Size = tuple[int, int]


@dataclass(frozen=True)
class NetworkGraph:
    """A network at one size of its input, and its layers."""

    model: Any
    """openvino.Model with the one input and the one output."""
    size: Size
    """H, W, pixels."""
    is_channels_last: bool
    """Of the input."""
    output: str
    """Name of the tensor that is the last layer."""
    kind: str
    """See :class:`~tlcli.backbones.catalog.OwnNetwork`."""
    taken: tuple[tuple[Block, Output, tuple[int, int]], ...]
    """Of each block the map that it pools, rank 4, and the axes to pool over."""
    advice: str
    """Where the output is no map: names the map before it; empty if there is none."""


def read_graph(path: Path, output: str | None, size: Size | None) -> NetworkGraph:
    """Reads a network and finds its layers.

    Args:
        path: an .onnx or .xml file, of which nothing leads out of its folder (:mod:`tlcli.backbones.network_file`).
        output: name of the tensor that is the last layer; None takes the first output of the highest rank.
        size: height and width of the images in pixels; None takes those that the file says.

    Raises:
        ModelError: it cannot be read, takes no images, does not take this size, or gives nothing to pool.
    """
    try:
        whole = Core().read_model(path)
    except RuntimeError as error:
        raise _unsupported(path, _reason(error)) from error
    image = _image_input(path, whole)
    tensor, model = _with_output(path, whole, image, output)
    name = output or _name(tensor)
    last = image.get_partial_shape()[3]
    is_channels_last = last.is_static and last.get_length() == 3
    found = _sized(path, model, image, is_channels_last, size)
    return _with_layers(path, model, name, is_channels_last, found)


def _unsupported(path: Path, why: str) -> ModelError:
    return ModelError(
        "model.network_unsupported",
        f"OpenVINO cannot run the network {path}: {why.rstrip('.')}.",
        "Export it again with standard operators and the opset that its exporter recommends.",
    )


def _reason(error: RuntimeError) -> str:
    """The sentence of OpenVINO's message that says what is wrong, without its source files and check names."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
    said = [
        line for line in lines if not line.startswith(("Exception from", "Check '", "While validating", "Unable to"))
    ]
    chosen = next((line for line in said if "upport" in line or "perat" in line), (said or lines or ["no reason"])[-1])
    return chosen[:300]


def _with_output(path: Path, whole: Any, image: Node, name: str | None) -> tuple[Output, Any]:
    """A tensor, and the part of the graph from the image to it."""
    candidates = _named(path, whole, name) if name is not None else _outputs(whole)
    for value in candidates:
        try:
            return value, Model([ops.result(value)], [image])
        except RuntimeError:  # it needs other inputs as well, such as a text
            continue
    why = (
        f"needs other inputs than an image for {name!r:.200}" if name is not None else "has no output of an image alone"
    )
    raise _no_layer(path, why, whole)


def _named(path: Path, whole: Any, name: str) -> list[Output]:
    for node in whole.get_ordered_ops():
        for value in node.outputs():
            if node.get_type_name() != "Result" and name in (*value.get_names(), node.get_friendly_name()):
                return [value]
    raise _no_layer(path, f"has no tensor {name!r:.200}", whole)


def _outputs(whole: Any) -> list[Output]:
    """The outputs that can be a last layer, the best first."""
    return [one.get_node().input_value(0) for rank in _RANKS for one in whole.outputs if _rank(one) == rank]


def _no_layer(path: Path, why: str, model: Any) -> ModelError:
    listed = ", ".join(f"{_name(one)} {one.get_partial_shape()}" for one in model.outputs[:10])
    return ModelError(
        "model.network_output",
        f"The network {path} {why}. Its outputs: {listed}.",
        "Set backbone.output to the name of an output or of a tensor inside: a feature map [1, C, h, w], tokens "
        "[1, T, C], or features [1, C].",
    )


def _name(value: Output) -> str:
    return str(min(value.get_names(), default=value.get_node().get_friendly_name()))


def _rank(value: Output) -> int:
    shape = value.get_partial_shape()
    return int(shape.rank.get_length()) if shape.rank.is_static else 0


def _image_input(path: Path, model: Any) -> Node:
    """The only input that can be an image."""
    images = [one.get_node() for one in model.inputs if _rank(one) == 4 and _channel_axes(one)]
    if len(images) == 1 and images[0].get_element_type().is_real():
        return images[0]
    listed = ", ".join(
        f"{_name(one)} {one.get_partial_shape()} of {one.get_element_type().get_type_name()}"
        for one in model.inputs[:10]
    )
    raise _unsupported(
        path, f"one input must be an RGB image of floats, [1, 3, H, W] or [1, H, W, 3]; it takes {listed}"
    )


def _channel_axes(value: Output) -> list[int]:
    shape = value.get_partial_shape()
    return [axis for axis in (1, 3) if shape[axis].is_dynamic or shape[axis].get_length() == 3]


def _sized(path: Path, model: Any, image: Node, is_channels_last: bool, wanted: Size | None) -> Size:
    """Gives the graph a static input, of this size or its own."""
    shape = image.get_partial_shape()
    given = [shape[axis] for axis in ((1, 2) if is_channels_last else (2, 3))]
    own = [int(one.get_length()) for one in given if one.is_static]
    if wanted is None and len(own) < 2:
        raise ModelError(
            "model.network_size", f"Neither the network {path} nor a file beside it says which size its images have.",
            "Set image.size, in pixels.",
        )  # fmt: skip
    size = wanted if wanted is not None else (own[0], own[1])
    try:
        model.reshape({image.output(0): [1, *size, 3] if is_channels_last else [1, 3, *size]})
    except RuntimeError as error:
        raise _wrong_size(path, size, own, _reason(error)) from error
    if not model.outputs[0].get_partial_shape().is_static:
        raise _unsupported(path, f"its output has no fixed shape for images of {size[0]} x {size[1]} pixels")
    return size


def _wrong_size(path: Path, size: Size, own: list[int], why: str) -> ModelError:
    is_other = len(own) == 2 and tuple(own) != size
    allowed = f"it takes {' x '.join(map(str, own))} only" if is_other else f"OpenVINO says: {why}"
    return ModelError(
        "model.network_size",
        f"The network {path} does not take images of {size[0]} x {size[1]} pixels: {allowed.rstrip('.')}.",
        "Set image.size to a size that it takes, or export it for this size.",
    )


def _with_layers(path: Path, model: Any, name: str, is_channels_last: bool, size: Size) -> NetworkGraph:
    result = model.outputs[0].get_node().input_value(0)
    shape = tuple(int(one) for one in result.get_shape())
    if shape[:1] != (1,) or len(shape) not in _RANKS or not result.get_element_type().is_real():
        raise _no_layer(path, f"gives {list(shape)} of {result.get_element_type()} as {name!r:.200}", model)
    if len(shape) == 4 and _is_map(shape, size, is_channels_last):
        channel = _channel_axis(shape, size, is_channels_last)
        spatial = (2, 3) if channel == 1 else (1, 2)
        area = shape[spatial[0]] * shape[spatial[1]]
        stages = [(f"stage{number}", value) for number, value in enumerate(_stages(model, result, area), 1)]
        taken = [
            (Block(layer, pooling, int(value.get_shape()[1])), value, (2, 3))
            for layer, value in stages
            for pooling in ("avg", "max")
        ]
        taken += [(Block(LAST, pooling, shape[channel]), result, spatial) for pooling in ("avg", "max")]
        return _graph(model, size, is_channels_last, name, "map", taken)
    if len(shape) == 3:
        return _graph(model, size, is_channels_last, name, "tokens", _of_tokens(path, name, result, size))
    features = _shaped(result, (1, 1, 1, int(np.prod(shape))))
    block = Block(LAST, "avg", int(np.prod(shape)))
    before = next((f"{_name(value)} {list(value.get_shape())}" for value in reversed(_maps(model, result))), "")
    return _graph(model, size, is_channels_last, name, "vector", [(block, features, (1, 2))], before)


def _graph(
    model: Any, size: Size, is_channels_last: bool, name: str, kind: str, taken: Any, advice: str = ""
) -> NetworkGraph:
    return NetworkGraph(model, size, is_channels_last, name, kind, tuple(taken), advice)


def _is_map(shape: tuple[int, ...], size: Size, is_channels_last: bool) -> bool:
    """Whether an output of rank 4 has positions; [1, C, 1, 1] is a pooled map."""
    channel = _channel_axis(shape, size, is_channels_last)
    return int(np.prod(shape)) > shape[channel]


def _channel_axis(shape: tuple[int, ...], size: Size, is_channels_last: bool) -> int:
    """The axis of the channels: the others have the aspect ratio of the image; where that does not tell, as in the
    input."""
    first, last = _fits(shape[2:], size), _fits(shape[1:3], size)
    return 1 if first > last or (first == last and not is_channels_last) else 3


def _fits(inner: tuple[int, ...], size: Size) -> bool:
    """Whether h x w has the aspect ratio of H x W, up to one position."""
    (height, width), (rows, columns) = size, inner
    return rows <= height and columns <= width and abs(rows * width - columns * height) <= max(size)


def _of_tokens(path: Path, name: str, tokens: Output, size: Size) -> list[tuple[Block, Any, tuple[int, int]]]:
    """cls, where there are tokens before those of the image, and mean_tokens."""
    _, count, width = (int(one) for one in tokens.get_shape())
    grids = [grid for grid in _grids(size) if 0 <= count - grid[0] * grid[1] <= _MAX_PREFIX]
    if not grids:
        raise ModelError(
            "model.network_output",
            f"The output {name!r:.200} of the network {path} has {count} tokens, which are no grid of parts of an "
            f"image of {size[0]} x {size[1]} pixels behind up to {_MAX_PREFIX} others.",
            "Set backbone.output to another tensor.",
        )
    rows, columns = max(grids, key=lambda grid: grid[0] * grid[1])
    prefix = count - rows * columns
    lengths = [length for length in (min(prefix, 1), max(prefix - 1, 0), count - prefix) if length]
    parts = ops.variadic_split(tokens, 1, np.array(lengths)).outputs()
    of_image = _shaped(parts[-1], (1, rows, columns, width))
    found: list[tuple[Block, Any, tuple[int, int]]] = [(Block(LAST, "mean_tokens", width), of_image, (1, 2))]
    if not prefix:
        return found
    return [(Block(LAST, "cls", width), _shaped(parts[0], (1, 1, 1, width)), (1, 2)), *found]


def _grids(size: Size) -> list[Size]:
    """Grids that an image's parts can form, of squares of up to 32 pixels a side."""
    return [(size[0] // side, size[1] // side) for side in range(1, min(*size, _MAX_PATCH) + 1)]


def _shaped(value: Output, shape: tuple[int, ...]) -> Output:
    reshaped: Output = ops.reshape(value, np.array(shape, np.int64), special_zero=False).output(0)
    return reshaped


def _stages(model: Any, last: Output, area: int) -> list[Output]:
    """The ends of the stages of a convolutional network.

    A stage are the maps of one size, larger than the last map. Its end is the last sum or concatenation of two computed
    maps, behind its activation where that is all that takes it; or, where there is none, the last map.
    """
    computed, ends = _computed(model), dict[Size, tuple[bool, Output]]()
    for value in _maps(model, last):
        node, inner = value.get_node(), _inner(value)
        terms = sum(one.get_node().get_name() in computed for one in node.input_values())
        joins = node.get_type_name() in ("Add", "Concat") and terms > 1
        if inner[0] * inner[1] > area and (joins or not ends.get(inner, (False,))[0]):
            ends.pop(inner, None)
            ends[inner] = joins, value
    return [_activated(value) if joins else value for joins, value in ends.values()][-_MAX_STAGES:]


def _maps(model: Any, last: Output) -> list[Output]:
    """The feature maps [1, C, h, w] that an output is computed from, in the order of computation; those of one position
    do not count."""
    above, computed = _ancestors(last), _computed(model)
    values = [
        value
        for node in model.get_ordered_ops() if node.get_name() in above and node.get_name() in computed
        for value in node.outputs() if _rank(value) == 4 and value.get_partial_shape().is_static
    ]  # fmt: skip
    windows = {_inner(value) for value in values if value.get_node().get_type_name() in _WINDOWS} - {(1, 1)}
    return [
        value for value in values
        if value.get_shape()[0] == 1 and _inner(value) in windows
        and value.get_node().get_type_name() != "Pad"
    ]  # fmt: skip


def _computed(model: Any) -> set[str]:
    """Operations whose values come out of a convolution: neither constants nor the input, scaled or shifted."""
    found: set[str] = set()
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        above = any(value.get_node().get_name() in found for value in node.input_values())
        if kind in ("Convolution", "GroupConvolution") or (above and kind != "ShapeOf"):
            found.add(node.get_name())
    return found


def _inner(value: Output) -> Size:
    shape = value.get_shape()
    return int(shape[2]), int(shape[3])


def _ancestors(value: Output) -> dict[str, Node]:
    """The operations that a value is computed from, and its own, by name."""
    found = {value.get_node().get_name(): value.get_node()}
    waiting = [value.get_node()]
    for node in waiting:  # grows meanwhile
        for above in (one.get_node() for one in node.input_values()):
            if above.get_name() not in found:
                found[above.get_name()] = above
                waiting.append(above)
    return found


def _activated(value: Output) -> Output:
    users = [one.get_node() for one in value.get_target_inputs()]
    if len(users) == 1 and users[0].get_type_name() in _ACTIVATIONS:
        activated: Output = users[0].output(0)
        return activated
    return value


def convert_graph(graph: NetworkGraph, scaling: Scaling) -> Any:
    """The graph from levels uint8 [1, H, W, 3] to one output [1, width] for each block, by its name."""
    pooled = []
    for block, value, axes in graph.taken:
        reduce = ops.reduce_max if block.pooling == "max" else ops.reduce_mean
        result = ops.result(reduce(value, np.array(axes, np.int64), keep_dims=False))
        result.output(0).get_tensor().set_names({block.name})
        pooled.append(result)
    model = Model(pooled, graph.model.get_parameters())
    steps = openvino.preprocess.PrePostProcessor(model)
    image, kind = steps.input(), model.inputs[0].get_element_type()
    image.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    image.model().set_layout(openvino.Layout("NHWC" if graph.is_channels_last else "NCHW"))
    image.preprocess().convert_element_type(openvino.Type.f32)
    if scaling.scale != (1.0, 1.0, 1.0) or scaling.offset != (0.0, 0.0, 0.0):
        image.preprocess().mean([-b / a for a, b in zip(scaling.scale, scaling.offset, strict=True)])
        image.preprocess().scale([1 / a for a in scaling.scale])
    if kind != openvino.Type.f32:
        image.preprocess().convert_element_type(kind)
    for number in range(len(pooled)):
        steps.output(number).tensor().set_element_type(openvino.Type.f32)
    built = steps.build()
    separate(built)
    return built
