"""Precision int8: finds or computes the quantised backbone. :mod:`tlcli.features.int8_agreement` checks it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from tlcli.backbones.conversion import convert, graph_folder
from tlcli.backbones.graph import QuantizationInputs, QuantizedGraph
from tlcli.backbones.quantization import find_quantized, find_quantized_graph, quantize
from tlcli.datasets.index import LabelledImage
from tlcli.engines.choice import choose_engine, int8_is_fast
from tlcli.errors import DataError
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.key import feature_key, preparation_digest
from tlcli.features.sample import decoded, stratified
from tlcli.features.store import Store
from tlcli.progress import SILENT, Progress


class RecordedGraph(Protocol):
    """The quantised backbone of an existing run (:class:`tlcli.model.manifest.QuantizedRecord`)."""

    @property
    def graph_sha256(self) -> str:
        """Digest of the graph."""
        ...

    @property
    def calibration(self) -> Sequence[str]:
        """sha256 of the calibration images."""
        ...


def int8_extractor(
    exact: FeatureExtractor, images: Sequence[LabelledImage], calibration_images: int, progress: Progress = SILENT,
    recorded: RecordedGraph | None = None,
) -> FeatureExtractor:  # fmt: skip
    """The extractor with the quantised backbone, which is found in the cache or computed now.

    Args:
        exact: the float extractor.
        images: training images, which calibrate a new quantised backbone; all images if one is recorded.
        calibration_images: how many are used.
        progress: receives the quantisation.
        recorded: the quantised backbone of an existing run; a new run takes any that fits.

    Raises:
        DataError: no image is readable.
        ModelError: NNCF is not installed, or failed.
    """
    graph = _quantized(exact, images, calibration_images, progress, recorded)
    if recorded and graph.sha256 != recorded.graph_sha256:
        progress.note("The backbone was quantised again and differs from the run's: predictions may differ slightly.")
    if not int8_is_fast():
        progress.note("This processor has no VNNI instructions: int8 may be no faster than float32, and is less exact.")
    spec = replace(exact.spec, engine=choose_engine("openvino", "int8"), quantized=graph)
    store = Store(feature_key(spec, exact.decoder.preparation), spec.row.blocks, progress)
    return replace(exact, spec=spec, store=store, exact=exact)


def _quantized(
    exact: FeatureExtractor, images: Sequence[LabelledImage], wanted: int, progress: Progress,
    recorded: RecordedGraph | None,
) -> QuantizedGraph:  # fmt: skip
    spec, preparation = exact.spec, exact.decoder.preparation
    calibration = QuantizationInputs(graph_folder(spec).name, preparation_digest(preparation), wanted)
    if recorded:
        images = [image for image in images if image.sha256 in set(recorded.calibration)]
        if found := find_quantized_graph(spec.row, recorded.graph_sha256):
            return found
    found = find_quantized(spec.row, calibration, {image.sha256 for image in images})
    if found and (recorded is None or len(found.images) == len(recorded.calibration)):
        return found
    arrays = decoded(stratified(images, "calibration"), wanted, preparation)
    if not arrays:
        raise DataError(
            "data.no_calibration_images", "Quantisation needs readable training images, and there are none.",
            "Check dataset.path, or set backbone.precision=auto.",
        )  # fmt: skip
    return quantize(spec.row, calibration, convert(spec, progress), arrays, progress)
