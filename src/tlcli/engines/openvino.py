"""OpenVINO on the CPU: one image per request, and enough requests at a time to keep all cores busy."""

import platform
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.backbones.blocks import MAP, Block, Blocks
from tlcli.backbones.catalog import Backbone
from tlcli.backbones.conversion import convert
from tlcli.backbones.graph import GRAPH_FILES, ConvertedGraph
from tlcli.backbones.spec import BackboneSpec
from tlcli.engines.compiled import CompiledGraph
from tlcli.engines.feature_maps import FeatureMaps
from tlcli.engines.threaded import ThreadedEngine
from tlcli.errors import ResourceError
from tlcli.images.tiles import cut
from tlcli.progress import Progress
from tlcli.system.cache.folders import is_whole
from tlcli.system.cpu import cores, threads
from tlcli.system.lazy import start_openvino

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.images.items import Decoder

openvino = start_openvino()

_CORE = openvino.Core()
"""One for the process, never freed: with the last Core, OpenVINO frees the main thread's signal stack, and the next
Ctrl-C would end Python with signal 11."""

_FIRST_ARRAY = openvino.Tensor(np.zeros(1, np.float32)).data
"""Read by one thread, before any other: on the first such access, OpenVINO's Python bindings fill tables under a lock
of C++ for which they release Python's lock, so that two threads that both do it first wait for each other forever."""
_KEEP_ALIVE: list[Any] = []
"""The last graph compiled for latency, in a process that ends soon: freeing it would take 0.04 s of predict's 1 s."""


def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware."""
    return "BF16" in _CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def has_int8() -> bool:
    """Whether this processor multiplies bytes in hardware. OpenVINO lists INT8 for all processors; Linux lists the
    instructions of x86-64, and other processors are assumed to have them."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not cpuinfo.is_file():
        return True
    return "_vnni" in cpuinfo.read_text() or "amx_int8" in cpuinfo.read_text()


def open_engine(spec: BackboneSpec, decoder: "Decoder", progress: Progress) -> "OpenVINOEngine":
    """See :func:`tlcli.engines.interface.open_engine`."""
    if spec.quantized:  # the operations that stay in float are computed in float32 on every processor
        return OpenVINOEngine(load(CompiledGraph(spec.quantized.graph, "f32")), spec.row.blocks, decoder)
    graph = CompiledGraph(convert(spec, progress), spec.engine.precision)
    return OpenVINOEngine(load(graph), spec.row.blocks, decoder)


def trunk_blocks(graph: ConvertedGraph, row: Backbone) -> Blocks:
    """What a backbone without its last blocks gives (:func:`tlcli.backbones.conversion.convert_trunk`): the feature map
    at the cut, then the blocks of features that are computed before it."""
    outputs = _CORE.read_model(graph.xml).outputs
    before = row.blocks.named(output.get_any_name() for output in outputs)
    return Blocks((Block(MAP, "none", int(np.prod(outputs[0].shape))), *before.all))


def open_trunk(
    graph: ConvertedGraph, blocks: Blocks, precision: str, decoder: "Decoder"
) -> "ThreadedEngine[NDArray[np.float32]]":
    """Runs a backbone without its last blocks; a view's result are ``blocks``, see :func:`trunk_blocks`, rounded as the
    store has them."""
    model = load(CompiledGraph(graph, precision)).model
    infer = _Requests(model)

    def compute(pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        return blocks.rounded(np.concatenate([one.ravel() for one in infer(pixels)]))

    return ThreadedEngine(decoder, compute, _workers(model))


@dataclass(frozen=True)
class LoadedGraph:
    """A compiled graph in memory."""

    model: Any
    """openvino.CompiledModel"""
    graph: ConvertedGraph
    settings: dict[str, str]
    """What it was compiled with, without the cache."""


def load(compiled: CompiledGraph) -> LoadedGraph:
    """Compiles a graph, or loads it from the cache of compiled graphs (0.4 s instead of 0.8 s).

    Raises:
        ResourceError: the graph's files disappeared or changed.
    """
    settings = _settings(compiled.precision, compiled.low_latency)
    with compiled.cache() as folder:
        cached = {**settings, "CACHE_DIR": str(folder)} if folder else settings
        try:
            model = _CORE.compile_model(compiled.graph.xml, "CPU", cached)
        except RuntimeError as error:
            if is_whole(compiled.graph.folder, GRAPH_FILES):
                raise
            raise ResourceError(
                "resource.file_disappeared", f"{compiled.graph.folder} disappeared or changed while it was in use.",
                "Run the command again.",
            ) from error  # fmt: skip
    if compiled.low_latency:
        _KEEP_ALIVE[:] = [model]
    return LoadedGraph(model, compiled.graph, settings)


def open_graph(graph: Any, precision: str, decoder: "Decoder") -> "ThreadedEngine[NDArray[np.float32]]":
    """An engine of a graph in memory (openvino.Model) with one output, compiled as :func:`load` does, without the
    cache."""
    model = _CORE.compile_model(graph, "CPU", _settings(precision))
    infer = _Requests(model)
    return ThreadedEngine(decoder, lambda pixels: infer(pixels)[0].copy(), _workers(model))


def _settings(precision: str, low_latency: bool = False) -> dict[str, str]:
    # OpenVINO binds its threads to the first cores, so two processes with a core each would share one.
    unbound = {"ENABLE_CPU_PINNING": "NO"} if threads() < cores() else {}
    return unbound | {
        # All cores work on one image, or each on its own: the same features, but the first of them sooner.
        "PERFORMANCE_HINT": "LATENCY" if low_latency else "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": str(threads()),
    }


class OpenVINOEngine(ThreadedEngine["NDArray[np.float32]"]):
    """A compiled backbone. One image per request is as fast as batches here, and makes an image's features
    independent of its neighbours."""

    def __init__(self, loaded: LoadedGraph, blocks: Blocks, decoder: "Decoder") -> None:
        """Makes an engine of a loaded graph, whose outputs are the blocks in their order."""
        infer, size = _Requests(loaded.model), decoder.preparation.size

        def features(canvas: "NDArray[np.uint8]") -> "NDArray[np.float32]":
            return blocks.rounded(blocks.over_tiles([np.concatenate(infer(tile)) for tile in cut(canvas, size)]))

        super().__init__(decoder, features, _workers(loaded.model))
        self._loaded, self._blocks = loaded, blocks

    def maps(self) -> ThreadedEngine[FeatureMaps]:
        """See :meth:`tlcli.engines.interface.Engine.maps`; compiles the graph again, cut at its poolings."""
        from tlcli.engines.openvino_maps import CutGraph  # noqa: PLC0415 - predict does without it

        trunk = CutGraph.of(self._loaded.graph, self._blocks)
        model = _CORE.compile_model(trunk.graph, "CPU", self._loaded.settings)
        infer, size = _Requests(model), self._decoder.preparation.size

        def maps(canvas: "NDArray[np.uint8]") -> FeatureMaps:
            return trunk.maps([[one.copy() for one in infer(tile)] for tile in cut(canvas, size)])

        engine = ThreadedEngine(self._decoder, maps, _workers(model))
        if self._decoder.preparation.tiles:
            engine.window = 2  # the maps of one image take 100 MB with 64 tiles of efficientnet_lite0
        return engine


def _workers(model: Any) -> int:
    """Twice the requests that run at a time: some threads decode while the others wait for their requests."""
    return 2 * int(model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))


class _Requests:
    """Runs a compiled model, with one infer request a thread: uint8 [H, W, 3] -> its outputs, float32, without their
    first axis. They are views of memory that the thread's next call overwrites: to copy 16 small arrays by themselves
    costs 50 microseconds an image, which one concatenation saves."""

    def __init__(self, model: Any) -> None:
        self._model, self._local = model, threading.local()

    def __call__(self, pixels: "NDArray[np.uint8]") -> "list[NDArray[np.float32]]":
        local = self._local
        if not hasattr(local, "request"):
            local.request = self._model.create_infer_request()
            tensors = [local.request.get_output_tensor(number) for number in range(len(self._model.outputs))]
            local.outputs = [tensor.data[0] for tensor in tensors]
        local.request.start_async([np.ascontiguousarray(pixels[np.newaxis])])
        local.request.wait()
        return local.outputs  # type: ignore[no-any-return]
