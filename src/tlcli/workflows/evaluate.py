"""Evaluate: the only command that measures the test images; completes a run's metrics, predictions and report."""

import shlex
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.build_head import cross_validate_head
from tlcli.config.load import config_options, load_config
from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.datasets.split_names import SPLITS, SplitName
from tlcli.datasets.unreadable import drop_unreadable
from tlcli.errors import DataError
from tlcli.evaluation.split_metrics import Metrics, measure
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.pipeline import Extraction
from tlcli.features.split_features import SplitFeatures
from tlcli.heads.task import Task
from tlcli.model.bundle import Bundle, load_bundle
from tlcli.progress import SILENT, Progress
from tlcli.runs.predictions import write_predictions
from tlcli.runs.records import RunRecord, read_record, skipped_images, write_metrics, write_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.evaluation.assessment import Assessment
    from tlcli.reports.text import RunText


@dataclass(frozen=True)
class Evaluated:
    """A run that was measured on its test images."""

    run_dir: Path
    metrics: dict[SplitName, Metrics]
    """Of all splits."""
    fail_under: float | None
    """The least test accuracy that the run's config asks for."""
    features: Extraction
    bad: Mapping[str, str]
    """Unreadable test images: name to reason."""
    text: "RunText | None"
    """Sentences of the report; None where none was requested."""


@dataclass(frozen=True)
class _Run:
    """A run, opened."""

    folder: Path
    record: RunRecord
    config: Config
    bundle: Bundle

    @classmethod
    def open(cls, folder: Path) -> "_Run":
        config = load_config(folder / "config.yaml").config
        return cls(folder, read_record(folder), config, load_bundle(folder / "model"))


def evaluate(run: Path, verify: bool = False, progress: Progress = SILENT) -> Evaluated:
    """Measures the test images of a run.

    Args:
        run: the run's directory.
        verify: read every image for its digest, also images that look unchanged.
        progress: receives the stages.

    Raises:
        DataError: there are no test images, or the data is not what the run was trained on.
        ModelError: the run or its bundle is damaged.
    """
    opened = _Run.open(run)
    index = _same_data(opened, verify)
    extractor = feature_extractor(index, opened.config, progress, opened.bundle.manifest.backbone.quantized)
    opened.bundle.manifest.check_weights(extractor.spec.weights)
    index, extraction = _extract(index, extractor, opened.config, progress)
    features = SplitFeatures(index, extractor)
    with progress.stage("Measuring the head", len(SPLITS), "splits"):
        predictions, metrics = _measured(opened, features, progress)
    write_record(run, opened.record.model_copy(update={"skipped_test": skipped_images(index.bad)}))
    with progress.stage("Writing metrics and predictions"):
        write_metrics(run, metrics)
        write_predictions(run, index, predictions)
    if opened.config.evaluate.figures:
        _draw(run / "figures", index, metrics["test"], predictions["test"], progress)
    text = None
    if opened.config.evaluate.report:
        assessment = _assess(opened, features, predictions["test"], progress)
        text = _report(opened, features, assessment, metrics["test"], predictions["test"], progress)
    return Evaluated(run, metrics, opened.config.evaluate.fail_under, extraction, index.bad, text)


def _same_data(run: _Run, verify: bool) -> Index:
    """The data set as the run saw it; with other splits, training images could be among the test images."""
    record = run.record
    options = config_options(record.config, record.overrides)
    index = dataset_index(run.config.dataset, options, verify)
    skipped = {item.path for item in record.skipped}
    seen = Index(index.root, index.labels, tuple(p for p in index.images if p.name not in skipped), {}, ())
    if seen.digest() != record.data_digest:
        raise DataError(
            "data.changed_since_training",
            f"The images in {index.root} are not those that this run was trained on: files were added, removed or "
            "changed, so that training images could be among the test images.",
            f"Train again: tlcli train {shlex.join(options)}",
        )
    return seen


def _extract(
    index: Index, extractor: FeatureExtractor, config: Config, progress: Progress
) -> tuple[Index, Extraction]:  # fmt: skip
    done = extractor.extract([(index.images, extractor.views[:1])], progress)
    index = drop_unreadable(index, done.bad, config.dataset.on_bad_image, config.dataset.max_bad_fraction)
    if not index.of("test"):
        readable = "no readable test images" if index.bad else "no test images"
        raise DataError(
            "data.no_test_images",
            f"This run has {readable}.",
            "Set dataset.split.test above 0 or add a test folder, and train again.",
        )
    return index, done


def _measured(
    run: _Run, features: SplitFeatures, progress: Progress
) -> "tuple[dict[SplitName, NDArray[np.float64]], dict[SplitName, Metrics]]":
    """Probabilities [N, L] and metrics of every split."""
    predictions, metrics = {}, {}
    for split in SPLITS:
        rows = features.rows(split)
        predictions[split] = run.bundle.head.predict(rows)
        metrics[split] = measure(rows.labels, predictions[split], Task(features.index.labels), rows.units)
        progress.advance()
    return predictions, metrics


def _draw(
    folder: Path, index: Index, test: Metrics, probabilities: "NDArray[np.float64]", progress: Progress
) -> None:  # fmt: skip
    from tlcli.reports.run_figures import draw_test  # noqa: PLC0415 - matplotlib takes 1 s to import

    truth = [index.labels.index(image.label) for image in index.of("test")]
    with progress.stage("Drawing figures"):
        draw_test(folder, index.labels, test.confusion_matrix, truth, probabilities)


def _assess(
    run: _Run, features: SplitFeatures, probabilities: "NDArray[np.float64]", progress: Progress
) -> "Assessment":  # fmt: skip
    """Intervals, baselines, calibration, near duplicates and learning curve of the test predictions [N, L]."""
    from tlcli.evaluation.assessment import OutOfDistribution, assess  # noqa: PLC0415 - with matplotlib 2 s to import

    index, reference = features.index, run.bundle.reference
    beyond = (reference.out_of_distribution(features.rows(split)) for split in ("validation", "test"))
    return assess(
        [image for split in SPLITS for image in index.of(split)],
        features.rows(*SPLITS),
        Task(index.labels),
        probabilities,
        kind=run.record.head.fit,
        temperature=run.bundle.head.temperature,
        preparation=features.extractor.decoder.preparation,
        out_of_distribution=OutOfDistribution(reference.limit, *beyond),
        cross_validated=cross_validate_head(
            run.config, features.rows("train", "validation"), run.record.head.C, progress
        ),
        seed=run.config.train.seed,
        progress=progress,
    )


def _report(
    run: _Run, features: SplitFeatures, assessment: "Assessment", test: Metrics,
    probabilities: "NDArray[np.float64]", progress: Progress,
) -> "RunText":  # fmt: skip
    from tlcli.model.predictor import Predictor  # noqa: PLC0415 - see _assess
    from tlcli.reports.gallery import Predictions  # noqa: PLC0415
    from tlcli.reports.run_page import RunReport, write_report  # noqa: PLC0415
    from tlcli.runs.history import read_history  # noqa: PLC0415
    from tlcli.runs.predictions import count_test_evaluations  # noqa: PLC0415

    index, history = features.index, read_history(run.folder / "history.csv")
    report = RunReport(
        run=run.folder,
        record=read_record(run.folder),
        config=(run.folder / "config.yaml").read_text(encoding="utf-8"),
        metrics=test,
        history=history,
        best=history[run.record.head.chosen_step - 1],
        index=index,
        bundle=run.bundle,
        assessment=assessment,
        predictions=Predictions(index.of("test"), features.rows("test").labels, probabilities),
        evaluated_runs=count_test_evaluations(run.folder.parent.parent, run.folder),
    )
    with progress.stage("Writing the report"), closing(features.extractor.open_engine(progress)) as engine:
        return write_report(report, Predictor(run.bundle, engine).explain)
