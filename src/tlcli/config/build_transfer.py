"""From the config to the comparison of pretrained features with features that know of no other images.

Shapes: N images of the sample, J folds of all repeats.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.catalog import row_for
from tlcli.backbones.spec import BackboneSpec
from tlcli.backbones.weights import find_weights
from tlcli.config.build_cross_validation import Divided, divide_by
from tlcli.config.build_features import head_inputs, layer_candidates
from tlcli.config.build_small_network import FromScratch
from tlcli.config.schema import Config, CrossValidation, HeadSection, Transfer
from tlcli.datasets.index import Index, LabelledImage
from tlcli.errors import DataError, ModelError
from tlcli.evaluation.transfer_gap import MIN_IMAGES, LeftOut, NoTransfer, Reference, TransferGap, compare_features
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.key import feature_key
from tlcli.features.rows import Rows
from tlcli.features.store import Store
from tlcli.heads.folds import sampled
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.heads.class_weight import ClassWeight
    from tlcli.heads.repeated_cross_validation import CrossValidated

_LEAST = 100
"""Images of the sample, where an image takes several passes."""
_OF_A_CLASS = 10
"""Images of a class, on average: where there is no room for so many of each, classes are sampled."""
_NATIVE_TILES = 16
"""Assumed for each image, as their number is known only once it is decoded."""


def measure_transfer(
    config: Config, index: Index, extractor: FeatureExtractor, progress: Progress = SILENT
) -> TransferGap | NoTransfer:
    """Whether pretraining helps, on a sample of the training and validation images, or why that is not measured.

    Args:
        config: of the run.
        index: its images; those of test are not used.
        extractor: has the features of all of them.
        progress: receives the stages, and a note where random weights cannot be made.

    Raises:
        ResourceError: the disk is full.
        DataError: a file changed since it was indexed.
    """
    if reason := why_not(config):
        return reason
    folds = (config.evaluate.cross_validation or CrossValidation()).folds
    return measure_divided(config, divide_by(config, index, extractor, folds, progress), extractor, progress)


def measure_divided(
    config: Config, divided: Divided, extractor: FeatureExtractor, progress: Progress = SILENT,
    scratch: FromScratch | None = None,
) -> TransferGap | NoTransfer:  # fmt: skip
    """As :func:`measure_transfer`, of images that are divided already.

    Args:
        config: of the run.
        divided: its training and validation images.
        extractor: has the features of all of them.
        progress: receives the stages.
        scratch: trains a small network from scratch, too; without, there is no such comparison.
    """
    section = config.evaluate.transfer
    if (reason := why_not(config)) or section is None:
        return reason or "off"
    folds = (config.evaluate.cross_validation or CrossValidation()).folds
    sample = sampled_images(divided, sample_size(section, extractor), folds, config.train.seed)
    if len(sample.images) < MIN_IMAGES:
        return "few_images"
    random = _random_features(config, sample, extractor, progress, scratch)
    return compare(config, sample, extractor, random, progress, scratch)


def why_not(config: Config) -> NoTransfer | None:
    """Why a config's features are compared with nothing; None where they are."""
    if config.evaluate.transfer is None:
        return "off"
    is_random = config.backbone.row is not None and config.backbone.weights == "random"
    return "random_weights" if is_random else None


def _random_features(
    config: Config, sample: "Sample", extractor: FeatureExtractor, progress: Progress, scratch: FromScratch | None
) -> FeatureExtractor | LeftOut:
    """The same network with random weights, which all images of the sample have passed; or why there is none."""
    if config.backbone.row is None:
        return "own_network"
    if scratch is not None and not scratch.has_time_for_pass(len(sample.images)):
        return "no_time"
    try:
        random = random_extractor(config, extractor, progress)
        random.extract([(sample.images, random.views)], progress)
    except ModelError as error:  # the run was measured already: what cannot be compared takes nothing from it
        progress.note(f"Random weights are not compared: {error.message}")
        return "unavailable"
    return random


@dataclass(frozen=True)
class Sample:
    """The images that transfer is measured on."""

    images: Sequence[LabelledImage]
    rows: Rows
    """Their features by the run's backbone, in memory; near duplicates and groups are one unit [N]."""
    of_images: int
    """Training and validation images that there are."""


def sample_size(section: Transfer, extractor: FeatureExtractor) -> int:
    """How many images the section's number allows: fewer where each takes several passes."""
    preparation, row = extractor.decoder.preparation, extractor.spec.row
    height, width = preparation.size
    tiles = _NATIVE_TILES if preparation.tiles == "native" else int(np.prod(preparation.tiles or (1,)))
    passes = max(1.0, tiles * height * width / row.size**2)
    return max(min(section.images, _LEAST), round(section.images / passes))


def sampled_images(divided: Divided, limit: int, folds: int, seed: int) -> Sample:
    """A stratified sample of whole units; of some classes where there are more than it has room for.

    Args:
        divided: training and validation images.
        limit: about how many images.
        folds: how many the sample will be divided into.
        seed: of the sample.
    """
    numbers, of_images = divided.sample, len(divided.images)
    labels = divided.rows.labels[numbers]
    classes = np.unique(labels)
    if len(classes) > (most := max(2, limit // _OF_A_CLASS)):
        classes = np.sort(np.random.default_rng(seed).choice(classes, most, replace=False))
        numbers = numbers[np.isin(labels, classes)]
    rows = divided.rows.part(numbers)
    rows = replace(rows, labels=np.searchsorted(classes, rows.labels))
    chosen = sampled(rows, folds, seed, limit)
    return Sample([divided.images[number] for number in numbers[chosen]], rows.take(chosen), of_images)


def random_extractor(config: Config, extractor: FeatureExtractor, progress: Progress = SILENT) -> FeatureExtractor:
    """The same network with random weights, in the same engine and with the same preparation.

    Raises:
        ModelError: the weights cannot be made or converted on this machine.
    """
    name, decoder = extractor.spec.row.name, extractor.decoder
    weights = find_weights(row_for(name, "catalog"), "random", progress)
    row = row_for(name, weights.layout)
    spec = BackboneSpec(row, extractor.spec.size, weights, (extractor.exact or extractor).spec.engine)
    store = Store(feature_key(spec, decoder.preparation), row.blocks, progress)
    return FeatureExtractor(
        spec, decoder, store, opener=extractor.opener, inputs=head_inputs(config.backbone, row.blocks)
    )


def compare(
    config: Config, sample: Sample, extractor: FeatureExtractor, random: FeatureExtractor | LeftOut,
    progress: Progress = SILENT, scratch: FromScratch | None = None,
) -> TransferGap | NoTransfer:  # fmt: skip
    """Cross-validates the same kind of head on the sample's features of each kind, on the same folds.

    Args:
        config: of the run: the candidates for C and for layers, folds, repeats, and seed.
        sample: the images, with their pretrained features.
        extractor: computed these.
        random: has the features of the sample by the same network with random weights; or why there are none.
        progress: receives the stages.
        scratch: trains a small network from scratch, too, on the folds of the first repeat.
    """
    from tlcli.features.colour_histogram import COLOURS  # noqa: PLC0415 - only here
    from tlcli.features.thumbnail import PIXELS  # noqa: PLC0415

    rows, preparation = sample.rows, extractor.decoder.preparation
    weight = _class_weight(config, sample.images)
    features: dict[Reference, Rows] = {}  # computed before the heads, so that each kind has a stage of its own
    left_out: dict[Reference, LeftOut] = {}
    if isinstance(random, FeatureExtractor):
        names = sorted({image.label for image in sample.images})
        features["random_weights"] = replace(random.rows(sample.images, names), labels=rows.labels, units=rows.units)
    else:
        left_out["random_weights"] = random
    features["pixels"] = PIXELS.rows(sample.images, rows, preparation, progress)
    features["colour_histogram"] = COLOURS.rows(sample.images, rows, preparation, progress)
    try:
        with progress.stage("Measuring transfer", 1 + len(features), "heads"):
            mine = _validated(config, rows, layer_candidates(config.backbone, extractor.blocks), weight)
            progress.advance()
            found: dict[Reference, NDArray[np.float64]] = {}
            for name, of_name in features.items():
                blocks = random.blocks if name == "random_weights" and isinstance(random, FeatureExtractor) else None
                candidates = layer_candidates(config.backbone, blocks) if blocks else ()
                found[name] = _validated(config, of_name, candidates, weight).accuracies[-1]
                progress.advance()
    except DataError as error:
        progress.note(f"Transfer is not measured: {error.message}")
        return "not_divisible"
    accuracies = mine.accuracies[-1]
    shared = min(map(len, (accuracies, *found.values())))  # of very many classes, wide features have fewer repeats
    found = {name: one[:shared] for name, one in found.items()}
    if scratch is not None:
        trained = scratch.accuracies(config, sample.images, rows, mine, weight, preparation, progress)
        if isinstance(trained, str):
            left_out["from_scratch"] = trained
        else:
            found["from_scratch"] = trained[:shared]
    return TransferGap(
        accuracy=float(accuracies[:shared].mean()),
        comparisons=compare_features(accuracies[:shared], found, mine.test_share, mine.units_used),
        images=len(rows),
        of_images=sample.of_images,
        classes=len(np.unique(rows.labels)),
        folds=round(len(accuracies) / mine.repeats),
        repeats=round(shared * mine.repeats / len(accuracies)),
        is_own_head=config.head.fit == "logistic_regression",
        left_out=left_out,
    )


def _class_weight(config: Config, images: Sequence[LabelledImage]) -> "ClassWeight":
    """Of the classes of the sample."""
    given = config.head.class_weight
    return given if isinstance(given, str) else tuple(
        given.get(name, 1.0) for name in sorted({image.label for image in images})
    )  # fmt: skip


def _validated(
    config: Config, rows: Rows, choices: Sequence[tuple[int, ...]], class_weight: "ClassWeight"
) -> "CrossValidated":
    """C, and the blocks where there is a choice, chosen for these features; then repeated cross-validation.

    C is one of the default candidates, too: a config that has a single one, as tune writes it, has it for its own
    features, and references with a wrong C would flatter these.
    """
    from tlcli.heads.logistic_regression import fit_logistic_regression  # noqa: PLC0415 - SciPy
    from tlcli.heads.reduced import reduced  # noqa: PLC0415
    from tlcli.heads.repeated_cross_validation import cross_validate  # noqa: PLC0415

    head, seed = config.head, config.train.seed
    section = config.evaluate.cross_validation or CrossValidation()
    rows = reduced(rows, choices, head.standardize)
    blocks = [(number,) for number in range(len(rows.widths))]
    Cs = tuple(sorted({*head.Cs, *HeadSection().Cs}))
    fit = fit_logistic_regression(rows, Cs, head.folds, False, class_weight, seed, candidates=blocks)
    best = fit.candidates[0]
    return cross_validate(
        rows.of_blocks(best.blocks), best.C, section.folds, section.repeats, False, class_weight, seed, (1.0,)
    )
