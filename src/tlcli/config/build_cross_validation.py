"""From the config to the cross-validation of a head on its training and validation images.

Shapes: N images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.blocks import LAST, Blocks
from tlcli.config.build_head import class_weight_of, fit_regression, threshold_objective
from tlcli.config.schema import Config
from tlcli.config.schema import CrossValidation as CrossValidationSection
from tlcli.datasets.index import Index, LabelledImage
from tlcli.errors import DataError
from tlcli.evaluation.cross_validation import CrossValidation, LayerGain, layer_gain, summarize
from tlcli.evaluation.duplicate_pairs import joined_units, near_duplicate_pairs
from tlcli.evaluation.split_metrics import measure
from tlcli.evaluation.thresholds import cross_validated_thresholds
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.heads.fit_record import WITH_FOLDS, Fit
from tlcli.heads.folds import sampled
from tlcli.heads.task import Task
from tlcli.progress import SILENT, Progress
from tlcli.runs.cross_validation import OutOfFold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.heads.class_weight import ClassWeight
    from tlcli.heads.repeated_cross_validation import CrossValidated

_FEW_CLASSES = 20
"""Classes up to which thresholds are chosen for every size of the learning curve: 75 times, 20 ms each."""


@dataclass(frozen=True)
class CrossValidatedImages:
    """What cross-validation found: the figures, and the predictions of the images."""

    summary: CrossValidation
    out_of_fold: OutOfFold
    images: tuple[LabelledImage, ...]
    """Those predicted, in the order of the predictions."""


@dataclass(frozen=True)
class ValidationDuplicates:
    """Validation images with an exact or near duplicate among the training images: the head has nearly seen them."""

    found: int
    images: int
    """Validation images that were searched."""


@dataclass(frozen=True)
class Divided:
    """Training and validation images as cross-validation divides them: near duplicates in one fold."""

    images: Sequence[LabelledImage]
    """The training images first, then those of validation, then those that are set aside [N]."""
    rows: Rows
    """Their plain features, with the labels that the data gives: whether a label was doubted depends on heads that saw
    the labels of all folds, so that to fit folds on decisions would flatter (bench/doubted_labels.py)."""
    sample: "NDArray[np.int64]"
    """Numbers of the images that are divided: all, or a sample where there are very many."""
    near_duplicates: int
    """Pairs among the sample."""
    validation: "ValidationDuplicates"
    """Validation images that training images nearly repeat."""

    def with_units(self, views: Rows, images: int) -> Rows:
        """Training rows, plain and in all augmented views, in these units; ``images``: how many training images."""
        return replace(views, units=np.tile(self.rows.units[:images], len(views) // images))


def divide(config: Config, index: Index, extractor: FeatureExtractor, progress: Progress = SILENT) -> Divided | None:
    """Finds the near duplicates that folds must not separate, where the config has any folds.

    Args:
        config: the config.
        index: the images.
        extractor: has the features of training and validation images, and of those set aside.
        progress: receives the stages.

    Raises:
        ResourceError: the disk is full.
    """
    section = config.evaluate.cross_validation
    if section is None and config.head.fit == "minibatch":
        return None
    return divide_by(config, index, extractor, (section or config.head).folds, progress)


def divide_by(
    config: Config, index: Index, extractor: FeatureExtractor, folds: int, progress: Progress = SILENT
) -> Divided:  # fmt: skip
    """As :func:`divide`, for so many folds, whatever the config has."""
    set_aside = [image for image in index.set_aside if image.split != "test"]
    images = [*index.of("train"), *index.of("validation"), *set_aside]
    rows = extractor.rows([replace(image, label=image.given) for image in images], index.labels)
    sample = sampled(rows, folds, config.train.seed)
    chosen = [images[number] for number in sample]
    near = extractor.rows(chosen, index.labels, blocks=extractor.last)
    pairs = near_duplicate_pairs(chosen, near, extractor.decoder.preparation, extractor.store.key, progress)
    units, validation = joined_units(rows.units, images, pairs), _validation_duplicates(chosen, pairs)
    if pairs and _fewest_units(rows.labels, units) < 2 <= _fewest_units(rows.labels, rows.units):
        progress.note(
            "Near duplicates are not kept in one fold: all images of a class are near duplicates of one another."
        )
        return Divided(images, rows, sample, 0, validation)
    return Divided(images, replace(rows, units=units), sample, len(pairs), validation)


def _validation_duplicates(images: Sequence[LabelledImage], pairs: Sequence[tuple[str, str]]) -> ValidationDuplicates:
    trained, validation = (
        {image.sha256 for image in images if image.split == split and not image.is_set_aside}
        for split in ("train", "validation")
    )
    near = {one for pair in pairs for one, other in (pair, pair[::-1]) if other in trained}
    return ValidationDuplicates(len(validation & (trained | near)), len(validation))


def _fewest_units(labels: "NDArray[np.int64]", units: "NDArray[np.int64]") -> int:
    """Units of the class that has the fewest."""
    return min(len(np.unique(units[labels == label])) for label in np.unique(labels))


def cross_validate_head(
    config: Config, divided: Divided, fit: Fit, labels: Sequence[str], blocks: Blocks, progress: Progress = SILENT
) -> CrossValidatedImages | None:
    """Repeated cross-validation of logistic regression, as the config's evaluate.cross_validation says.

    Args:
        config: the config.
        divided: the images.
        fit: the fitted head, whose C and temperature are used. Repeated mini-batch training would take minutes: for
            such a head logistic regression stands, with a C of its own.
        labels: all classes.
        blocks: of the features that the head takes.
        progress: receives the stage, and a note where the images cannot be divided.

    Returns:
        None where the config asks for none, or the images cannot be divided.
    """
    from tlcli.heads.calibration import with_temperature  # noqa: PLC0415 - SciPy

    weight, objective = class_weight_of(config, labels), threshold_objective(config, labels)
    if (found := _cross_validated(config, divided, fit, weight, len(labels), progress)) is None:
        return None
    layers = _layer_gain(config, divided, fit, found, blocks, weight, progress)
    known, temperature = np.isfinite(found.probabilities).all(axis=1), fit.head.temperature
    numbers = divided.sample[known]
    probabilities = with_temperature(found.probabilities[known], temperature)
    predicted, gain = np.asarray(probabilities.argmax(axis=1)), None
    if objective is not None:
        with progress.stage("Choosing thresholds"):
            calibrated = with_temperature(found.probabilities, temperature)
            nested = cross_validated_thresholds(
                found, divided.rows.labels[divided.sample], calibrated, temperature, objective
            )
        predicted, gain = nested.predicted[known], nested.gain
        found = replace(found, accuracies=nested.accuracies)
    truth, images = divided.rows.labels[numbers], tuple(divided.images[number] for number in numbers)
    metrics = measure(truth, probabilities, Task(tuple(labels)), divided.rows.units[numbers], predicted)
    summary = summarize(found, metrics, divided.near_duplicates, fit.kind in WITH_FOLDS)
    summary = replace(summary, layers=layers, thresholds=gain)
    if any(image.is_set_aside or image.is_relabelled for image in images):
        pairs = zip(images, predicted.tolist(), strict=True)
        right = [labels[predicted] == image.label for image, predicted in pairs if not image.is_set_aside]
        summary = replace(summary, filtered_accuracy=float(np.mean(right)))
    digests = tuple(one.sha256 for one in images)
    return CrossValidatedImages(summary, OutOfFold(digests, truth, probabilities, predicted), images)


def _cross_validated(
    config: Config, divided: Divided, fit: Fit, weight: "ClassWeight", classes: int, progress: Progress
) -> "CrossValidated | None":
    from tlcli.heads.reduced import reduced  # noqa: PLC0415 - SciPy

    head, rows, C = config.head, divided.rows.part(divided.sample), fit.best.C
    if config.evaluate.cross_validation is None:
        return None
    standardize = head.standardize
    if fit.head.expansion is not None:  # its landmarks have no labels: nothing of a fold's truth is known to it
        rows, standardize = fit.head.expansion.rows(rows), False
    elif fit.candidates:
        rows = rows.of_blocks(fit.candidates[0].blocks)
    if not standardize:
        rows = reduced(rows, standardize=False)
    try:
        if C is None:
            C = fit_regression(config, rows, weight).best.C or 1.0
        # Thresholds for every size of the learning curve would take minutes with many classes.
        has_curve = config.head.thresholds == "none" or classes <= _FEW_CLASSES
        found = _repeated(config, rows, C, standardize, weight, None if has_curve else (1.0,), progress)
        found = found if has_curve else replace(found, reduced_sizes=True)
    except DataError as error:
        progress.note(f"Cross-validation is skipped: {error.message}")
        return None
    if found.repeats < found.repeats_requested or found.reduced_sizes:
        sizes = ", and no learning curve" if found.reduced_sizes else ""
        progress.note(
            f"Cross-validation with {found.repeats} of {found.repeats_requested} repeats{sizes}: with so many "
            "classes and images more would take long."
        )
    return found


def _layer_gain(
    config: Config, divided: Divided, fit: Fit, found: "CrossValidated", blocks: Blocks, weight: "ClassWeight",
    progress: Progress,
) -> LayerGain | None:  # fmt: skip
    """What the head's layers bring over the last alone; None where the fit did not choose them."""
    last = [one for one in fit.candidates if {blocks.all[number].layer for number in one.blocks} == {LAST}]
    if len(fit.candidates) < 2 or not last:
        return None
    used, (alone,) = fit.candidates[0], last
    layers = tuple(dict.fromkeys(blocks.all[number].layer for number in used.blocks))
    poolings = tuple(blocks.all[number].pooling for number in alone.blocks)
    if used == alone:
        return LayerGain(layers, 0.0, (0.0, 0.0), poolings)
    rows = divided.rows.part(divided.sample).of_blocks(alone.blocks)
    compared = _repeated(config, rows, alone.C, config.head.standardize, weight, (1.0,), progress)
    return layer_gain(layers, found, compared, poolings)


def _repeated(
    config: Config, rows: Rows, C: float, standardize: bool, weight: "ClassWeight", shares: Sequence[float] | None,
    progress: Progress,
) -> "CrossValidated":  # fmt: skip
    from tlcli.heads.repeated_cross_validation import SHARES, cross_validate  # noqa: PLC0415 - SciPy

    section = config.evaluate.cross_validation or CrossValidationSection()
    return cross_validate(
        rows, C, section.folds, section.repeats, standardize, weight, config.train.seed,
        shares or SHARES, progress, keep_folds=config.head.thresholds != "none",
    )  # fmt: skip
