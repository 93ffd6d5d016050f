"""A converted backbone, cut at its pooling: the last feature map, and how it becomes features."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from openvino import Core, Model, opset13

from tlcli.backbones.graph import GRAPH_FILES, NORMALIZATION_FILE, ConvertedGraph
from tlcli.backbones.spec import Pooling
from tlcli.engines.activation_maps import Normalization, features_by_position
from tlcli.errors import ModelError
from tlcli.system.cache.folders import is_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from openvino import Node

_POOLING: dict[str, Pooling] = {"ReduceMean": "avg", "ReduceMax": "max"}


@dataclass(frozen=True)
class LastMap:
    """The graph up to the last feature map, and what follows it."""

    graph: Any
    """uint8 [1, S, S, 3] -> float32, [1, D, h, w] or [1, h, w, D]"""
    pooling: Pooling
    channels_first: bool
    normalization: Normalization | None

    @classmethod
    def of(cls, converted: ConvertedGraph) -> "LastMap":
        """Cuts a converted or quantised backbone.

        Raises:
            ModelError: its files are damaged.
        """
        if not is_whole(converted.folder, GRAPH_FILES):
            raise ModelError(
                "model.graph_damaged", f"The converted network in {converted.folder} is damaged.",
                "Delete the folder and run again.",
            )  # fmt: skip
        graph = Core().read_model(converted.xml)
        pooling = _pooling(graph)
        last = pooling.input_value(0)
        axes = {int(axis) % 4 for axis in np.atleast_1d(pooling.input_value(1).get_node().data)}
        trunk = Model([opset13.result(last)], graph.get_parameters())
        normalization = Normalization.from_json((converted.folder / NORMALIZATION_FILE).read_text())
        return cls(trunk, _POOLING[pooling.get_type_name()], axes == {2, 3}, normalization)

    def positions(self, last: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """One image's map from the graph, [D, h, w] or [h, w, D] -> features of each position, [h, w, D]."""
        last = np.ascontiguousarray(np.moveaxis(last, 0, -1)) if self.channels_first else last
        return features_by_position(last, self.pooling, self.normalization)


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
    raise ModelError("model.no_pooling", "The network has no global pooling, so it gives no features by position.")
