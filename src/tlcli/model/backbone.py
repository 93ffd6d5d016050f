"""The backbone of a bundle, on OpenVINO whichever engine trained: the features agree (cosine above 0.999), and OpenVINO
starts 15 times faster.

Importing this module imports neither NumPy nor OpenVINO, so that the compiled graph is checked during their import.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.backbones.conversion import cached_graph, convert, graph_folder
from tlcli.backbones.graph import ConvertedGraph
from tlcli.backbones.own_network import own_weights
from tlcli.backbones.spec import BackboneSpec, EngineChoice, Precision
from tlcli.backbones.weights import Weights, find_weights
from tlcli.engines.compiled import CompiledGraph
from tlcli.model.manifest import TAIL_FILE, BundleManifest
from tlcli.progress import Progress
from tlcli.system.files import cache_folder

if TYPE_CHECKING:
    from tlcli.engines.openvino import LoadedGraph


def find_compiled(manifest: BundleManifest, few: bool) -> CompiledGraph | None:
    """Returns the bundle's backbone from the cache, checked byte by byte: compiled, or at least converted.

    Args:
        manifest: names the backbone, its weights and the precision.
        few: compiled for few images (low latency) rather than for throughput.

    Returns:
        None if the cache has no intact graph.
    """
    row, record = manifest.row, manifest.backbone
    if record.quantized:
        from tlcli.backbones.quantization import find_quantized_graph  # noqa: PLC0415 - NumPy

        found = find_quantized_graph(row, record.quantized.graph_sha256)
        return CompiledGraph(found.graph, "f32", few) if found else None
    spec = _spec(manifest)
    folder = graph_folder(spec)
    # A cache that is not writable (in a container's image) has only what train left there.
    for low_latency in [few] if os.access(cache_folder(), os.W_OK) else [few, False]:
        compiled = CompiledGraph(ConvertedGraph(folder), record.precision, low_latency)
        if compiled.is_cached and compiled.graph.xml.is_file():
            return compiled
    converted = cached_graph(spec)
    return CompiledGraph(converted, record.precision, few) if converted else None


def load_backbone(
    folder: Path, manifest: BundleManifest, compiled: CompiledGraph | None, few: bool, progress: Progress
) -> "LoadedGraph":  # fmt: skip
    """Loads the bundle's backbone; downloads, converts and compiles what the cache lacks.

    Args:
        folder: the bundle, which holds what a fine-tuned backbone has of its own.
        manifest: names the backbone, its weights and the precision.
        compiled: what :func:`find_compiled` returned.
        few: see there.
        progress: receives downloads, conversions, and notes where the precision differs from training.

    Raises:
        ModelError: the weights are missing, or differ from those of training.
        NetworkError: the weights cannot be downloaded.
    """
    from tlcli.engines.openvino import has_bf16, load  # noqa: PLC0415 - see the module

    precision: Precision = manifest.backbone.precision
    if precision == "int8":
        if compiled is not None:
            return load(compiled)
        precision = "bf16" if has_bf16() else "f32"
        progress.note(
            f"The quantised backbone of this run is not in the cache of this machine; predictions use {precision} and "
            "may differ slightly. evaluate quantises it again where the training images are."
        )
    elif precision == "bf16" and not has_bf16():
        progress.note("This processor has no bfloat16 arithmetic; predictions use float32 and may differ slightly.")
        precision = "f32"
    if compiled is None or compiled.precision != precision:
        compiled = CompiledGraph(converted_backbone(folder, manifest, progress), precision, few)
    return load(compiled)


def _spec(manifest: BundleManifest) -> BackboneSpec:
    """The float backbone of a bundle; its weights are known by their digest only."""
    record = manifest.backbone
    weights = Weights(None, record.weights_sha256, record.layout)
    return BackboneSpec(
        manifest.row,
        manifest.preparation.size,
        weights.tuned(None, record.tail_sha256) if record.tail_sha256 else weights,
        EngineChoice("openvino", record.precision, ""),
    )


def found_backbone(folder: Path, manifest: BundleManifest, progress: Progress) -> BackboneSpec:
    """The float backbone of a bundle with the file of its weights, which is downloaded where it is missing.

    Args:
        folder: the bundle.
        manifest: names the backbone and its weights.
        progress: receives a download.

    Raises:
        ModelError: the weights are missing, or differ from those of training.
        NetworkError: the weights cannot be downloaded.
    """
    spec, source = _spec(manifest), manifest.backbone.weights
    weights = own_weights(Path(source)) if spec.row.own else find_weights(spec.row, source, progress)
    manifest.check_weights(weights)
    if sha256 := manifest.backbone.tail_sha256:
        weights = weights.tuned(folder / TAIL_FILE, sha256)
    return replace(spec, weights=weights)


def converted_backbone(folder: Path, manifest: BundleManifest, progress: Progress) -> ConvertedGraph:
    """The float backbone of a bundle in OpenVINO's format, from the cache or converted now.

    Args:
        folder: the bundle.
        manifest: names the backbone and its weights.
        progress: receives downloads and conversions.

    Raises:
        ModelError, NetworkError: see :func:`found_backbone`.
    """
    return cached_graph(_spec(manifest)) or convert(found_backbone(folder, manifest, progress), progress)
