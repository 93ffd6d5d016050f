"""Evaluate: the only command that measures test images; completes a run's metrics, predictions and report.

Those of the run's own data set, or, with another folder, an external test set, whose results are kept beside them.
"""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlcli.config.build_dataset import read_test_set
from tlcli.config.build_features import feature_extractor
from tlcli.config.build_run import (
    OpenedRun,
    count_renamed,
    data_of,
    moved_data,
    readable_training_images,
    with_present_names,
)
from tlcli.config.load import config_options
from tlcli.config.schema import Config, Evaluate
from tlcli.datasets.index import Index
from tlcli.datasets.split_names import SPLITS, SplitName
from tlcli.datasets.unreadable import drop_unreadable
from tlcli.errors import DataError, ModelError
from tlcli.evaluation.cross_validation import CrossValidation
from tlcli.evaluation.gates import Gate, GateResult, check_classes, check_gates, merged
from tlcli.evaluation.labelled_predictions import Predictions
from tlcli.evaluation.split_metrics import Metrics, measure
from tlcli.evaluation.thresholds import decided
from tlcli.evaluation.transfer_gap import NoTransfer, TransferGap
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.pipeline import Extraction
from tlcli.features.split_features import SplitFeatures
from tlcli.heads.fit_record import WITH_FOLDS
from tlcli.heads.task import Task
from tlcli.model.leak_check import check_leaks
from tlcli.progress import SILENT, Progress
from tlcli.runs.cross_validation import OUT_OF_FOLD, read_cross_validation, read_out_of_fold
from tlcli.runs.external import ExternalResult, external_name, write_external
from tlcli.runs.images import RecordedImage, read_images
from tlcli.runs.predictions import write_predictions
from tlcli.runs.records import Filtered, read_metrics, read_record, skipped_images, write_metrics, write_record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.evaluation.assessment import Assessment, Unseen
    from tlcli.reports.text import RunText


@dataclass(frozen=True)
class Evaluated:
    """A run that was measured: on its test images, or on an external test set."""

    run_dir: Path
    metrics: dict[SplitName, Metrics]
    """Of all splits that were measured so far."""
    gates: tuple[GateResult, ...]
    """What became of the limits: those given, and for the run's own test images those of evaluate.fail_under."""
    features: Extraction
    bad: Mapping[str, str]
    """Unreadable images: name to reason."""
    text: "RunText | None" = None
    """Sentences of the report; None where none was requested."""
    external: ExternalResult | None = None
    """Of the folder given, where its images are not the run's own."""
    results: Path | None = None
    """Where the external result is."""
    renamed: int = 0
    """Images of the run that have other names than when it was trained."""
    cross_validation: CrossValidation | None = None
    """By train; None where the run has none."""
    out_of_fold: Metrics | None = None
    """Of a run without test images: of its training and validation images, by cross-validation."""
    filtered: Filtered | None = None
    """Images that decisions left out or relabelled; None of older runs, and of external test sets."""
    transfer: TransferGap | None = None
    """Whether pretraining helps; None where it was not measured, and of external test sets."""
    no_transfer: NoTransfer | None = None
    """Why it was not measured."""


def evaluate(
    run: Path, verify: bool = False, progress: Progress = SILENT, data: Path | None = None,
    fail_under: Sequence[Gate] = (), section: Evaluate | None = None,
) -> Evaluated:  # fmt: skip
    """Measures the test images of a run, or another labelled folder.

    Args:
        run: the run's directory.
        verify: read every image for its digest, also images that look unchanged.
        progress: receives the stages.
        data: a labelled folder. Where its images are the run's own (same content, classes and splits), which have
            moved, the run is measured on its test images there; else all its images are an external test set.
        fail_under: limits that the metrics must reach; of one name, they replace those of evaluate.fail_under.
        section: what to measure and write, instead of what the run's config says.

    Raises:
        DataError: there are no test images, the data is not what the run was trained on, or the folder has a class that
            the run does not know.
        ModelError: the run or its bundle is damaged.
        UsageError: the class of a limit does not exist.
    """
    opened = OpenedRun.open(run)
    if section is not None:
        opened = replace(opened, config=opened.config.model_copy(update={"evaluate": section}))
    gates = merged(opened.config.evaluate.gates, fail_under)
    check_classes(gates, opened.bundle.labels)
    recorded = read_images(run, opened.record.data_digest)
    if data is None:
        index = data_of(opened, recorded, verify)
    else:
        moved = moved_data(opened, data, verify)
        if moved is None:
            return _evaluate_external(opened, recorded, data, verify, fail_under, progress)
        index = moved
        progress.note(f"{data} has the run's own images, which have moved: measuring the test images there.")
    if renamed := count_renamed(recorded, index, progress):
        opened = with_present_names(opened, recorded, index)
    return replace(_evaluate_test(opened, index, gates, progress), renamed=renamed)


def _evaluate_test(opened: OpenedRun, index: Index, gates: Sequence[Gate], progress: Progress) -> Evaluated:
    run, options = opened.folder, config_options(opened.record.config, opened.record.overrides)
    extractor = feature_extractor(
        index, opened.config, progress, opened.bundle.manifest.backbone.quantized, opened.bundle.tail
    )
    opened.bundle.manifest.check_weights(extractor.spec.weights)
    skipping = ["--set", "dataset.on_bad_image=skip", "--set", "dataset.max_bad_fraction=1"]
    again = f"Restore them. To leave them out, train again: {shlex.join(['tlcli', 'train', *options, *skipping])}"
    index, extraction = _extract(index, extractor, opened.config, again, progress)
    has_test = any(opened.record.images.get("test", {}).values())  # that none is readable now is an error
    validated = None if has_test else read_cross_validation(run)
    if validated and validated.is_own_head and (run / OUT_OF_FOLD).is_file():
        return _evaluate_out_of_fold(opened, index, extractor, extraction, gates, validated, progress)
    if not index.of("test"):
        readable = "no readable test images" if index.bad else "no test images"
        why, instead = ".", "; or train with evaluate.cross_validation, which measures without test images"
        if validated and not validated.is_own_head:
            why = ", and its cross-validation is of logistic regression on the features of the frozen network."
            instead = ""
        raise DataError(
            "data.no_test_images",
            f"This run has {readable}{why}",
            "Measure it on other labelled images with --data FOLDER; or set dataset.split.test above 0 or add a test "
            f"folder, and train again{instead}.",
        )
    as_trained, index = index, index.as_given()
    features = SplitFeatures(index, extractor)
    with progress.stage("Measuring the head", len(SPLITS), "splits"):
        predictions, metrics = _measured(opened, features, progress)
    update = {"skipped_test": skipped_images(index.bad), "data_root": str(index.root.absolute())}
    write_record(run, opened.record.model_copy(update=update))
    with progress.stage("Writing metrics and predictions"):
        write_metrics(run, metrics)
        write_predictions(run, index, predictions, opened.bundle.thresholds)
    tested = Predictions(
        index.of("test"), features.rows("test").labels, predictions["test"],
        decided(predictions["test"], opened.bundle.thresholds),
    )  # fmt: skip
    if opened.config.evaluate.figures:
        _draw(run / "figures", index, metrics["test"], tested, _out_of_fold(opened, index), progress)
    transfer, no_transfer = _transfer(opened, as_trained, extractor, metrics, progress)
    text = None
    if opened.config.evaluate.report:
        assessment = _assess(opened, features, predictions, progress)
        assessment = replace(assessment, transfer=transfer, no_transfer=no_transfer)
        text = _report(opened, features, assessment, metrics["test"], tested, progress)
    test, task = features.rows("test"), Task(index.labels)
    results = check_gates(
        gates, metrics["test"], test.labels, predictions["test"], task, test.units, tested.predicted
    )  # fmt: skip
    return Evaluated(
        run, metrics, results, extraction, index.bad, text, cross_validation=read_cross_validation(run),
        filtered=opened.record.filtered, transfer=transfer, no_transfer=no_transfer,
    )  # fmt: skip


def _evaluate_external(
    run: OpenedRun, recorded: Sequence[RecordedImage], data: Path, verify: bool, gates: Sequence[Gate],
    progress: Progress,
) -> Evaluated:  # fmt: skip
    """Measures all images of a folder that are not the run's own; see :class:`ExternalResult`."""
    from tlcli.evaluation.resampled_intervals import metric_intervals  # noqa: PLC0415 - SciPy

    index = read_test_set(data, run.config.dataset, run.bundle.labels, verify)
    progress.note(
        f"{data} is measured as an external test set, as it is not the data set of this run as it was in training."
    )
    for note in index.notes:
        progress.note(note)
    training = readable_training_images(run, recorded)
    calibrating = replace(index, images=(*index.images, *training))  # a quantised graph may have to be made again
    extractor = feature_extractor(
        calibrating, run.config, progress, run.bundle.manifest.backbone.quantized, run.bundle.tail
    )
    run.bundle.manifest.check_weights(extractor.spec.weights)
    index, extraction = _extract(index, extractor, run.config, f"Fix them, or remove them from {data}.", progress)
    rows, task = extractor.rows(index.images, index.labels), Task(index.labels)
    probabilities = run.bundle.head.predict(rows)
    predicted = decided(probabilities, run.bundle.thresholds)
    contents = {split: {one.sha256 for one in recorded if one.split == split} for split in SPLITS}
    with progress.stage("Computing confidence intervals"):
        intervals = metric_intervals(rows.labels, probabilities, task, rows.units, predicted=predicted)
    root = index.root.resolve()
    result = ExternalResult(
        name=external_name(run.folder, root),
        data_root=str(root),
        data_digest=index.digest(),
        measured=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        metrics=measure(rows.labels, probabilities, task, rows.units, predicted),
        intervals=intervals,
        leaks=check_leaks(index, predicted, run.bundle.reference, recorded, training, extractor, progress),
        same_as={
            split: count
            for split in ("validation", "test")
            if (count := sum(image.sha256 in contents[split] for image in index.images))
        },
        out_of_distribution=run.bundle.reference.out_of_distribution(
            extractor.rows(index.images, index.labels, blocks=extractor.last)
        ),
        notes=index.notes,
        skipped=dict(index.bad),
    )
    folder = write_external(run.folder, result, index, probabilities, run.bundle.thresholds)
    _update_report(run.folder)
    results = check_gates(gates, result.metrics, rows.labels, probabilities, task, rows.units, predicted)
    return Evaluated(run.folder, read_metrics(run.folder), results, extraction, index.bad, None, result, folder)


def _update_report(run: Path) -> None:
    from tlcli.reports.external import update_report  # noqa: PLC0415 - with matplotlib

    update_report(run)


def _extract(
    index: Index, extractor: FeatureExtractor, config: Config, if_unreadable: str, progress: Progress
) -> tuple[Index, Extraction]:
    """Extracts all images; where too many are unreadable, the hint says what to do instead of setting a config key."""
    done = extractor.extract([((*index.images, *index.set_aside), extractor.views[:1])], progress)
    try:
        index = drop_unreadable(index, done.bad, config.dataset.on_bad_image, config.dataset.max_bad_fraction)
    except DataError as error:
        if error.code != "data.unreadable_images":
            raise
        raise DataError("data.unreadable_images", error.message, if_unreadable) from error
    return index, done


def _measured(
    run: OpenedRun, features: SplitFeatures, progress: Progress
) -> "tuple[dict[SplitName, NDArray[np.float64]], dict[SplitName, Metrics]]":
    """Probabilities [N, L] and metrics of every split."""
    predictions, metrics = {}, {}
    for split in SPLITS:
        rows = features.rows(split)
        predictions[split] = run.bundle.head.predict(rows)
        predicted = decided(predictions[split], run.bundle.thresholds)
        metrics[split] = measure(rows.labels, predictions[split], Task(features.index.labels), rows.units, predicted)
        progress.advance()
    return predictions, metrics


def _transfer(
    opened: OpenedRun, index: Index, extractor: FeatureExtractor, metrics: Mapping[SplitName, Metrics],
    progress: Progress,
) -> tuple[TransferGap | None, NoTransfer | None]:  # fmt: skip
    """Whether pretraining helps, added to metrics.json; or why that is not measured.

    It is part of evaluate, not of train, which people repeat while they try settings: all that it needs, the images and
    their features, is here again.
    """
    from tlcli.config.build_transfer import measure_transfer  # noqa: PLC0415 - SciPy

    if opened.bundle.tail:  # of the pretrained network: its fine-tuned last blocks have seen the images of all folds
        extractor = feature_extractor(index, opened.config)
    found = measure_transfer(opened.config, index, extractor, progress)
    if not isinstance(found, TransferGap):
        return None, found
    write_metrics(opened.folder, metrics, found)
    return found, None


def _draw(
    folder: Path, index: Index, test: Metrics, tested: Predictions, out_of_fold: Predictions | None,
    progress: Progress,
) -> None:  # fmt: skip
    from tlcli.reports.run_figures import draw_test  # noqa: PLC0415 - matplotlib takes 1 s to import

    with progress.stage("Drawing figures"):
        draw_test(folder, index.labels, test.confusion_matrix, tested, out_of_fold)


def _evaluate_out_of_fold(
    opened: OpenedRun, index: Index, extractor: FeatureExtractor, extraction: Extraction, gates: Sequence[Gate],
    cross_validation: CrossValidation, progress: Progress,
) -> Evaluated:  # fmt: skip
    """Reports a run without test images by what cross-validation of its head in train found."""
    from tlcli.evaluation.assessment import OutOfDistribution, assess_out_of_fold  # noqa: PLC0415 - see _assess

    as_trained, index = index, index.as_given()
    run, features, reference = opened.folder, SplitFeatures(index, extractor), opened.bundle.reference
    found, predicted = _unseen(opened, features, {}), _out_of_fold(opened, index)
    if predicted is None:
        raise ModelError("model.run_unreadable", f"{run} has no predictions of cross-validation.", "Train again.")
    rows, task = extractor.rows(predicted.images, index.labels), Task(index.labels)
    metrics = measure(found.labels, found.probabilities, task, rows.units, found.predicted)
    metrics = replace(
        metrics, accuracy=cross_validation.accuracy, accuracy_ci95=cross_validation.accuracy_ci95
    )  # of all repeats, as the interval is
    write_record(run, opened.record.model_copy(update={"data_root": str(index.root.absolute())}))
    transfer, no_transfer = _transfer(opened, as_trained, extractor, read_metrics(run), progress)
    text = None
    if opened.config.evaluate.report:
        beyond = reference.out_of_distribution(features.of_last_layer().rows("validation"))
        assessment = assess_out_of_fold(
            rows, task, found,
            temperature=opened.bundle.head.temperature,
            out_of_distribution=OutOfDistribution(reference.limit, beyond, None),
            cross_validation=cross_validation,
            training=len(index.of("train")),
            progress=progress,
        )  # fmt: skip
        assessment = replace(assessment, transfer=transfer, no_transfer=no_transfer)
        text = _report(opened, features, assessment, metrics, predicted, progress)
    results = check_gates(gates, metrics, found.labels, found.probabilities, task, rows.units, found.predicted)
    return Evaluated(
        run, read_metrics(run), results, extraction, index.bad, text, out_of_fold=metrics,
        cross_validation=cross_validation, filtered=opened.record.filtered, transfer=transfer, no_transfer=no_transfer,
    )  # fmt: skip


def _out_of_fold(run: OpenedRun, index: Index) -> "Predictions | None":
    """What cross-validation predicted of the images that are here; None without cross-validation."""
    if (found := read_out_of_fold(run.folder, index.labels)) is None:
        return None
    by_content = {image.sha256: image for image in index.images if image.split != "test"}
    here = np.flatnonzero([sha256 in by_content for sha256 in found.sha256])
    images = [by_content[found.sha256[number]] for number in here]
    return Predictions(images, found.labels[here], found.probabilities[here], found.predicted[here])


def _unseen(
    run: OpenedRun, features: SplitFeatures, predictions: "Mapping[SplitName, NDArray[np.float64]]"
) -> "Unseen":  # fmt: skip
    """Images that the head was not fitted on and that are no test images."""
    from tlcli.evaluation.assessment import Unseen  # noqa: PLC0415 - see _assess

    is_own = run.record.head.fit in WITH_FOLDS
    if (is_own or not predictions) and (found := _out_of_fold(run, features.index)):
        return Unseen("out_of_fold", found.truth, found.probabilities, found.predicted)
    answers = decided(predictions["validation"], run.bundle.thresholds)
    return Unseen("validation", features.rows("validation").labels, predictions["validation"], answers)


def _assess(
    run: OpenedRun, features: SplitFeatures, predictions: "Mapping[SplitName, NDArray[np.float64]]", progress: Progress
) -> "Assessment":
    """Intervals, baselines, calibration, near duplicates and learning curve of the test predictions [N, L]."""
    from tlcli.evaluation.assessment import OutOfDistribution, assess  # noqa: PLC0415 - with matplotlib 2 s to import

    index, reference, of_last_layer = features.index, run.bundle.reference, features.of_last_layer()
    beyond = (reference.out_of_distribution(of_last_layer.rows(split)) for split in ("validation", "test"))
    return assess(
        [image for split in SPLITS for image in index.of(split)],
        of_last_layer.rows(*SPLITS),
        Task(index.labels),
        predictions["test"],
        decided(predictions["test"], run.bundle.thresholds),
        kind=run.record.head.fit,
        temperature=run.bundle.head.temperature,
        preparation=features.extractor.decoder.preparation,
        features=features.extractor.store.key,
        out_of_distribution=OutOfDistribution(reference.limit, *beyond),
        cross_validation=read_cross_validation(run.folder),
        unseen=_unseen(run, features, predictions),
        seed=run.config.train.seed,
        progress=progress,
    )


def _report(
    run: OpenedRun, features: SplitFeatures, assessment: "Assessment", measured: Metrics, predictions: "Predictions",
    progress: Progress,
) -> "RunText":  # fmt: skip
    from tlcli.model.predictor import Predictor  # noqa: PLC0415 - see _assess
    from tlcli.reports.run_page import RunReport, write_report  # noqa: PLC0415
    from tlcli.runs.history import read_history  # noqa: PLC0415
    from tlcli.runs.predictions import count_test_evaluations  # noqa: PLC0415

    index, history = features.index, read_history(run.folder / "history.csv")
    report = RunReport(
        run=run.folder,
        record=read_record(run.folder),
        config=(run.folder / "config.yaml").read_text(encoding="utf-8"),
        metrics=measured,
        history=history,
        best=history[max(run.record.head.chosen_step, 1) - 1],
        index=index,
        bundle=run.bundle,
        assessment=assessment,
        predictions=predictions,
        out_of_fold=_out_of_fold(run, index),
        # A run of --output is in no directory of runs: what is two levels above has nothing to do with it.
        evaluated_runs=count_test_evaluations(
            run.folder if run.record.output else run.folder.parent.parent, run.folder
        ),
        has_figures=run.config.evaluate.figures,
    )
    with progress.stage("Writing the report"), closing(features.extractor.open_engine(progress)) as engine:
        return write_report(report, Predictor(run.bundle, engine).explain)
