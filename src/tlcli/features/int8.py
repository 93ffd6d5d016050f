"""Precision int8: finds or computes the quantised backbone, and refuses it if it is too far from the float one.

Shapes: N images of the sample, D features, L classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn, Protocol

import numpy as np

from tlcli.backbones.conversion import convert, graph_folder
from tlcli.backbones.quantization import (
    Calibration,
    QuantizedGraph,
    find_quantized,
    find_quantized_graph,
    quantize,
)
from tlcli.datasets.index import LabelledImage
from tlcli.engines.interface import choose_engine, int8_is_fast
from tlcli.errors import DataError, ModelError
from tlcli.features.agreement import Agreement, cosine_similarities, label_agreement
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.key import feature_key, preparation_digest
from tlcli.features.sample import decoded, shuffled, stratified
from tlcli.features.store import Store
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CALIBRATION_IMAGES = 1000


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


@dataclass(frozen=True)
class Int8Limits:
    """How many images are used, and how close int8 must be to float; see ``backbone.int8`` in docs/config.md."""

    calibration_images: int
    sample: int
    min_cosine: float
    min_label_agreement: float
    max_accuracy_drop: float


@dataclass(frozen=True)
class Sample:
    """Images whose features are known in both precisions."""

    images: tuple[LabelledImage, ...]
    cosine_mean: float
    cosine_least: float
    computed: int
    """int8 features that were computed for it; the extraction of all images reuses them."""


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
    store = Store(feature_key(spec, exact.decoder.preparation), spec.row.features, progress)
    return replace(exact, spec=spec, store=store, exact=exact)


def _quantized(
    exact: FeatureExtractor, images: Sequence[LabelledImage], wanted: int, progress: Progress,
    recorded: RecordedGraph | None,
) -> QuantizedGraph:  # fmt: skip
    spec, preparation = exact.spec, exact.decoder.preparation
    calibration = Calibration(graph_folder(spec).name, preparation_digest(preparation), wanted)
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


def check_features(
    images: Sequence[LabelledImage], extractor: FeatureExtractor, limits: Int8Limits, progress: Progress = SILENT
) -> Sample | None:
    """Compares int8 with float features on a sample, before all images are extracted.

    Args:
        images: of the validation split, or of training if that is empty.
        extractor: the int8 one.
        limits: size of the sample, and the least mean cosine similarity.
        progress: receives the images that are computed.

    Returns:
        None if the precision is not int8, or if no image is readable.

    Raises:
        ModelError: the features are too far apart.
    """
    if extractor.exact is None:
        return None
    chosen = shuffled(images, "agreement")[: limits.sample]
    done = extractor.extract([(chosen, extractor.views[:1])], progress)
    bad = done.bad | extractor.exact.extract([(chosen, extractor.views[:1])], progress).bad
    readable = tuple(image for image in chosen if image.sha256 not in bad)
    if not readable:
        return None
    cosine = cosine_similarities(extractor.features(readable), extractor.exact.features(readable))
    sample = Sample(readable, float(cosine.mean()), float(cosine.min()), done.computed)
    if sample.cosine_mean < limits.min_cosine:
        measured = f"the mean cosine similarity of the features is {sample.cosine_mean:.4f}"
        _refuse(measured, f"backbone.int8.min_cosine is {limits.min_cosine:g}", sample, extractor, limits)
    return sample


def check_labels(
    sample: Sample | None, labels: Sequence[str], extractor: FeatureExtractor,
    probabilities: "Callable[[NDArray[np.float32]], NDArray[np.float64]]", limits: Int8Limits,
) -> Agreement | None:  # fmt: skip
    """Compares the fitted head's predictions from int8 and from float features.

    Args:
        sample: from :func:`check_features`.
        labels: all class names.
        extractor: the int8 one.
        probabilities: the head, [N, D] -> [N, L].
        limits: the least agreement, and the largest drop in accuracy.

    Returns:
        None without a sample.

    Raises:
        ModelError: the predictions are too far apart.
    """
    if sample is None or extractor.exact is None:
        return None
    truth = np.array([labels.index(image.label) for image in sample.images], np.int64)
    of_int8, of_float = (probabilities(one.features(sample.images)) for one in (extractor, extractor.exact))
    equal, accuracy, float_accuracy = label_agreement(of_int8, of_float, truth)
    drop = float_accuracy - accuracy
    if equal < limits.min_label_agreement:
        measured = f"the head predicts the same class for {equal:.1%} of them"
        limit = f"backbone.int8.min_label_agreement is {limits.min_label_agreement:g}"
        _refuse(measured, limit, sample, extractor, limits)
    if drop > limits.max_accuracy_drop + 1e-9:
        measured = f"the accuracy drops by {drop:.4f}, from {float_accuracy:.4f} to {accuracy:.4f}"
        limit = f"backbone.int8.max_accuracy_drop is {limits.max_accuracy_drop:g}"
        _refuse(measured, limit, sample, extractor, limits)
    return Agreement(
        against=extractor.exact.spec.engine.precision,
        images=len(sample.images),
        cosine_mean=round(sample.cosine_mean, 6),
        cosine_least=round(sample.cosine_least, 6),
        label_agreement=equal,
        accuracy=accuracy,
        float_accuracy=float_accuracy,
    )


def _refuse(measured: str, limit: str, sample: Sample, extractor: FeatureExtractor, limits: Int8Limits) -> NoReturn:
    against = extractor.exact.spec.engine.precision if extractor.exact else "float"
    more = min(2 * limits.calibration_images, MAX_CALIBRATION_IMAGES)
    raise ModelError(
        "model.int8_too_coarse",
        f"int8 is too far from {against}: on {len(sample.images)} images {measured}, and {limit}.",
        f"Use --set backbone.precision=auto, try more calibration images (--set backbone.int8.calibration_images={more}"
        "), or change the limit.",
    )
