"""Predict: name the class of pictures with a run's bundle. No TensorFlow, no scikit-learn, no store: it starts fast."""

import glob
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.backbones.export_ir import Exported, cached_export, export_folder, exported
from tlcli.backbones.quantize import find_quantized_graph
from tlcli.backbones.weights import find_weights
from tlcli.bundle import Bundle, load_bundle
from tlcli.data.decode import BadPictureError, picture, read
from tlcli.data.layout import pictures_below
from tlcli.disk import cache_folder
from tlcli.features.ahead import ahead
from tlcli.features.engines import Engine, Precision
from tlcli.features.engines.compiled import Compiled
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """The answer for one picture, or why there is none."""

    path: str
    label: str | None
    probability: float | None
    top: tuple[tuple[str, float], ...]
    """Labels and probabilities, the likeliest first."""
    probabilities: tuple[float, ...]
    """One a label, in the bundle's order; empty where there is an error."""
    error: str | None


@dataclass(frozen=True)
class Predicted:
    """All answers, in the order asked."""

    predictions: tuple[Prediction, ...]
    labels: tuple[str, ...]


def predict(run: Path, inputs: Sequence[str], top_k: int, progress: Progress = SILENT) -> Predicted:
    """Predicts every picture named, in every folder named (with its sub-folders) and matched by every pattern.

    Raises:
        ModelError: the bundle is broken, or its backbone is not to be had.
    """
    bundle = load_bundle(run / "model")
    paths = list(_paths(inputs))
    predictions = tuple(_predictions(bundle, paths, min(top_k, len(bundle.manifest.labels)), progress))
    return Predicted(predictions, bundle.manifest.labels)


def _paths(inputs: Sequence[str]) -> Iterator[str]:
    """Files as they were written; what is not there is kept, to get a row of its own."""
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            found = [str(file) for file in pictures_below(path)]
        elif not path.exists() and glob.has_magic(given):
            found = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - the pattern may be absolute
        else:
            found = [given]
        yield from found or [given]


def _predictions(bundle: Bundle, paths: Sequence[str], top_k: int, progress: Progress) -> Iterator[Prediction]:
    """Answers in order: a broken picture is answered when its turn comes, the others pass through the engine."""
    errors: dict[int, str] = {}

    def pixels() -> "Iterator[NDArray[np.uint8]]":
        for number, (_, future) in enumerate(
            ahead(lambda path: picture(read(Path(path), bundle.preparation), bundle.preparation), paths)
        ):
            try:
                yield future.result()
            except BadPictureError as error:
                errors[number] = str(error)

    with progress.stage("Predicting", len(paths), "pictures"):
        features = _engine(bundle, len(paths) <= _FEW, progress).features(pixels())
        number = 0
        for feature in features:
            while number in errors:
                yield _failed(paths[number], errors[number])
                progress.advance()
                number += 1
            yield _answer(bundle, paths[number], feature, top_k)
            progress.advance()
            number += 1
        for rest in range(number, len(paths)):
            yield _failed(paths[rest], errors[rest])
            progress.advance()


def _failed(path: str, reason: str) -> Prediction:
    return Prediction(path, None, None, (), (), reason)


def _answer(bundle: Bundle, path: str, feature: "NDArray[np.float32]", top_k: int) -> Prediction:
    probabilities = tuple(float(p) for p in bundle.head.probabilities(feature[None])[0])
    ranked = sorted(zip(bundle.manifest.labels, probabilities, strict=True), key=lambda pair: -pair[1])
    return Prediction(path, *ranked[0], tuple(ranked[:top_k]), probabilities, None)


def _engine(bundle: Bundle, few: bool, progress: Progress) -> Engine:
    """OpenVINO whichever engine trained: their features agree (cosine above 0.999), and it starts 15 times faster."""
    with ThreadPoolExecutor(1) as beside:
        # Reading and checking 70 MB takes as long as importing OpenVINO, and there is a core for it.
        ready = beside.submit(_ready, bundle, few)
        from tlcli.features.engines.openvino import OpenVINOEngine, has_bf16  # noqa: PLC0415 - the heavy part
    compiled = ready.result()
    precision: Precision = bundle.manifest.backbone.precision
    if precision == "int8":
        if compiled is not None:
            return OpenVINOEngine(compiled)
        precision = "bf16" if has_bf16() else "f32"
        progress.note(
            f"The quantised backbone of this run is not in the cache of this machine: {precision} is used, answers may "
            "differ slightly; evaluate makes it again where the training pictures are."
        )
    elif precision == "bf16" and not has_bf16():
        progress.note("This processor has no bfloat16 arithmetic: float32 is used, answers may differ slightly.")
        precision = "f32"
    if compiled is None or compiled.precision != precision:
        compiled = Compiled(_converted(bundle, progress), precision, few)
    return OpenVINOEngine(compiled)


_FEW = 8
"""Pictures for which it is worth a graph of their own, which is loaded a tenth of a second sooner."""


def _ready(bundle: Bundle, few: bool) -> Compiled | None:
    """The compiled graph, or one that can be compiled, if the cache has it whole."""
    record, size = bundle.manifest.backbone, bundle.preparation.size
    if record.quantized:
        found = find_quantized_graph(bundle.backbone, record.quantized.graph_sha256)
        return Compiled(found.graph, "f32", few) if found else None
    folder = export_folder(bundle.backbone, size, record.pooling, record.weights_sha256)
    # A cache that cannot be written (an image of a container) has what train left there.
    ways = [few] if os.access(cache_folder(), os.W_OK) else [few, False]
    for way in ways:
        compiled = Compiled(Exported(folder), record.precision, way)
        if compiled.graph.xml.is_file() and compiled.is_as_written:
            return compiled
    found_graph = cached_export(bundle.backbone, size, record.pooling, record.weights_sha256)
    return Compiled(found_graph, record.precision, few) if found_graph else None


def _converted(bundle: Bundle, progress: Progress) -> Exported:
    record, size = bundle.manifest.backbone, bundle.preparation.size
    if found := cached_export(bundle.backbone, size, record.pooling, record.weights_sha256):
        return found
    weights = find_weights(bundle.backbone, record.weights, progress)
    bundle.check_weights(weights)
    return exported(bundle.backbone, size, record.pooling, weights, progress)
