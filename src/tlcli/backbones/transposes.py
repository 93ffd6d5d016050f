"""Removes the transposes that Keras exports around every layer.

Keras exports each layer as channels-last, with a transpose before and after every convolution and normalisation.
OpenVINO executes them, and cannot fold the normalisation into the convolution or quantise the bias with it. Without
them DenseNet201 is 2.0 times and ``efficientnet_lite0`` 3.0 times as fast in float32, int8 features have a cosine of
0.98 instead of 0.93 with the float ones, and features differ by rounding only (5e-6 of the largest).

A transpose is moved behind the operation that follows it, whose constants and axes are transposed back; two adjacent
transposes that cancel out are removed. Operations that are not in the table below stay as they are.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from openvino import opset13 as ops
from openvino._offline_transformations import apply_moc_transformations

if TYPE_CHECKING:
    from openvino import Model, Node, Output

Order = tuple[int, ...]


def remove_transposes(graph: "Model") -> None:
    """Moves transposes towards the output and cancels them, in place; the computed function stays the same."""
    apply_moc_transformations(graph, cf=True, smart_reshape=False)  # folds constants, decomposes normalisations
    for node in graph.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "Transpose":
            _merge(node)
        elif kind in _MOVES and (order := _common_order(node)):
            _MOVES[kind](node, order)
    graph.validate_nodes_and_infer_types()
    apply_moc_transformations(graph, cf=True, smart_reshape=False)  # folds normalisations into convolutions


def _order(value: "Output") -> Order | None:
    """The order of the constant transpose that produced this value, if one did."""
    node = value.get_node()
    if node.get_type_name() != "Transpose" or not _is_constant(node.input_value(1)):
        return None
    return tuple(int(axis) for axis in _data(node.input_value(1)))


def _is_constant(value: "Output") -> bool:
    return bool(value.get_node().get_type_name() == "Constant")


def _data(value: "Output") -> "np.ndarray":
    return np.asarray(value.get_node().data)


def _set(node: "Node", index: int, value: "np.ndarray") -> None:
    node.input(index).replace_source_output(ops.constant(np.ascontiguousarray(value)).output(0))


def _merge(node: "Node") -> None:
    """Replaces two transposes in a row by one, or by none if they cancel out."""
    mine, before = _order(node.output(0)), _order(node.input_value(0))
    if mine and before:
        source = node.input_value(0).get_node().input_value(0)
        both = [before[axis] for axis in mine]
        cancel_out = both == sorted(both)
        node.output(0).replace(source if cancel_out else ops.transpose(source, both).output(0))


def _common_order(node: "Node") -> Order | None:
    """The order in which all inputs except constants were transposed; None if they have no common one."""
    values = [v for v in node.input_values() if not _is_constant(v)]
    orders = {_order(value) for value in values}
    return orders.pop() if len(orders) == 1 else None


def _transpose_after(node: "Node", order: Order) -> None:
    users = list(node.output(0).get_target_inputs())
    moved = ops.transpose(node.output(0), list(order))
    for user in users:
        user.replace_source_output(moved.output(0))


def _bypass(node: "Node", index: int = 0) -> None:
    node.input(index).replace_source_output(node.input_value(index).get_node().input_value(0))


def _elementwise(node: "Node", order: Order) -> None:
    for index, value in enumerate(node.input_values()):
        if not _is_constant(value):
            _bypass(node, index)
        elif (data := _data(value)).size > 1:
            full = data.reshape((1,) * (len(order) - data.ndim) + data.shape)
            _set(node, index, full.transpose(np.argsort(order)))
    _transpose_after(node, order)


def _concat(node: "Node", order: Order) -> None:
    node.set_axis(order[node.get_axis() % len(order)])
    _elementwise(node, order)


def _pad(node: "Node", order: Order) -> None:
    for index in (1, 2):  # padding before, padding after
        _set(node, index, _data(node.input_value(index))[np.argsort(order)])
    _bypass(node)
    _transpose_after(node, order)


def _reduce(node: "Node", order: Order) -> None:
    """Pooling over whole feature maps: [N, H, W, C] is reduced to [N, C] in either layout."""
    reduced = {int(axis) % len(order) for axis in np.atleast_1d(_data(node.input_value(1)))}
    left = [before for after, before in enumerate(order) if after not in reduced]
    keeps = node.get_attributes()["keep_dims"]
    if keeps or left == sorted(left):
        _set(node, 1, np.array(sorted(order[axis] for axis in reduced), np.int64))
        _bypass(node)
        if keeps:
            _transpose_after(node, order)


_UNARY = ("Clamp", "Convert", "Elu", "Exp", "Gelu", "HSigmoid", "HSwish", "Relu", "Sigmoid", "Softplus", "Tanh")
_BINARY = ("Add", "Divide", "Maximum", "Minimum", "Multiply", "Power", "Subtract")
_MOVES: dict[str, Callable[["Node", Order], None]] = {
    **dict.fromkeys((*_UNARY, *_BINARY), _elementwise),
    "Concat": _concat,
    "Pad": _pad,
    "ReduceMax": _reduce,
    "ReduceMean": _reduce,
}
