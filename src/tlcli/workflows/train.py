"""Train: index the images, take them through the backbone once, fit the head, measure, write the run."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import tlcli
from tlcli.config.build_features import feature_extractor, int8_limits, resolved
from tlcli.config.load import Loaded, dump_config
from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.datasets.layout import SplitName
from tlcli.datasets.unreadable import drop_unreadable
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.int8 import check_features, check_labels
from tlcli.features.pipeline import Extraction
from tlcli.heads.head import Fit
from tlcli.images.decode import DECODER_VERSION
from tlcli.model.bundle import save_bundle
from tlcli.progress import SILENT, Progress
from tlcli.runs import folders as runs
from tlcli.system.files import write_text
from tlcli.workflows.dataset import indexed
from tlcli.workflows.fit import fitted
from tlcli.workflows.measure import measured, predict_split, write_predictions
from tlcli.workflows.reference import reference_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_VERSIONS = ("keras", "numpy", "openvino", "pillow", "scikit-learn", "tensorflow")

_LOOKED_AT: tuple[SplitName, ...] = ("train", "validation")
"""The splits that train measures; the test images are left to evaluate."""


@dataclass(frozen=True)
class Trained:
    """What train made."""

    run_dir: Path
    metrics: dict[SplitName, dict[str, Any]]
    seconds: dict[str, float]
    trainable_parameters: int
    features: Extraction
    index: Index
    fit: Fit
    agreement: dict[str, Any] | None
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
    with runs.new_run(runs_dir.absolute(), loaded.name) as folder:  # first, since it may not be writable
        return _train(loaded, folder, verify, progress)


def _train(loaded: Loaded, folder: Path, verify: bool, progress: Progress) -> Trained:
    clock, config = _Clock(), loaded.config
    with clock.stage("index"), progress.stage("Reading the images' digests"):
        index = indexed(config.dataset, loaded.options, verify)
    for note in index.notes:
        progress.note(note)
    with clock.stage("features"):
        frozen = feature_extractor(index, config, progress)
        held_out = index.of("validation") or index.of("train")
        sample = check_features(held_out, frozen, int8_limits(config), progress)
        index, extraction = _features(index, frozen, config, progress, sample.computed if sample else 0)
    with clock.stage("head"):
        fit = fitted(index, frozen, config, progress)
        found = check_labels(sample, index.labels, frozen, fit.head.probabilities, int8_limits(config))
        agreement = asdict(found) if found else None
    with clock.stage("measure"):
        predictions = {split: predict_split(index, split, frozen, fit.head) for split in _LOOKED_AT}
        metrics = {split: measured(index, split, rows) for split, rows in predictions.items()}
    with clock.stage("write"):
        _write(folder, resolved(config, frozen), index, frozen, fit, metrics, predictions)
        if config.evaluate.figures:
            _draw(folder / "figures", index, frozen, fit, progress)
    record = _record(index, frozen, fit, extraction, config, clock.seconds)
    if agreement:
        record["agreement"] = agreement
    given = {"config": loaded.given, "overrides": loaded.overrides}
    runs.write_json(folder / "run.json", {"status": "complete", **given, **record})
    run_dir = runs.final_name(folder)
    return Trained(run_dir, metrics, clock.seconds, fit.head.trainable_parameters, extraction, index, fit, agreement)


def _features(
    index: Index, frozen: FeatureExtractor, config: Config, progress: Progress, computed: int
) -> tuple[Index, Extraction]:
    """Training images in all views, validation images plain; broken ones leave the index. ``computed``: before."""
    done = frozen.extract([(index.of("train"), frozen.views), (index.of("validation"), frozen.views[:1])], progress)
    index = drop_unreadable(index, done.bad, config.dataset.on_bad_image, config.dataset.max_bad_fraction)
    return index, Extraction(computed + done.computed, done.reused - computed, done.bad)


def _write(
    folder: Path, config: Config, index: Index, frozen: FeatureExtractor, fit: Fit,
    metrics: dict[SplitName, dict[str, Any]], predictions: "dict[SplitName, NDArray[np.float64]]",
) -> None:  # fmt: skip
    write_text(folder / "config.yaml", dump_config(config))
    runs.write_json(folder / "metrics.json", metrics)
    write_predictions(folder, index, predictions)
    columns = ("step", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "strength")
    rows = [["" if (v := getattr(step, c)) is None else v for c in columns] for step in fit.history]
    runs.write_csv(folder / "history.csv", columns, rows)
    preparation = {**vars(frozen.decoder.preparation), "decoder_version": DECODER_VERSION}
    backbone = {**_backbone_record(frozen, config), "pooling": frozen.spec.pooling}
    fields = {"tlcli_version": tlcli.__version__, "labels": index.labels}
    given = {**fields, "backbone": backbone, "preparation": preparation}
    save_bundle(folder / "model", given, fit.head, reference_of(index, frozen, config.train.seed))


def _backbone_record(frozen: FeatureExtractor, config: Config) -> dict[str, Any]:
    made = frozen.spec.quantized
    return {
        "name": frozen.spec.row.name,
        "weights": config.backbone.weights,
        "weights_sha256": frozen.spec.weights.sha256,
        "engine": frozen.spec.engine.name,
        "precision": frozen.spec.engine.precision,
        **({"quantized": {"graph_sha256": made.sha256, "calibration": made.images}} if made else {}),
    }


def _record(
    index: Index, frozen: FeatureExtractor, fit: Fit, extraction: Extraction, config: Config, seconds: dict[str, float]
) -> dict[str, Any]:  # fmt: skip
    return {
        "seconds": seconds,
        "images": index.counts(),
        "skipped": runs.reasons(index.bad),
        "features": {"computed": extraction.computed, "reused": extraction.reused, "views": len(frozen.views)},
        "backbone": _backbone_record(frozen, config),
        "head": {
            "fit": config.head.fit,
            "steps": len(fit.history),
            "chosen_step": fit.chosen,
            "strength": fit.history[fit.chosen - 1].strength,
            "temperature": fit.head.temperature,
        },
        "trainable_parameters": fit.head.trainable_parameters,
        "seeds": {"split": config.dataset.split.seed, "augment": config.augment.seed, "train": config.train.seed},
        "versions": {
            "tlcli": tlcli.__version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _VERSIONS},
        },
        "data_digest": index.digest(),
        "data_root": str(index.root.absolute()),
    }


def _draw(folder: Path, index: Index, frozen: FeatureExtractor, fit: Fit, progress: Progress) -> None:
    from tlcli.reports import figures  # noqa: PLC0415 - matplotlib takes 1 s to import
    from tlcli.reports import samples as images  # noqa: PLC0415 - matplotlib takes 1 s to import

    with progress.stage("Drawing figures"):
        figures.class_counts(folder / "class_counts.png", index.counts())
        images.samples(folder / "samples.png", index.of("train"), index.labels, frozen.decoder.preparation)
        if len(frozen.views) > 1:
            images.augmented(
                folder / "augmented.png",
                index.of("train"),
                frozen.views,
                frozen.decoder.preparation,
                frozen.decoder.augmentation,
            )
        figures.history(folder / "history.png", fit)
