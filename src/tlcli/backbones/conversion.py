"""Converts a backbone to OpenVINO's format once, and caches it under a digest of everything it depends on."""

import hashlib
import json
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from tlcli.backbones import keras_process
from tlcli.backbones.graph import GRAPH_FILES, ConvertedGraph
from tlcli.backbones.own_network import write_own
from tlcli.backbones.spec import BackboneSpec
from tlcli.errors import ModelError, ResourceError
from tlcli.progress import SILENT, Progress
from tlcli.system.cache.fallback import actual_path
from tlcli.system.cache.folders import is_whole, kept
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.files import cache_folder

CONVERSION_VERSION = 5
"""Part of the digest: increase it when the files that a conversion writes change."""


def convert(spec: BackboneSpec, progress: Progress = SILENT) -> ConvertedGraph:
    """The converted backbone, from the cache or converted now (2 to 20 s).

    Raises:
        ModelError: the weights do not fit the network, or the conversion failed.
        ResourceError: the weights file disappeared, or the disk is full.
    """
    if found := cached_graph(spec):
        return found
    row, weights = spec.row, spec.weights.file
    request = _request(spec)

    def write(staging: Path) -> None:
        try:
            if row.own:
                write_own(row, row.own, spec.size, weights, staging)
            else:
                keras_process.run_job({**request, "out": str(staging)}, row.name)
        except ModelError as error:
            if weights.is_file():
                raise
            raise ResourceError(
                "resource.file_disappeared", f"{weights} disappeared during the conversion.", "Run the command again."
            ) from error

    with progress.stage(f"Converting {row.name} for OpenVINO (once)"):
        return ConvertedGraph(kept(graph_folder(spec), write, GRAPH_FILES, progress))


def convert_trunk(spec: BackboneSpec, blocks: int, progress: Progress = SILENT) -> ConvertedGraph:
    """The backbone without its last blocks: uint8 [1, H, W, 3] -> the feature map before them, float32 [1, h, w, C],
    and the blocks of features that are computed before it, by their names.

    Args:
        spec: the backbone.
        blocks: how many are left out.
        progress: receives the stage.

    Raises:
        ModelError: the network cannot be cut there, the weights do not fit it, or the conversion failed.
        ResourceError: the disk is full.
    """
    whole = graph_folder(spec)
    folder = whole.with_name(f"{whole.name}-without-{blocks}")
    found = actual_path(folder)
    mark_in_use(folder)
    if is_whole(found, GRAPH_FILES):
        return ConvertedGraph(found)

    def write(staging: Path) -> None:
        keras_process.run_job({**_request(spec), "blocks": blocks, "out": str(staging)}, spec.row.name)

    with progress.stage(f"Converting {spec.row.name} without its last blocks for OpenVINO (once)"):
        return ConvertedGraph(kept(folder, write, GRAPH_FILES, progress))


def _request(spec: BackboneSpec) -> dict[str, object]:
    weights = spec.weights
    return {
        "job": "convert", "name": spec.row.name, "layout": weights.layout, "size": spec.size,
        "weights": str(weights.file), "tail": str(weights.tail.path) if weights.tail else None,
    }  # fmt: skip


def cached_graph(spec: BackboneSpec) -> ConvertedGraph | None:
    """The converted backbone if it is intact in the cache; the weights file is not needed for it."""
    folder = actual_path(graph_folder(spec))
    mark_in_use(folder)
    return ConvertedGraph(folder) if is_whole(folder, GRAPH_FILES) else None


def conversion_versions() -> dict[str, str]:
    """Versions of everything that builds and writes the graph; another version may write another graph."""
    return {"conversion": str(CONVERSION_VERSION), **{name: metadata.version(name) for name in ("keras", "openvino")}}


def graph_folder(spec: BackboneSpec) -> Path:
    """The folder of the converted backbone in the cache, named by everything that the graph depends on."""
    row = spec.row
    network = [*row.identity, asdict(row.scaling), asdict(row.stages), spec.size, spec.weights.sha256]
    digest = hashlib.sha256(json.dumps([conversion_versions(), *network]).encode()).hexdigest()
    return cache_folder() / "backbones" / f"{row.name}-{digest[:16]}"
