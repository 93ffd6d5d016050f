"""Whether int8 is close enough to the float precision: features and predictions are compared, and too large a
difference is refused.

Shapes: N images of the sample, D features, L classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from tlcli.datasets.index import LabelledImage
from tlcli.errors import ModelError
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.int8_record import Agreement
from tlcli.features.sample import shuffled
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CALIBRATION_IMAGES = 1000


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
    cosine = cosine_similarities(
        extractor.features(readable, extractor.last), extractor.exact.features(readable, extractor.last)
    )
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
    of_int8, of_float = (probabilities(one.features(sample.images)).argmax(1) for one in (extractor, extractor.exact))
    equal = float(np.mean(of_int8 == of_float))
    accuracy, float_accuracy = float(np.mean(of_int8 == truth)), float(np.mean(of_float == truth))
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


def cosine_similarities(quantized: "NDArray[np.float32]", exact: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Cosine similarity of each image's two features: two [N, D] -> [N]; 0 if a feature is all zeros."""
    a, b = quantized.astype(np.float64), exact.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0))
