"""Precision int8: finds or makes the quantised backbone, and refuses it where it is too far from the float one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tlcli.backbones.conversion import export_folder, exported
from tlcli.backbones.quantization import Quantized, Source, find_quantized, find_quantized_graph, quantized
from tlcli.config.schema import Config
from tlcli.datasets.index import Index, LabelledImage
from tlcli.engines.interface import choose_engine, int8_is_fast
from tlcli.errors import DataError, ModelError
from tlcli.evaluation.agreement import Agreement, cosines, label_agreement
from tlcli.features.key import FeatureKey, preparation_digest
from tlcli.features.sample import decoded, drawn, spread
from tlcli.features.store import Store, row_key
from tlcli.heads.head import Head
from tlcli.model.manifest import QuantizedRecord
from tlcli.progress import SILENT, Progress
from tlcli.workflows.frozen_pass import FrozenPass, open_pass


def open_pass_for(
    index: Index, config: Config, progress: Progress = SILENT, recorded: QuantizedRecord | None = None
) -> FrozenPass:
    """The frozen pass of the config, whatever its precision.

    Args:
        index: the images; those of training calibrate a new quantised backbone.
        config: the whole config.
        progress: told of a quantisation.
        recorded: the quantised backbone of a run that exists; a new run takes any that fits.

    Raises:
        ModelError, NetworkError: weights, engine or NNCF are not to be had.
    """
    if config.backbone.precision == "int8":
        choose_engine(config.backbone.engine, "int8")
    exact = open_pass(config, progress)
    if config.backbone.precision != "int8":
        return exact
    made = _quantized(exact, index, config.backbone.int8.calibration_images, progress, recorded)
    if recorded and made.sha256 != recorded.graph_sha256:
        progress.note("The backbone was quantised anew, and is not bit for bit as it was: answers may differ slightly.")
    if not int8_is_fast():
        progress.note("This processor has no VNNI instructions: int8 may be no faster than float32, and is less exact.")
    choice = choose_engine("openvino", "int8")
    key = FeatureKey(exact.preparation, exact.row, exact.weights.sha256, exact.pooling, choice, made.sha256)
    store = Store(key.digest(), exact.row.features, progress)
    return replace(exact, engine=choice, quantized=made, exact=exact, store=store)


def _quantized(
    exact: FrozenPass, index: Index, wanted: int, progress: Progress, recorded: QuantizedRecord | None
) -> Quantized:  # fmt: skip
    row, size, pooling = exact.row, exact.preparation.size, exact.pooling
    base = export_folder(row, size, pooling, exact.weights.sha256).name
    source = Source(base, preparation_digest(exact.preparation), wanted)
    images = index.of("train")
    if recorded:
        of_record = set(recorded.calibration)
        images = [p for p in index.images if p.sha256 in of_record]
        if found := find_quantized_graph(row, recorded.graph_sha256):
            return found
    found = find_quantized(row, source, {p.sha256 for p in images})
    if found and (recorded is None or len(found.images) == len(recorded.calibration)):
        return found
    arrays = decoded(spread(images, "calibration"), wanted, exact.preparation)
    if not arrays:
        raise DataError("None of the training images can be read, and quantising needs some; see tlcli fetch.")
    return quantized(row, source, exported(row, size, pooling, exact.weights, progress), arrays, progress)


@dataclass(frozen=True)
class Sample:
    """Validation images (training ones where there are none) in both precisions."""

    images: tuple[LabelledImage, ...]
    cosine_mean: float
    cosine_least: float
    computed: int
    """int8 features computed for it, which the frozen pass then finds."""


def check_features(index: Index, frozen: FrozenPass, config: Config, progress: Progress = SILENT) -> Sample | None:
    """Compares features before the long pass; None where the precision is not int8, or no image can be read.

    Raises:
        ModelError: they are too far apart.
    """
    if frozen.exact is None:
        return None
    limits = config.backbone.int8
    chosen = drawn(index.of("validation") or index.of("train"), "agreement")[: limits.sample]
    done = frozen.run([(chosen, frozen.views[:1])], progress)
    bad = done.bad | frozen.exact.run([(chosen, frozen.views[:1])], progress).bad
    images = tuple(p for p in chosen if p.sha256 not in bad)
    if not images:
        return None
    near = cosines(_features(images, frozen), _features(images, frozen.exact))
    sample = Sample(images, float(near.mean()), float(near.min()), done.computed)
    if sample.cosine_mean < limits.min_cosine:
        _refuse(
            frozen, sample, f"the features have a mean cosine of {sample.cosine_mean:.4f}", "min_cosine",
            limits.min_cosine, "at least", config,
        )  # fmt: skip
    return sample


def check_labels(
    sample: Sample | None, index: Index, frozen: FrozenPass, head: Head, config: Config
) -> Agreement | None:  # fmt: skip
    """Compares what the fitted head makes of both features; what run.json says of it, None without a sample.

    Raises:
        ModelError: they are too far apart.
    """
    if sample is None or frozen.exact is None:
        return None
    limits = config.backbone.int8
    labels = np.array([index.labels.index(p.label) for p in sample.images], np.int64)
    of_int8 = head.probabilities(_features(sample.images, frozen))
    of_float = head.probabilities(_features(sample.images, frozen.exact))
    alike, accuracy, float_accuracy = label_agreement(of_int8, of_float, labels)
    drop = float_accuracy - accuracy
    if alike < limits.min_label_agreement:
        measured = f"the head names {alike:.1%} of them alike"
        _refuse(
            frozen, sample, measured, "min_label_agreement", limits.min_label_agreement, "at least", config
        )  # fmt: skip
    if drop > limits.max_accuracy_drop + 1e-9:
        measured = f"the accuracy is {accuracy:.4f} instead of {float_accuracy:.4f}, lower by {drop:.4f}"
        _refuse(frozen, sample, measured, "max_accuracy_drop", limits.max_accuracy_drop, "at most", config)
    return Agreement(
        against=frozen.exact.engine.precision,
        images=len(sample.images),
        cosine_mean=round(sample.cosine_mean, 6),
        cosine_least=round(sample.cosine_least, 6),
        label_agreement=alike,
        accuracy=accuracy,
        float_accuracy=float_accuracy,
    )


def _features(images: Sequence[LabelledImage], frozen: FrozenPass) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return frozen.store.read(row_key(p.sha256, frozen.views[0]) for p in images)


def _refuse(
    frozen: FrozenPass, sample: Sample, measured: str, key: str, limit: float, how: str, config: Config
) -> None:  # fmt: skip
    against = frozen.exact.engine.precision if frozen.exact else "float"
    more = 2 * config.backbone.int8.calibration_images
    raise ModelError(
        f"int8 is too far from {against} here: on {len(sample.images)} images {measured}, and backbone.int8.{key} "
        f"asks for {how} {limit:g}; use --set backbone.precision=auto, or try more calibration images (--set "
        f"backbone.int8.calibration_images={min(more, 1000)}), or change the limit."
    )
