"""Predict: name the class of images with a run's bundle. No TensorFlow, no scikit-learn, no store: it starts fast.

Importing this takes neither NumPy, Pillow nor OpenVINO: a second core checks the network's graph while they are
imported.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.conversion import ConvertedGraph, cached_graph, graph_folder
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.backbones.weights import Weights
from tlcli.datasets.layout import images_below
from tlcli.engines.compiled import CompiledGraph
from tlcli.model.manifest import Manifest, read_manifest
from tlcli.progress import SILENT, Progress
from tlcli.runs import folders as runs
from tlcli.system.files import cache_folder

if TYPE_CHECKING:
    from tlcli.engines.interface import Engine
    from tlcli.model.bundle import Bundle
    from tlcli.workflows.answer import Prediction
    from tlcli.workflows.explain import Explanation

_FEW = 8
"""Images for which it is worth a graph of their own, which is loaded a tenth of a second sooner."""


@dataclass(frozen=True)
class Predicted:
    """All answers, in the order asked."""

    predictions: "tuple[Prediction, ...]"
    labels: tuple[str, ...]
    explanations: "tuple[Explanation, ...]" = ()
    """One for each prediction, where they were asked for."""


def predict(
    run: Path,
    inputs: Sequence[str],
    top_k: int,
    min_confidence: float = 0.0,
    explain: Path | None = None,
    progress: Progress = SILENT,
) -> Predicted:
    """Predicts every image named, in every folder named (with its sub-folders) and matched by every pattern.

    Args:
        run: the run's folder.
        inputs: files, folders, patterns.
        top_k: how many of the likeliest classes are named.
        min_confidence: below this probability the answer is "unsure".
        explain: a folder for cards that show why each image was answered as it was.
        progress: told of every image.

    Raises:
        ModelError: the bundle is broken, or its backbone is not to be had.
    """
    folder = run / "model"
    manifest, paths = read_manifest(folder / "manifest.json"), list(_paths(inputs))
    few = len(paths) <= _FEW
    with ThreadPoolExecutor(1) as beside, progress.stage("Predicting", len(paths), "images"):
        # Checking 70 MB takes as long as importing NumPy and OpenVINO, and there is a core for it; likewise loading the
        # network, and importing what reads images and the head.
        checked = beside.submit(_ready, manifest, few)
        from tlcli.workflows.bundled_engine import at_hand, loaded, opened  # noqa: PLC0415

        ready = checked.result()
        # What takes longer waits until the bundle is known to be whole.
        loading = beside.submit(loaded, manifest, ready, few, progress) if at_hand(manifest, ready) else None
        from tlcli.model.bundle import load_bundle  # noqa: PLC0415
        from tlcli.workflows.answer import answers  # noqa: PLC0415

        bundle = load_bundle(folder)
        engine = opened(manifest, loading.result() if loading else loaded(manifest, ready, few, progress))
        known = len(bundle.manifest.labels)
        found = tuple(answers(bundle, engine, paths, min(top_k, known), min_confidence, progress))
    explained = _explained(run, bundle, engine, found, explain, progress) if explain else ()
    return Predicted(found, bundle.manifest.labels, explained)


def _explained(
    run: Path, bundle: "Bundle", engine: "Engine", found: "Sequence[Prediction]", folder: Path, progress: Progress
) -> "tuple[Explanation, ...]":
    from tlcli.workflows.explain import explain  # noqa: PLC0415 - not for those who ask for no explanation

    root = runs.read_json(run / "run.json").get("data_root")
    return tuple(explain(bundle, engine, found, folder, Path(root) if isinstance(root, str) else None, progress))


def _paths(inputs: Sequence[str]) -> Iterator[str]:
    """Files as they were written; what is not there is kept, to get a row of its own."""
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            found = [str(file) for file in images_below(path)]
        elif not path.exists() and glob.has_magic(given):
            found = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - the pattern may be absolute
        else:
            found = [given]
        yield from found or [given]


def _ready(manifest: Manifest, few: bool) -> CompiledGraph | None:
    """The compiled graph, or one that can be compiled, if the cache has it whole."""
    row, record, size = CATALOG.get(manifest.backbone.name), manifest.backbone, manifest.preparation.size
    if row is None:  # which loading the bundle tells of
        return None
    if record.quantized:
        from tlcli.backbones.quantization import find_quantized_graph  # noqa: PLC0415 - NumPy

        found = find_quantized_graph(row, record.quantized.graph_sha256)
        return CompiledGraph(found.graph, "f32", few) if found else None
    weights = Weights(None, record.weights_sha256)
    spec = BackboneSpec(row, size, record.pooling, weights, EngineChoice("openvino", record.precision, ""))
    folder = graph_folder(spec)
    # A cache that cannot be written (an image of a container) has what train left there.
    ways = [few] if os.access(cache_folder(), os.W_OK) else [few, False]
    for way in ways:
        compiled = CompiledGraph(ConvertedGraph(folder), record.precision, way)
        if compiled.is_cached and compiled.graph.xml.is_file():
            return compiled
    found_graph = cached_graph(spec)
    return CompiledGraph(found_graph, record.precision, few) if found_graph else None
