"""Keeps the poolings of earlier layers from slowing down the layers that follow them, in bfloat16.

OpenVINO computes what stands between an output and the convolutions above it in float32, whatever precision it is told:
the tail of the network, for accuracy. An earlier layer that is pooled is such a tail, too, and with it all sums and
concatenations that it is made of, which the next layers take: they were computed in float32 and converted, which took
DenseNet201 a fifth of its time. A convolution in between that multiplies by one ends the tail there; all else is
computed as in a network with one output, bit for bit (bench/layers_cost.py).
"""

from typing import TYPE_CHECKING

import numpy as np
from openvino import opset13 as ops

from tlcli.backbones.blocks import LAST

if TYPE_CHECKING:
    from openvino import Model, Node

POOLINGS = ("ReduceMean", "ReduceMax")
_MARK = "side_output/"


def pooling_of(result: "Node") -> "Node | None":
    """The reduction of a map [1, ., ., .] that is nearest to an output; None if there is none."""
    waiting, seen = [result], {result.get_name()}
    for node in waiting:  # grows meanwhile
        if node.get_type_name() in POOLINGS and node.input_value(0).partial_shape.rank.get_length() == 4:
            return node
        for above in (value.get_node() for value in node.input_values()):
            if above.get_name() not in seen:
                seen.add(above.get_name())
                waiting.append(above)
    return None


def separate(graph: "Model") -> None:
    """Puts a convolution by one before the poolings of all layers but the last, in place.

    Args:
        graph: its outputs are named like blocks, but for the map at a cut, which is none.
    """
    separated: dict[str, Node] = {}
    for output in graph.outputs:
        layer = output.get_any_name().rpartition(".")[0]
        pooling = pooling_of(output.get_node())
        if layer in ("", LAST) or pooling is None or _axes(pooling) != {2, 3}:
            continue
        if layer not in separated:
            map_ = pooling.input_value(0)
            ones = np.ones((map_.get_shape()[1], 1, 1, 1, 1), np.float32)
            separated[layer] = ops.group_convolution(map_, ops.constant(ones), [1, 1], [0, 0], [0, 0], [1, 1])
            separated[layer].set_friendly_name(_MARK + layer)
        pooling.input(0).replace_source_output(separated[layer].output(0))
    graph.validate_nodes_and_infer_types()


def join(graph: "Model") -> None:
    """Undoes :func:`separate`, in place: a quantised network has no bfloat16, and needs no convolutions more."""
    for node in graph.get_ordered_ops():
        if node.get_friendly_name().startswith(_MARK):
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(node.input_value(0))
    graph.validate_nodes_and_infer_types()


def _axes(pooling: "Node") -> set[int]:
    return {int(axis) % 4 for axis in np.atleast_1d(pooling.input_value(1).get_node().data)}
