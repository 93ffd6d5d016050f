"""A converted backbone cut at its pooling: its last feature map, and what it does to the pooled feature."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from openvino import Core, Model, Type, opset13

from tlcli.backbones.conversion import Exported, is_whole
from tlcli.engines.activation_maps import Normalization, Pooling, positions
from tlcli.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from openvino import Node

_POOLING: dict[str, Pooling] = {"ReduceMean": "avg", "ReduceMax": "max"}


@dataclass(frozen=True)
class LastMap:
    """The graph up to the last feature map, and how that becomes features."""

    graph: Any
    """uint8 [1, S, S, 3] -> float32, [1, D, h, w] or [1, h, w, D]"""
    pooling: Pooling
    channels_first: bool
    after: Normalization | None

    @classmethod
    def of(cls, exported: Exported) -> "LastMap":
        """Of a converted or quantised backbone.

        Raises:
            ModelError: its files are not as they were written.
        """
        if not is_whole(exported.folder):
            raise ModelError(f"The converted network in {exported.folder} is damaged; delete the folder and try again.")
        graph = Core().read_model(exported.xml)
        pool = _pooling(graph)
        last = pool.input_value(0)
        axes = {int(axis) % 4 for axis in np.atleast_1d(pool.input_value(1).get_node().data)}
        trunk = Model([opset13.result(last)], graph.get_parameters())
        return cls(trunk, _POOLING[pool.get_type_name()], axes == {2, 3}, _after(graph, pool))

    def positions(self, last: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """One image's map as the graph gives it, [D, h, w] or [h, w, D] -> features of each position, [h, w, D]."""
        last = np.ascontiguousarray(np.moveaxis(last, 0, -1)) if self.channels_first else last
        return positions(last, self.pooling, self.after)


def _pooling(graph: Model) -> "Node":
    """The reduction of a map [1, ., ., .] that is nearest to the output."""
    waiting = list(graph.get_results())
    seen: set[str] = set()
    for node in waiting:  # grows meanwhile
        if node.get_type_name() in _POOLING and node.input_value(0).partial_shape.rank.get_length() == 4:
            return node
        above = {parent.get_name(): parent for parent in (value.get_node() for value in node.input_values())}
        waiting.extend(parent for name, parent in above.items() if name not in seen)
        seen |= above.keys()
    raise ModelError("The network ends in no pooling over places, so that no place of an image can be made out.")


def _after(graph: Model, pool: "Node") -> Normalization | None:
    """What follows the pooling; cuts it off the graph. Quantisation is left out of it."""
    if all(user.get_node().get_type_name() == "Result" for user in pool.output(0).get_target_inputs()):
        return None
    width = pool.output(0).partial_shape[1].get_length()
    rows = opset13.parameter([-1, width], Type.f32)
    pool.output(0).replace(rows.output(0))
    function = Model(graph.get_results(), [rows])
    for node in function.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize":
            node.output(0).replace(node.input_value(0))
    compiled = Core().compile_model(function, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return Normalization.of(lambda given: np.array(compiled([given])[0]), width)
