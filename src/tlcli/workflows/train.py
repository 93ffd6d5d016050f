"""Train: index the images, extract their features once, fit the head, measure it, write the run."""

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import tlcli
from tlcli.config.build_cross_validation import (
    CrossValidatedImages,
    Divided,
    ValidationDuplicates,
    cross_validate_head,
    divide,
)
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import (
    Opener,
    int8_limits,
    layer_candidates,
    opener_for,
    resolved,
)
from tlcli.config.build_finetune import check_cut, check_finetune, fine_tune_head
from tlcli.config.build_head import check_head, class_weight_of, fit_head, threshold_objective
from tlcli.config.build_units import RemotePass, has_remote_images, pass_remote
from tlcli.config.load import LoadedConfig, dump_config
from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.datasets.split_names import SplitName
from tlcli.datasets.unreadable import drop_unreadable
from tlcli.evaluation.cross_validation import CrossValidation
from tlcli.evaluation.gates import check_classes, merged
from tlcli.evaluation.objectives import Objective
from tlcli.evaluation.prediction_sets import thresholds
from tlcli.evaluation.split_metrics import Metrics, measure
from tlcli.evaluation.thresholds import Thresholds, choose_thresholds, decided
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.int8_agreement import check_features, check_labels
from tlcli.features.int8_record import Agreement
from tlcli.features.pipeline import Extraction
from tlcli.features.split_features import SplitFeatures
from tlcli.heads.fit_record import WITH_FOLDS, Fit
from tlcli.heads.standardize import Standardizer
from tlcli.heads.task import Task
from tlcli.images.decode import DECODER_VERSION
from tlcli.images.size_advice import size_advice_from_sample
from tlcli.images.statistics import suggestions_from_sample
from tlcli.model.bundle import save_bundle
from tlcli.model.reference import Reference, build_reference
from tlcli.progress import SILENT, Progress
from tlcli.reports.notes import unequal_classes
from tlcli.runs.cross_validation import write_cross_validation
from tlcli.runs.folders import RunConfig, check_name, final_name, new_run, other_configs
from tlcli.runs.history import write_history
from tlcli.runs.images import write_images
from tlcli.runs.output import output_run
from tlcli.runs.predictions import write_predictions
from tlcli.runs.records import (
    FeatureCounts,
    Filtered,
    NoneOfThese,
    QuantizedBackbone,
    RunBackbone,
    RunFinetuning,
    RunHead,
    RunRecord,
    RunThresholds,
    filtered_of,
    read_record,
    reading_of,
    skipped_images,
    write_metrics,
    write_record,
)
from tlcli.system.files import write_text
from tlcli.system.remote.kept import keep_images

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_VERSIONS = ("keras", "numpy", "openvino", "pillow", "scikit-learn", "tensorflow")
_MEASURED: tuple[SplitName, ...] = ("train", "validation")
"""The splits that train measures; the test images are left to evaluate."""


@dataclass(frozen=True)
class Trained:
    """A finished training run."""

    run_dir: Path
    metrics: dict[SplitName, Metrics]
    """Of the training and validation images."""
    cross_validation: CrossValidation | None
    """On training and validation images; None where the config asks for none, or they cannot be divided."""
    seconds: dict[str, float]
    """Of each stage."""
    features: Extraction
    index: Index
    fit: Fit
    agreement: Agreement | None
    """Of int8 with the float precision, on a sample; None with other precisions."""
    none_of_these: NoneOfThese
    """How many validation images predict would answer "none of these" for."""
    filtered: Filtered
    """Images that decisions left out or relabelled."""
    validation_duplicates: ValidationDuplicates | None
    """None where near duplicates were not searched."""
    thresholds: RunThresholds | None = None
    """What decides the answers; None where it is the most probable class."""
    finetuning: RunFinetuning | None = None
    """None where the network was not fine-tuned."""


@dataclass
class _Clock:
    """Seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = perf_counter()
        yield
        self.seconds[name] = round(perf_counter() - started, 3)


def train(
    loaded: LoadedConfig, runs_dir: Path, verify: bool = False, progress: Progress = SILENT, name: str | None = None,
    output: Path | None = None, accepts_cost: bool = False, cache_images: bool = False, ray: str | None = None,
) -> Trained:  # fmt: skip
    """Trains a head for a config, and measures it on training and validation images, never on test images.

    Args:
        loaded: the config.
        runs_dir: where the run's directory is made.
        verify: read every image for its digest, also images that look unchanged.
        progress: receives the stages.
        name: of the run, by which ``--run`` finds it.
        output: the run's directory, instead of a new one in ``runs_dir``; an earlier run there is replaced.
        accepts_cost: fine-tune on a CPU, too, what takes long there; else the error says how long.
        cache_images: keep the bytes of remote images in the cache.
        ray: address of a Ray cluster that computes the features; ``local`` is this machine.

    Raises:
        DataError: the images are missing or malformed.
        ModelError, NetworkError: the backbone's weights or the engine are unavailable.
        ResourceError: the disk is full.
        UsageError: the name is taken, or the directory is no earlier run.
    """
    if name is not None:
        check_name(runs_dir, name)
    opened = opener_for(ray)
    place = new_run(runs_dir.absolute(), loaded.name) if output is None else output_run(output)
    keep_images(cache_images, verify)
    with place as folder:  # first, since it may not be writable
        if output is None:
            _note_other_configs(loaded, runs_dir, progress)
        trained = _train(loaded, folder, verify, progress, accepts_cost, opened)
        if name is not None or output is not None:
            update = {"name": name, "output": output is not None}
            write_record(folder, read_record(folder).model_copy(update=update))
    return trained if output is None else replace(trained, run_dir=output.resolve())


def _note_other_configs(loaded: LoadedConfig, runs_dir: Path, progress: Progress) -> None:
    """Runs of two configs of one name share a directory and its ``latest``."""
    config = RunConfig(loaded.argument, loaded.name, loaded.file, loaded.sha256)
    if others := other_configs(runs_dir, config):
        folder = runs_dir / loaded.name
        progress.note(
            f"{folder} also has runs of another config of this name: {', '.join(others)}. --config tells them apart; "
            f"{folder / 'latest'} is the newest of all."
        )


def _train(
    loaded: LoadedConfig, folder: Path, verify: bool, progress: Progress, accepts_cost: bool, opened: Opener
) -> Trained:  # fmt: skip
    clock, config = _Clock(), loaded.config
    index, passed = _indexed(loaded, verify, clock, progress, opened)
    check_classes(merged(config.evaluate.gates, ()), index.labels)  # what evaluate would refuse
    check_head(config, index.labels, len(index.of("train")))
    check_finetune(config, index)
    objective = threshold_objective(config, index.labels)
    _note(index, config, progress)
    frozen = _frozen(config, index, clock, progress, opened, passed)
    model = frozen.model
    if config.head.fit == "finetune":
        model = _fine_tuned(config, frozen, clock, progress, accepts_cost)
    index, extractor, fit = frozen.index, model.extractor, model.fit
    with clock.stage("measure"), progress.stage("Measuring the head"):
        features, measured = frozen.features.of(extractor), index.as_given()
        given = features if measured is index else SplitFeatures(measured, extractor)
        found = _measured(given, fit, model.validated, objective, len(index.of("train")))
        names = [image.name for image in index.of("train")]
        reference = build_reference(features.of_last_layer().rows("train"), names, config.train.seed)
        beyond = reference.out_of_distribution(given.of_last_layer().rows("validation"))
        none_of_these = NoneOfThese(limit=reference.limit, validation=beyond)
    with clock.stage("write"):
        write_text(folder / "config.yaml", dump_config(resolved(config, extractor)))
        with progress.stage("Writing the run"):
            write_images(folder, index)
            _write_results(folder, measured, fit, found)
            if validated := model.validated:
                write_cross_validation(
                    folder, validated.summary, validated.images, index.labels, validated.out_of_fold
                )  # fmt: skip
            _write_model(folder / "model", index, extractor, fit, config, reference, found)
        if config.evaluate.figures:
            _draw(folder / "figures", index, extractor, fit, progress)
    decision = found.decision(index.labels)
    write_record(folder, _record(loaded, frozen, model, none_of_these, clock.seconds, decision))
    divided = frozen.divided
    return Trained(
        final_name(folder), found.metrics, validated.summary if validated else None, clock.seconds, frozen.extraction,
        index, fit, frozen.agreement, none_of_these, filtered_of(index), divided.validation if divided else None,
        decision, model.finetuning,
    )  # fmt: skip


def _indexed(
    loaded: LoadedConfig, verify: bool, clock: _Clock, progress: Progress, opened: Opener
) -> tuple[Index, RemotePass | None]:  # fmt: skip
    """The index; remote images, whose digests it needs, pass the backbone before."""
    passed, dataset = None, loaded.config.dataset
    if has_remote_images(loaded):
        with clock.stage("remote images"):
            passed = pass_remote(loaded, verify, progress, opened)
    with clock.stage("index"), progress.stage("Indexing images"):
        if passed is None:
            return dataset_index(dataset, loaded.options, verify), None
        index = dataset_index(dataset, loaded.options, objects=passed.known)
        return drop_unreadable(index, passed.bad, dataset.on_bad_image, dataset.max_bad_fraction), passed


@dataclass(frozen=True)
class _Model:
    """A backbone with a head."""

    extractor: FeatureExtractor
    fit: Fit
    validated: CrossValidatedImages | None
    """None where the config asks for no cross-validation, or the images cannot be divided."""
    finetuning: RunFinetuning | None = None


@dataclass(frozen=True)
class _Frozen:
    """The head on the frozen backbone's features, and the images that they were computed of."""

    index: Index
    """Of the readable images."""
    extraction: Extraction
    features: SplitFeatures
    divided: Divided | None
    model: _Model
    agreement: Agreement | None


def _frozen(
    config: Config, index: Index, clock: _Clock, progress: Progress, opened: Opener, passed: RemotePass | None = None
) -> _Frozen:  # fmt: skip
    """Computes the features, fits the head on them, and cross-validates it; ``passed``: remote images that were."""
    with clock.stage("features"):
        extractor = passed.extractor if passed else opened(index, config, progress)
        check_cut(config, extractor, progress)
        limits, held_out = int8_limits(config), index.of("validation") or index.of("train")
        sample = check_features(held_out, extractor, limits, progress)
        _suggest(index, extractor, progress)
        computed = (sample.computed if sample else 0) + (passed.computed if passed else 0)
        index, extraction = _extract(index, extractor, config, computed, progress)
        if passed:
            extraction = replace(extraction, bad={**passed.bad, **extraction.bad})
        features = SplitFeatures(index, extractor)
    with clock.stage("near duplicates"):
        divided = divide(config, index, extractor, progress)
    with clock.stage("head"):
        fit = _fit(config, features, divided, progress)
        agreement = check_labels(sample, index.labels, extractor, fit.head.probabilities, limits)
    with clock.stage("cross-validation"):
        validated = (
            cross_validate_head(config, divided, fit, index.labels, extractor.blocks, progress) if divided else None
        )
    return _Frozen(index, extraction, features, divided, _Model(extractor, fit, validated), agreement)


def _fine_tuned(config: Config, frozen: _Frozen, clock: _Clock, progress: Progress, accepts_cost: bool) -> _Model:
    """Trains the last blocks, or all, and the head from the frozen ones on; the better of both."""
    index, rows, model = frozen.index, frozen.features.rows("train"), frozen.model
    end, validation_units = len(rows) + len(index.of("validation")), None
    with clock.stage("fine-tuning"):
        if frozen.divided:
            validation_units = frozen.divided.rows.units[len(rows) : end]
            rows = frozen.divided.with_units(rows, len(rows))
        weight = class_weight_of(config, index.labels)
        tuned = fine_tune_head(
            config, index, model.extractor, model.fit, rows, weight, progress, accepts_cost, validation_units
        )
        if not tuned.record.is_kept:
            return replace(model, finetuning=tuned.record)
        _extract(index, tuned.extractor, config, 0, progress)
        typical = Standardizer.of(tuned.extractor.rows(index.of("train"), index.labels), config.head.standardize).mean
        fit = replace(tuned.fit, head=replace(tuned.fit.head, typical=typical))
    validated = model.validated  # of the frozen head: what was fine-tuned has seen the images of all folds
    if validated:
        validated = replace(validated, summary=replace(validated.summary, is_own_head=False))
    return _Model(tuned.extractor, fit, validated, tuned.record)


def _suggest(index: Index, extractor: FeatureExtractor, progress: Progress) -> None:
    """Notes settings that a sample of the training images probably needs."""
    paths, preparation = [image.path for image in index.of("train")], extractor.decoder.preparation
    row = extractor.spec.row
    for note in (
        *suggestions_from_sample(paths, preparation),
        *size_advice_from_sample(paths, preparation, row.own is None, (row.size, row.size)),
    ):
        progress.note(note)


def _note(index: Index, config: Config, progress: Progress) -> None:
    """How the images were read, and whether the classes are unequal."""
    for note in (*index.notes, unequal_classes(index.counts()["train"], config.head.class_weight != "none")):
        if note:
            progress.note(note)


def _extract(
    index: Index, extractor: FeatureExtractor, config: Config, computed: int, progress: Progress
) -> tuple[Index, Extraction]:
    """Extracts training images in all views; without augmentation validation images, and those set aside.

    Returns:
        the index of the readable images, and the counts, to which ``computed`` of before are added.
    """
    set_aside = [image for image in index.set_aside if image.split != "test"]
    plain = [*index.of("validation"), *set_aside]
    done = extractor.extract([(index.of("train"), extractor.views), (plain, extractor.views[:1])], progress)
    examined, dataset = [*index.of("train"), *plain], config.dataset
    index = drop_unreadable(index, done.bad, dataset.on_bad_image, dataset.max_bad_fraction, examined)
    return index, Extraction(computed + done.computed, max(0, done.reused - computed), done.bad)


def _fit(config: Config, features: SplitFeatures, divided: Divided | None, progress: Progress) -> Fit:
    index, extractor, images = features.index, features.extractor, len(features.index.of("train"))
    views = extractor.rows(index.of("train"), index.labels, extractor.views)
    if divided:
        views = divided.with_units(views, images)
    candidates = layer_candidates(config.backbone, extractor.blocks)
    return fit_head(config, views, features.rows("validation"), images, progress, candidates, index.labels)


@dataclass(frozen=True)
class _Measured:
    """What the head answers, for the splits that train measures."""

    predictions: "dict[SplitName, NDArray[np.float64]]"
    """Probabilities [N, L]."""
    metrics: dict[SplitName, Metrics]
    thresholds: Thresholds | None
    """What decides the answers."""
    coverage_thresholds: dict[str, float]
    """See :func:`tlcli.evaluation.prediction_sets.thresholds`."""
    source: Literal["out_of_fold", "validation"]
    """The images that the former were chosen on."""
    images: tuple[int, ...]
    """[L], how many of each class these are."""

    def decision(self, labels: Sequence[str]) -> RunThresholds | None:
        """The thresholds as run.json has them."""
        if self.thresholds is None:
            return None
        return RunThresholds(
            objective=self.thresholds.objective,
            of_classes=dict(zip(labels, self.thresholds.of_classes, strict=True)),
            source=self.source,
            images=dict(zip(labels, self.images, strict=True)),
        )


def _measured(
    features: SplitFeatures, fit: Fit, validated: CrossValidatedImages | None, objective: Objective | None, images: int
) -> _Measured:
    """Chooses thresholds where they are asked for, and measures; ``images``: how many training images."""
    rows, task = {split: features.rows(split) for split in _MEASURED}, Task(features.index.labels)
    predictions = {split: fit.head.predict(of_split) for split, of_split in rows.items()}
    unseen = _unseen(fit, validated, rows["validation"].labels, predictions["validation"])
    has_folds = _has_folds(fit, validated)
    labels, probabilities = unseen if has_folds else _with_held_out(fit, *unseen, images)
    chosen = choose_thresholds(labels, probabilities, objective) if objective else None
    metrics = {
        split: measure(one.labels, predictions[split], task, one.units, decided(predictions[split], chosen))
        for split, one in rows.items()
    }
    source: Literal["out_of_fold", "validation"] = "out_of_fold" if has_folds or fit.held_out else "validation"
    counts = tuple(int((labels == number).sum()) for number in range(task.count))
    return _Measured(predictions, metrics, chosen, thresholds(*unseen), source, counts)


def _with_held_out(
    fit: Fit, labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", images: int
) -> "tuple[NDArray[np.int64], NDArray[np.float64]]":
    """The validation images, which may be few, and the training images that the fit's own cross-validation held out."""
    import numpy as np  # noqa: PLC0415 - a wrong config is reported before

    from tlcli.heads.calibration import with_temperature  # noqa: PLC0415 - SciPy

    if fit.held_out is None:
        return labels, probabilities
    plain = fit.held_out.rows < images
    held = with_temperature(fit.held_out.probabilities[plain], fit.head.temperature)
    return np.concatenate([labels, fit.held_out.labels[plain]]), np.concatenate([probabilities, held])


def _write_results(folder: Path, measured: Index, fit: Fit, found: _Measured) -> None:
    write_metrics(folder, found.metrics)
    write_predictions(folder, measured, found.predictions, found.thresholds)
    write_history(folder / "history.csv", fit.history)


def _write_model(
    folder: Path, index: Index, extractor: FeatureExtractor, fit: Fit, config: Config, reference: Reference,
    found: _Measured,
) -> None:  # fmt: skip
    backbone = _backbone(extractor, config).model_dump(exclude_none=True)
    if backbone["precision"] == "f16":  # a GPU's; predict computes on the CPU
        backbone["precision"] = "f32"
    fields = {
        "tlcli_version": tlcli.__version__,
        "labels": index.labels,
        "backbone": {
            **backbone,
            **_own(extractor),
            "inputs": extractor.blocks.names,
            "layout": extractor.spec.weights.layout,
        },
        "preparation": {**vars(extractor.decoder.preparation), "decoder_version": DECODER_VERSION},
        "coverage_thresholds": found.coverage_thresholds or None,
        "thresholds": asdict(found.thresholds) if found.thresholds else None,
    }
    tail = extractor.spec.weights.tail
    save_bundle(folder, fields, fit.head, reference, tail.path if tail else None)


def _own(extractor: FeatureExtractor) -> dict[str, object]:
    """What a bundle says of a network that is not in the catalog."""
    row = extractor.spec.row
    if row.own is None:
        return {}
    return {"own": {**vars(row.own), "blocks": tuple(asdict(block) for block in row.blocks.all)}}


def _unseen(
    fit: Fit, validated: CrossValidatedImages | None, labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]"
) -> "tuple[NDArray[np.int64], NDArray[np.float64]]":
    """Labels [N] and probabilities [N, L] of images that the head was not fitted on: out of fold, or those of
    validation where the head is another than the one that was cross-validated."""
    if validated is None or not _has_folds(fit, validated):
        return labels, probabilities
    return validated.out_of_fold.labels, validated.out_of_fold.probabilities


def _has_folds(fit: Fit, validated: CrossValidatedImages | None) -> bool:
    """Whether the head itself was cross-validated."""
    return validated is not None and fit.kind in WITH_FOLDS


def _backbone(extractor: FeatureExtractor, config: Config) -> RunBackbone:
    spec = extractor.spec
    graph = spec.quantized
    return RunBackbone(
        name=spec.row.name,
        weights=str(spec.weights.file.absolute()) if spec.row.own else config.backbone.weights,
        weights_sha256=spec.weights.pretrained_sha256,
        tail_sha256=spec.weights.tail.sha256 if spec.weights.tail else None,
        engine=spec.engine.name,
        precision=spec.engine.precision,
        quantized=QuantizedBackbone(graph_sha256=graph.sha256, calibration=graph.images) if graph else None,
    )


def _record(
    loaded: LoadedConfig, frozen: _Frozen, model: _Model, none_of_these: NoneOfThese, seconds: dict[str, float],
    decision: RunThresholds | None,
) -> RunRecord:  # fmt: skip
    index, extraction, extractor, fit = frozen.index, frozen.extraction, model.extractor, model.fit
    config = loaded.config
    versions = {name: metadata.version(name) for name in _VERSIONS}
    return RunRecord(
        config=loaded.argument,
        config_file=str(loaded.file) if loaded.file else None,
        config_sha256=loaded.sha256,
        overrides=loaded.overrides,
        seconds=seconds,
        images=index.counts(),
        reading=reading_of(index),
        filtered=filtered_of(index),
        skipped=skipped_images(index.bad),
        skipped_sha256=tuple(sorted(extraction.bad)),
        features=FeatureCounts(
            computed=extraction.computed, reused=extraction.reused, views=len(frozen.model.extractor.views)
        ),
        backbone=_backbone(extractor, config),
        head=RunHead(
            fit=fit.kind,
            steps=len(fit.history),
            chosen_step=fit.best.step,
            C=fit.best.C,
            temperature=fit.head.temperature,
            thresholds=decision,
        ),
        finetuning=model.finetuning,
        agreement=frozen.agreement,
        none_of_these=none_of_these,
        trainable_parameters=fit.head.trainable_parameters,
        seeds={"split": config.dataset.split.seed, "augment": config.augment.seed, "train": config.train.seed},
        versions={"tlcli": tlcli.__version__, "python": platform.python_version(), **versions},
        data_digest=index.digest(),
        data_root=str(index.root.absolute()),
    )


def _draw(folder: Path, index: Index, extractor: FeatureExtractor, fit: Fit, progress: Progress) -> None:
    from tlcli.reports.fonts import missing_font_note  # noqa: PLC0415 - matplotlib takes 1 s to import
    from tlcli.reports.run_figures import draw_training  # noqa: PLC0415

    decoder = extractor.decoder
    if note := missing_font_note(index.labels):
        progress.note(note)
    with progress.stage("Drawing figures"):
        draw_training(
            folder, index, fit.history, fit.best, extractor.views, decoder.preparation, decoder.augmentation,
            fit.kind == "finetune",
        )  # fmt: skip
