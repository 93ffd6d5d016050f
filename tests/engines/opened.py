"""Opens real engines on prepared images, for tests."""

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.catalog import Backbone
from tlcli.backbones.graph import ConvertedGraph
from tlcli.backbones.spec import BackboneSpec, EngineChoice, Precision
from tlcli.backbones.weights import Weights
from tlcli.engines.compiled import CompiledGraph
from tlcli.engines.feature_maps import FeatureMaps
from tlcli.engines.interface import Engine, Result, Runner, open_engine
from tlcli.engines.openvino import OpenVINOEngine, load
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation
from tlcli.system.prefetch import in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray


def spec_of(
    row: Backbone, size: int, weights: Weights, engine: str = "openvino", precision: Precision = "f32"
) -> BackboneSpec:
    return BackboneSpec(row, (size, size), weights, EngineChoice(engine, precision, ""))


def unchanged(size: int) -> Decoder:
    """Leaves pixels of this size as they are."""
    return Decoder(Preparation((size, size), "squash"))


def opened(spec: BackboneSpec) -> Engine:
    return open_engine(spec, unchanged(spec.size[0]))


def opened_graph(compiled: CompiledGraph | ConvertedGraph, row: Backbone, size: int) -> OpenVINOEngine:
    if isinstance(compiled, ConvertedGraph):
        compiled = CompiledGraph(compiled, "f32")
    return OpenVINOEngine(load(compiled), row.blocks, unchanged(size))


def rows_of(engine: "Runner[NDArray[np.float32]]", images: "Sequence[NDArray[np.uint8]]") -> "NDArray[np.float32]":
    """Features of each image, all blocks: [N, W]."""
    found: list[NDArray[np.float32]] = _results(engine, images)
    return np.stack(found)


def maps_of(engine: Engine, images: "Sequence[NDArray[np.uint8]]") -> list[FeatureMaps]:
    with closing(engine.maps()) as runner:
        return _results(runner, images)


def _results(runner: Runner[Result], images: "Sequence[NDArray[np.uint8]]") -> list[Result]:
    items = [Item(image) for image in images]
    futures = in_order(runner.submit, items, runner.window)
    return [result for _, future in futures for result in future.result()]
