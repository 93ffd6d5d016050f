"""Train: index the images, take them through the backbone once, fit the head, measure, write the run."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import tlcli
from tlcli.config.build_head import fit_head
from tlcli.config.load import Loaded, dump_config
from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.datasets.layout import SplitName
from tlcli.evaluation.agreement import Agreement
from tlcli.evaluation.metrics import Metrics, measure
from tlcli.features.pipeline import Extraction
from tlcli.heads.fit import Fit
from tlcli.heads.task import Task
from tlcli.images.decode import DECODER_VERSION
from tlcli.model.bundle import save_bundle
from tlcli.model.reference import build_reference
from tlcli.progress import SILENT, Progress
from tlcli.runs.folders import final_name, new_run
from tlcli.runs.history import write_history
from tlcli.runs.predictions import write_predictions
from tlcli.runs.records import (
    FeatureCounts,
    QuantizedBackbone,
    RunBackbone,
    RunHead,
    RunRecord,
    skipped_images,
    write_metrics,
    write_record,
)
from tlcli.system.files import write_text
from tlcli.workflows.dataset import indexed
from tlcli.workflows.frozen_pass import FrozenPass, resolved, usable
from tlcli.workflows.int8 import check_features, check_labels, open_pass_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_VERSIONS = ("keras", "numpy", "openvino", "pillow", "scikit-learn", "tensorflow")

_MEASURED: tuple[SplitName, ...] = ("train", "validation")
"""The splits that train measures; the test images are left to evaluate."""


@dataclass(frozen=True)
class Trained:
    """What train made."""

    run_dir: Path
    metrics: dict[SplitName, Metrics]
    seconds: dict[str, float]
    trainable_parameters: int
    features: Extraction
    index: Index
    fit: Fit
    agreement: Agreement | None
    """Of int8 with the float precision, on a sample; None of other precisions."""


@dataclass
class _Clock:
    """Seconds each stage took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = perf_counter()
        yield
        self.seconds[name] = round(perf_counter() - started, 3)


def train(loaded: Loaded, runs_dir: Path, verify: bool = False, progress: Progress = SILENT) -> Trained:
    """Trains a head for the config; measures training and validation images, never the test ones.

    Args:
        loaded: the config.
        runs_dir: where the run's folder is made.
        verify: read every image for its digest, also those that look as they did before.
        progress: told of the stages.

    Raises:
        DataError: the images are missing or unfit.
        ModelError, NetworkError: the backbone's weights or the engine are not to be had.
        ResourceError: the disk is full.
    """
    with new_run(runs_dir.absolute(), loaded.name) as folder:  # first, since it may not be writable
        return _train(loaded, folder, verify, progress)


def _train(loaded: Loaded, folder: Path, verify: bool, progress: Progress) -> Trained:
    clock, config = _Clock(), loaded.config
    with clock.stage("index"), progress.stage("Reading the images' digests"):
        index = indexed(config.dataset, loaded.options, verify)
    for note in index.notes:
        progress.note(note)
    with clock.stage("features"):
        frozen = open_pass_for(index, config, progress)
        sample = check_features(index, frozen, config, progress)
        index, extraction = _features(index, frozen, config, progress, sample.computed if sample else 0)
    with clock.stage("head"):
        training = index.of("train")
        rows = {split: frozen.rows(index.of(split), index.labels) for split in _MEASURED}
        views = frozen.rows(training, index.labels, frozen.views)
        fit = fit_head(config, views, rows["validation"], len(training), progress)
        agreement = check_labels(sample, index, frozen, fit.head, config)
    with clock.stage("measure"):
        task = Task(index.labels)
        predictions = {split: fit.head.predict(of_split) for split, of_split in rows.items()}
        metrics = {
            split: measure(of_split.labels, predictions[split], task, of_split.units)
            for split, of_split in rows.items()
        }
    with clock.stage("write"):
        _write(folder, resolved(config, frozen), index, frozen, fit, metrics, predictions)
        if config.evaluate.figures:
            _draw(folder / "figures", index, frozen, fit, progress)
    write_record(folder, _record(loaded, index, frozen, fit, extraction, agreement, clock.seconds))
    run_dir = final_name(folder)
    return Trained(run_dir, metrics, clock.seconds, fit.head.trainable_parameters, extraction, index, fit, agreement)


def _features(
    index: Index, frozen: FrozenPass, config: Config, progress: Progress, computed: int
) -> tuple[Index, Extraction]:
    """Training images in all views, validation images plain; broken ones leave the index. ``computed``: before."""
    done = frozen.run([(index.of("train"), frozen.views), (index.of("validation"), frozen.views[:1])], progress)
    index = usable(index, done.bad, config.dataset.on_bad_image, config.dataset.max_bad_fraction)
    return index, Extraction(computed + done.computed, done.reused - computed, done.bad)


def _write(
    folder: Path, config: Config, index: Index, frozen: FrozenPass, fit: Fit,
    metrics: dict[SplitName, Metrics], predictions: "dict[SplitName, NDArray[np.float64]]",
) -> None:  # fmt: skip
    write_text(folder / "config.yaml", dump_config(config))
    write_metrics(folder, metrics)
    write_predictions(folder, index, predictions)
    write_history(folder / "history.csv", fit.history)
    preparation = {**vars(frozen.preparation), "decoder_version": DECODER_VERSION}
    backbone = {**_backbone_record(frozen, config).model_dump(exclude_none=True), "pooling": frozen.pooling}
    fields = {"tlcli_version": tlcli.__version__, "labels": index.labels}
    given = {**fields, "backbone": backbone, "preparation": preparation}
    training = index.of("train")
    rows, names = frozen.rows(training, index.labels), [image.name for image in training]
    save_bundle(folder / "model", given, fit.head, build_reference(rows, names, config.train.seed))


def _backbone_record(frozen: FrozenPass, config: Config) -> RunBackbone:
    made = frozen.quantized
    return RunBackbone(
        name=frozen.row.name,
        weights=config.backbone.weights,
        weights_sha256=frozen.weights.sha256,
        engine=frozen.engine.engine,
        precision=frozen.engine.precision,
        quantized=QuantizedBackbone(graph_sha256=made.sha256, calibration=made.images) if made else None,
    )


def _record(
    loaded: Loaded, index: Index, frozen: FrozenPass, fit: Fit, extraction: Extraction, agreement: Agreement | None,
    seconds: dict[str, float],
) -> RunRecord:  # fmt: skip
    config = loaded.config
    versions = {name: metadata.version(name) for name in _VERSIONS}
    return RunRecord(
        config=loaded.given,
        overrides=loaded.overrides,
        seconds=seconds,
        images=index.counts(),
        skipped=skipped_images(index.bad),
        features=FeatureCounts(computed=extraction.computed, reused=extraction.reused, views=len(frozen.views)),
        backbone=_backbone_record(frozen, config),
        head=RunHead(
            fit=fit.kind,
            steps=len(fit.history),
            chosen_step=fit.best.step,
            C=fit.best.C,
            temperature=fit.head.temperature,
        ),
        agreement=agreement,
        trainable_parameters=fit.head.trainable_parameters,
        seeds={"split": config.dataset.split.seed, "augment": config.augment.seed, "train": config.train.seed},
        versions={"tlcli": tlcli.__version__, "python": platform.python_version(), **versions},
        data_digest=index.digest(),
        data_root=str(index.root.absolute()),
    )


def _draw(folder: Path, index: Index, frozen: FrozenPass, fit: Fit, progress: Progress) -> None:
    from tlcli.reports import figures  # noqa: PLC0415 - matplotlib takes 1 s to import
    from tlcli.reports import samples as images  # noqa: PLC0415 - matplotlib takes 1 s to import

    with progress.stage("Drawing figures"):
        figures.class_counts(folder / "class_counts.png", index.counts())
        images.samples(folder / "samples.png", index.of("train"), index.labels, frozen.preparation)
        if len(frozen.views) > 1:
            images.augmented(
                folder / "augmented.png", index.of("train"), frozen.views, frozen.preparation, frozen.augmentation
            )
        figures.history(folder / "history.png", fit)
