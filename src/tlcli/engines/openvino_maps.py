"""A converted backbone, cut at its poolings: its feature maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from openvino import Core, Model, opset13

from tlcli.backbones.blocks import Blocks
from tlcli.backbones.graph import GRAPH_FILES, NORMALIZATION_FILE, ConvertedGraph
from tlcli.backbones.side_outputs import pooling_of
from tlcli.engines.feature_maps import FeatureMaps, Normalization
from tlcli.errors import ModelError
from tlcli.system.cache.folders import is_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from openvino import Node


@dataclass(frozen=True)
class CutGraph:
    """The graph up to its feature maps."""

    graph: Any
    """uint8 [1, H, W, 3] -> maps, float32 [1, C, h, w] or [1, h, w, C]"""
    blocks: Blocks
    names: tuple[str, ...]
    """Of its outputs: layers, or a block whose map is another than that of its layer."""
    channels_first: tuple[bool, ...]
    """Of each output."""
    normalization: Normalization | None

    @classmethod
    def of(cls, converted: ConvertedGraph, blocks: Blocks) -> "CutGraph":
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
        results = {block.map_name: result for block, result in zip(blocks.all, graph.get_results(), strict=True)}
        poolings = [_pooling(result) for result in results.values()]
        trunk = Model([opset13.result(pooling.input_value(0)) for pooling in poolings], graph.get_parameters())
        axes = ({int(axis) % 4 for axis in np.atleast_1d(one.input_value(1).get_node().data)} for one in poolings)
        normalization = Normalization.from_json((converted.folder / NORMALIZATION_FILE).read_text())
        return cls(trunk, blocks, tuple(results), tuple(reduced == {2, 3} for reduced in axes), normalization)

    def maps(self, tiles: "Sequence[Sequence[NDArray[np.float32]]]") -> FeatureMaps:
        """An image's maps.

        Args:
            tiles: of each tile the outputs of the graph, [C, h, w] or [h, w, C].
        """
        return FeatureMaps(
            self.blocks,
            tuple(
                {
                    name: np.ascontiguousarray(np.moveaxis(one, 0, -1)) if first else one
                    for name, one, first in zip(self.names, outputs, self.channels_first, strict=True)
                }
                for outputs in tiles
            ),
            self.normalization,
        )


def _pooling(result: "Node") -> "Node":
    if (found := pooling_of(result)) is None:
        raise ModelError("model.no_pooling", "The network has no global pooling, so it gives no features by position.")
    return found
