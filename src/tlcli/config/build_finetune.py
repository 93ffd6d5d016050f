"""From the config's finetune section to a fine-tuned backbone with its head, and the evidence that it is better.

Shapes: N images, L classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.conversion import convert_trunk
from tlcli.config.build_head import fit_regression
from tlcli.config.schema import Config
from tlcli.datasets.index import Index, LabelledImage
from tlcli.errors import DataError, UsageError
from tlcli.evaluation.finetuning_proof import Compared, Proof, prove
from tlcli.features.activations import Activations, row_keys
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.key import feature_key
from tlcli.features.pipeline import Wanted
from tlcli.features.rows import Rows
from tlcli.features.store import Store
from tlcli.finetuning.checkpoints import has_diverged, held_out_losses
from tlcli.finetuning.recipe import Recipe
from tlcli.finetuning.request import Epoch, ImageFiles, StoredMaps
from tlcli.finetuning.tail import FineTuned, TrainingRows, fine_tune
from tlcli.heads.class_weight import ClassWeight, weights_of
from tlcli.heads.fit_record import Fit, HeldOut, Step
from tlcli.heads.head import Head
from tlcli.heads.standardize import Standardizer
from tlcli.images.augmentation import PLAIN, Augmentation, view_names
from tlcli.images.shifts import SHIFTS, shift_name
from tlcli.progress import SILENT, Progress
from tlcli.runs.records import RunFinetuning
from tlcli.system.cache.fallback import need_cache
from tlcli.system.extras import require
from tlcli.system.files import format_size, need_room
from tlcli.system.remote.path import RemotePath

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_VALIDATION = 50
"""Validation images: with fewer, only a difference of 12 points and more could be proved."""
_HELD_OUT = 5
"""One of so many parts of the training images is held out while the learning rate is chosen."""
_DEFAULT = Augmentation(flip="horizontal", zoom=0.1, shift=0.1)
"""Where the config has no changes."""
_STRONGER = Augmentation(flip="horizontal", crop=0.4, brightness=0.1, contrast=0.1, saturation=0.1)
"""The same for a whole network, which sees another view in every epoch."""


@dataclass(frozen=True)
class FineTunedHead:
    """A fine-tuned backbone with its head, and what they brought."""

    extractor: FeatureExtractor
    """Of the fine-tuned backbone; has the features of the validation images."""
    fit: Fit
    """Calibrated."""
    tail: Path
    """The file of the trained weights."""
    record: RunFinetuning


def check_finetune(config: Config, index: Index) -> None:
    """Refuses what cannot be fine-tuned, before any features are computed.

    Raises:
        DataError: there are too few validation images to prove anything.
        ResourceError: the cache, which checkpoints are kept in, cannot be written.
        UsageError: images have tiles, the backbone is an own file or quantised, or has no such blocks; the whole
            network would be trained on images that are not on this machine; TensorFlow is not installed.
    """
    if config.head.fit != "finetune":
        return
    require("train", "Fine-tuning", ("tensorflow",))
    row = config.backbone.row
    refused = {
        "backbone.path is an own network": row is None,
        "image.tiles is set": config.image.tiles is not None,
        "backbone.precision is int8": config.backbone.precision == "int8",
        f"{config.backbone.name} can only be fine-tuned as a whole, with finetune.blocks: all": (
            row is not None and not row.stages.cuts and config.finetune.blocks != "all"
        ),
        "finetune.blocks: all reads the images in each epoch, and they are not on this machine": (
            config.finetune.blocks == "all" and any(isinstance(image.path, RemotePath) for image in index.of("train"))
        ),
    }
    if why := next((why for why, holds in refused.items() if holds), None):
        raise UsageError(
            "config.finetune_unsupported", f"Fine-tuning is not possible: {why}.",
            "Change that, or set head.fit: logistic_regression.",
        )  # fmt: skip
    _check_enough(len(index.of("validation")))
    need_cache("Fine-tuning")


def _check_enough(images: int, repeated: int = 0) -> None:
    """Refuses so few validation images that nothing could be proved with them; ``repeated``: those of them that have a
    near duplicate in training, which prove nothing."""
    if images - repeated < MIN_VALIDATION:
        near = f", of which {repeated:,} have a near duplicate among the training images" if repeated else ""
        raise DataError(
            "data.too_few_to_prove",
            f"Validation images: {images:,}{near}. To tell whether fine-tuning is better, {MIN_VALIDATION}"
            f"{' others' if repeated else ''} are needed.",
            "Keep near duplicates in one split (dataset.split.group_by), add images, or set head.fit: "
            "logistic_regression." if repeated else
            "Raise dataset.split.validation, add images, or set head.fit: logistic_regression.",
        )  # fmt: skip


def check_cut(config: Config, extractor: FeatureExtractor, progress: Progress = SILENT) -> None:
    """Cuts the backbone where fine-tuning will need it, so that a network that cannot be cut there is refused before
    any features are computed.

    Raises:
        ModelError: it cannot.
    """
    if config.head.fit == "finetune" and config.finetune.blocks != "all":
        convert_trunk(extractor.spec, config.finetune.blocks, progress)


def fine_tune_head(
    config: Config, index: Index, frozen: FeatureExtractor, fit: Fit, units: Rows, class_weight: ClassWeight,
    progress: Progress = SILENT, accepts_cost: bool = False, validation_units: "NDArray[np.int64] | None" = None,
) -> FineTunedHead:  # fmt: skip
    """Trains the last blocks of the backbone, or all, together with the head, and compares both with the frozen ones.

    Args:
        config: the config.
        index: the images.
        frozen: has the features of the training and validation images.
        fit: the frozen head: logistic regression, calibrated.
        units: plain rows of the training images, in the units that folds keep together.
        class_weight: of head.class_weight.
        progress: receives the stages.
        accepts_cost: train on a CPU, too, what takes long there; else the error says how long.
        validation_units: of the validation images, numbered as those of ``units``: images in a unit of training images
            prove nothing.

    Raises:
        DataError: an image changed, or there are too few validation images that training does not repeat.
        ModelError: the network cannot be cut there, or the training process failed.
        ResourceError: the disk is full.
        UsageError: training diverged, or the cost is not accepted.
    """
    from tlcli.heads.calibration import calibrated  # noqa: PLC0415 - SciPy

    images, section = index.of("train"), config.finetune
    validation, labels = index.of("validation"), index.labels
    proof_units = frozen.rows(validation, labels).units if validation_units is None else validation_units
    is_new = np.ones(len(validation), np.bool_)
    if validation_units is not None:
        is_new = ~np.isin(validation_units, units.units)
        _check_enough(len(validation), int((~is_new).sum()))
    if default := _default_changes(config):
        progress.note(
            f"Training images are augmented ({default}), since augment sets no changes; set one to choose your own."
        )
    tuned, held = train_blocks(config, images, frozen, fit, units, class_weight, progress, accepts_cost=accepts_cost)
    for one in filter(has_diverged, tuned.epochs):
        progress.note(
            f"The learning rate {one.learning_rate:g} was given up: its loss was not a number in epoch {one.epoch}."
        )
    is_trained = tuned.epochs[-1].epoch > 0
    extractor = _tuned_extractor(frozen, tuned, progress) if is_trained else frozen
    extractor.extract([(validation, (PLAIN, *SHIFTS))], progress)
    frozen.extract([(validation, SHIFTS)], progress)
    new = _fit(tuned, held)
    new = calibrated(new, extractor.rows(validation, labels), len(images))
    compared: Compared = "accuracy" if class_weight == "none" else "balanced accuracy"
    chosen = [image for image, one in zip(validation, is_new, strict=True) if one]
    proof = _proof(chosen, labels, proof_units[is_new], (frozen, fit.head), (extractor, new.head), compared)
    record = RunFinetuning(
        blocks=section.blocks, views=None if section.blocks == "all" else 1 + section.views,
        learning_rate=tuned.epochs[-1].learning_rate, epochs=tuned.epochs[-1].epoch,
        held_out_loss=held_out_losses(tuned.epochs),
        trained_parameters=tuned.parameters if is_trained else 0,
        seconds=round(sum(one.seconds for one in tuned.epochs), 1),
        is_kept=is_trained and (section.keep == "always" or proof.is_better), proof=proof,
    )  # fmt: skip
    return FineTunedHead(extractor, new, tuned.tail, record)


def train_blocks(
    config: Config, images: Sequence[LabelledImage], frozen: FeatureExtractor, fit: Fit, units: Rows,
    class_weight: ClassWeight, progress: Progress = SILENT, scored: Sequence[LabelledImage] = (),
    on_epoch: Callable[[Epoch], None] = lambda _: None, accepts_cost: bool = True,
) -> tuple[FineTuned, HeldOut]:  # fmt: skip
    """Trains the last blocks of the backbone, or all, together with the head; nothing is known yet of what that brings.

    Args:
        config: the config.
        images: that are trained on [N].
        frozen: has their features.
        fit: the frozen head: logistic regression.
        units: plain rows of the images, in the units that folds keep together.
        class_weight: of head.class_weight.
        progress: receives the stages.
        scored: images that only the trained blocks answer for, see :attr:`FineTuned.scored`.
        on_epoch: see :func:`tlcli.finetuning.tail.fine_tune`.
        accepts_cost: the same.

    Returns:
        The trained blocks, and what they answered for the fifth of the images that the learning rate was chosen by.

    Raises:
        DataError, ModelError, ResourceError, UsageError: see :func:`fine_tune_head`.
    """
    blocks, held_out = config.finetune.blocks, held_out_rows(units, config.train.seed)
    data, views, keys = (
        _image_files(config, frozen, images, scored) if blocks == "all"
        else _stored_maps(config, frozen, images, scored, progress)
    )  # fmt: skip
    labels = np.tile(units.labels, len(views))
    count, more = len(labels), (0, len(scored))
    rows = TrainingRows(
        keys, np.pad(labels, more), np.pad(weights_of(labels, class_weight), more),
        np.pad(np.tile(held_out, len(views)), more),
        np.arange(count + len(scored)) < len(images), np.arange(count + len(scored)) >= count if scored else None,
    )  # fmt: skip
    standardizer = Standardizer.of(units, config.head.standardize)
    part = units.part(np.flatnonzero(~held_out))
    part_head = _head_of(config, part, fit, class_weight, len(frozen.views))
    tuned = fine_tune(
        frozen.spec, blocks, data, rows, fit.head, part_head, standardizer, frozen.blocks.names, recipe_of(config),
        progress, on_epoch, accepts_cost,
    )  # fmt: skip
    numbers = np.flatnonzero(held_out)
    return tuned, HeldOut(numbers, units.labels[numbers], tuned.held_out)


def _image_files(
    config: Config, frozen: FeatureExtractor, images: Sequence[LabelledImage], scored: Sequence[LabelledImage]
) -> tuple[ImageFiles, list[str], list[bytes]]:
    """What a whole backbone is trained on, the names of the views of which each is a row, and the keys of the rows."""
    changes, rows = _changes(config, _STRONGER), [*images, *scored]
    paths, digests = tuple(str(image.path) for image in rows), tuple(image.sha256 for image in rows)
    files = ImageFiles(paths, digests, frozen.decoder.preparation, changes)
    return files, [PLAIN], [bytes.fromhex(digest) for digest in digests]


def _stored_maps(
    config: Config, frozen: FeatureExtractor, images: Sequence[LabelledImage], scored: Sequence[LabelledImage],
    progress: Progress,
) -> tuple[StoredMaps, list[str], list[bytes]]:  # fmt: skip
    """The same for the last blocks."""
    activations, views = open_activations(config, frozen, progress)
    store_activations(activations, [(images, views), (scored, (PLAIN,))], progress)
    return StoredMaps(activations.store.key), views, [*row_keys(images, views), *row_keys(scored, (PLAIN,))]


def _changes(config: Config, default: Augmentation) -> Augmentation:
    """Those of the config, or the default where it has none."""
    changes = Augmentation(**config.augment.model_dump(exclude={"views"}))
    return replace(default, seed=changes.seed) if changes == Augmentation(seed=changes.seed) else changes


def _default_changes(config: Config) -> str:
    """Names and values of the default changes; empty where the config has its own."""
    default = _STRONGER if config.finetune.blocks == "all" else _DEFAULT
    if _changes(config, default) != replace(default, seed=config.augment.seed):
        return ""
    fields = {name: value for name, value in asdict(default).items() if value and name != "seed"}
    return ", ".join(f"{name} {value}" for name, value in fields.items())


def recipe_of(config: Config) -> Recipe:
    """How the last blocks are trained."""
    return Recipe(seed=config.train.seed, **config.finetune.model_dump(exclude={"blocks", "views", "keep"}))


def open_activations(
    config: Config, frozen: FeatureExtractor, progress: Progress = SILENT
) -> tuple[Activations, list[str]]:
    """Cuts the backbone, and opens the store of the activations; and the names of the views of training images.

    Raises:
        ModelError: it cannot be cut there.
        UsageError: the head takes no features that change with the last blocks.
    """
    blocks, changes = config.finetune.blocks, _changes(config, _DEFAULT)
    if blocks == "all":
        raise ValueError(blocks)
    views = view_names(config.finetune.views, changes)
    found = Activations.open(frozen.spec, replace(frozen.decoder, augmentation=changes), blocks, progress)
    if set(frozen.blocks.names) <= set(found.row_blocks.names):
        raise UsageError(
            "config.finetune_unsupported",
            f"Fine-tuning is not possible: the head takes no feature of the last {_counted(blocks)}.",
            "Change backbone.layers or finetune.blocks, or set head.fit: logistic_regression.",
        )
    return found, views


def _counted(blocks: int) -> str:
    return "block" if blocks == 1 else f"{blocks} blocks"


def store_activations(found: Activations, wanted: Wanted, progress: Progress = SILENT) -> None:
    """Makes the store have these views of these images.

    Raises:
        ResourceError: the disk has no room for them.
    """
    if needed := found.missing_bytes(wanted):
        each = format_size(found.row_blocks.stored_bytes)
        progress.note(
            f"Feature maps before the last {_counted(found.blocks)}: {each} for each of "
            f"{sum(len(images) * len(views) for images, views in wanted):,} views, {format_size(needed)} more in the "
            "cache."
        )
        need_room(
            found.store.folder, needed, "activations",
            "Free some space, point TLCLI_CACHE to another disk, or lower finetune.views or finetune.blocks.",
        )  # fmt: skip
    found.extract(wanted, progress)


def held_out_rows(units: Rows, seed: int) -> "NDArray[np.bool_]":
    """[N], whether a training image is held out while the learning rate is chosen: a fifth of each class, in whole
    units. Classes that have fewer than five are trained on whole.

    Raises:
        DataError: fewer than two classes have five, or the groups cannot be divided.
    """
    from tlcli.heads.folds import folds_of  # noqa: PLC0415 - scikit-learn takes 1 s

    pairs = np.unique(np.stack([units.labels, units.units]), axis=1)
    small = np.flatnonzero(np.bincount(pairs[0]) < _HELD_OUT)
    divided = np.flatnonzero(~np.isin(units.units, pairs[1, np.isin(pairs[0], small)]))
    known, classes = np.unique(units.labels[divided], return_inverse=True)
    if len(known) < 2:
        raise DataError(
            "data.class_too_small",
            f"Fewer than two classes have {_HELD_OUT} distinct images (or groups) for training: too few to choose the "
            "learning rate of fine-tuning.",
            "Add images, or set head.fit: logistic_regression.",
        )
    part = replace(units.part(divided), labels=classes)
    _, held = next(iter(folds_of(part, _HELD_OUT, seed)))
    found = np.zeros(len(units), np.bool_)
    found[divided[held]] = True
    return found


def _head_of(config: Config, rows: Rows, fit: Fit, class_weight: ClassWeight, views: int) -> Head:
    """The frozen head, fitted on some of the images only, with the layers and the C that were chosen on all, in so many
    views; the loss is a sum, so the C of one view is that many times larger."""
    C = views * (fit.best.C or 1.0)
    same = config.model_copy(update={"head": config.head.model_copy(update={"Cs": (C,)})})
    return fit_regression(same, rows, class_weight, candidates=(fit.candidates[0].blocks,)).head


def _tuned_extractor(frozen: FeatureExtractor, tuned: FineTuned, progress: Progress) -> FeatureExtractor:
    """Of this machine alone: no other has the trained weights."""
    spec, preparation = tuned.spec(frozen.spec), frozen.decoder.preparation
    store = Store(feature_key(spec, preparation), spec.row.blocks, progress)
    return replace(frozen, spec=spec, store=store, views=(PLAIN,), elsewhere=None)


def _fit(tuned: FineTuned, held_out: HeldOut) -> Fit:
    """The training at the chosen learning rate, as other fits have it."""
    best = tuned.best
    chosen = [one for one in tuned.epochs if best and one.phase == best.phase and one.epoch]
    history = tuple(
        Step(one.epoch, one.loss, one.accuracy, one.held_out_loss, one.held_out_accuracy, one.learning_rate)
        for one in chosen
    )
    step = next((one for one in history if best and one.step == best.epoch), replace(history[0], step=0))
    return Fit("finetune", tuned.head, history, step, held_out)


def _answers(
    model: tuple[FeatureExtractor, Head], images: Sequence[LabelledImage], labels: Sequence[str], view: str
) -> "NDArray[np.float64]":
    extractor, head = model
    return head.predict(extractor.rows(images, labels, [view]))


def _proof(
    images: Sequence[LabelledImage], labels: Sequence[str], units: "NDArray[np.int64]",
    frozen: tuple[FeatureExtractor, Head], tuned: tuple[FeatureExtractor, Head], compared: Compared,
) -> Proof:  # fmt: skip
    """On images [N] in their units [N]."""
    answers = {
        shift_name(view): (_answers(frozen, images, labels, view), _answers(tuned, images, labels, view))
        for view in (PLAIN, *SHIFTS)
    }
    return prove(frozen[0].rows(images, labels).labels, units, answers, PLAIN, compared)
