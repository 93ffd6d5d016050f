"""The engine that a bundle's head sits on, from the cache where it is there."""

from dataclasses import replace

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.conversion import ConvertedGraph, cached_graph, convert
from tlcli.backbones.quantization import find_quantized_graph
from tlcli.backbones.spec import BackboneSpec, EngineChoice, Precision
from tlcli.backbones.weights import Weights, find_weights
from tlcli.engines.compiled import CompiledGraph
from tlcli.engines.interface import Engine
from tlcli.engines.openvino import LoadedGraph, OpenVINOEngine, has_bf16, load
from tlcli.model.manifest import Manifest
from tlcli.progress import Progress


def spec_of(manifest: Manifest) -> BackboneSpec:
    """The backbone of a bundle on OpenVINO; its weights are known by their digest only."""
    record = manifest.backbone
    found = find_quantized_graph(CATALOG[record.name], record.quantized.graph_sha256) if record.quantized else None
    return BackboneSpec(
        CATALOG[record.name], manifest.preparation.size, record.pooling, Weights(None, record.weights_sha256),
        EngineChoice("openvino", record.precision, ""), found,
    )  # fmt: skip


def at_hand(manifest: Manifest, ready: CompiledGraph | None) -> bool:
    """Whether :func:`loaded` takes but a moment: nothing is to be downloaded, converted or compiled."""
    usable = manifest.backbone.precision != "bf16" or has_bf16()
    return ready is not None and ready.is_cached and usable


def loaded(manifest: Manifest, ready: CompiledGraph | None, few: bool, progress: Progress) -> LoadedGraph:
    """OpenVINO whichever engine trained: their features agree (cosine above 0.999), and it starts 15 times faster.

    Args:
        manifest: names the backbone, its weights and the precision.
        ready: what the cache has of it, checked.
        few: for a few images only.
        progress: told where other arithmetic than in training must do.

    Raises:
        ModelError, NetworkError: the backbone's weights are unavailable.
    """
    precision: Precision = manifest.backbone.precision
    if precision == "int8":
        if ready is not None:
            return load(ready)
        precision = "bf16" if has_bf16() else "f32"
        progress.note(
            f"The quantised backbone of this run is not in the cache of this machine: {precision} is used, answers may "
            "differ slightly; evaluate makes it again where the training images are."
        )
    elif precision == "bf16" and not has_bf16():
        progress.note("This processor has no bfloat16 arithmetic: float32 is used, answers may differ slightly.")
        precision = "f32"
    if ready is None or ready.precision != precision:
        ready = CompiledGraph(_converted(manifest, progress), precision, few)
    return load(ready)


def opened(manifest: Manifest, graph: LoadedGraph) -> Engine:
    """The engine with the bundle's decoder."""
    from tlcli.images.decoder import Decoder  # noqa: PLC0415 - Pillow, while the graph is loaded
    from tlcli.images.preparation import Preparation  # noqa: PLC0415

    return OpenVINOEngine(graph, Decoder(Preparation(**manifest.preparation.model_dump(exclude={"decoder_version"}))))


def _converted(manifest: Manifest, progress: Progress) -> ConvertedGraph:
    spec = spec_of(manifest)
    if found := cached_graph(spec):
        return found
    weights = find_weights(spec.row, manifest.backbone.weights, progress)
    manifest.check_weights(weights)
    return convert(replace(spec, weights=weights), progress)
