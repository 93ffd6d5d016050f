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

from tlcli.config.build_dataset import dataset_folder, dataset_index, read_index, read_test_set
from tlcli.config.build_features import feature_extractor
from tlcli.config.build_head import cross_validate_head
from tlcli.config.load import config_options, load_config
from tlcli.config.schema import Config
from tlcli.datasets.digests import digests_of
from tlcli.datasets.index import Index, LabelledImage
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
from tlcli.runs.external import ExternalResult, LeakCheck, TrainingDuplicate, external_name, write_external
from tlcli.runs.images import RecordedImage, difference, read_images
from tlcli.runs.predictions import write_predictions
from tlcli.runs.records import RunRecord, read_metrics, read_record, skipped_images, write_metrics, write_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.evaluation.assessment import Assessment
    from tlcli.reports.text import RunText


@dataclass(frozen=True)
class Evaluated:
    """A run that was measured: on its test images, or on an external test set."""

    run_dir: Path
    metrics: dict[SplitName, Metrics]
    """Of all splits that were measured so far."""
    fail_under: float | None
    """The least test accuracy that the run's config asks for."""
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


def evaluate(
    run: Path, verify: bool = False, progress: Progress = SILENT, data: Path | None = None
) -> Evaluated:  # fmt: skip
    """Measures the test images of a run, or another labelled folder.

    Args:
        run: the run's directory.
        verify: read every image for its digest, also images that look unchanged.
        progress: receives the stages.
        data: a labelled folder. Where its images are the run's own (same content, classes and splits), which have
            moved, the run is measured on its test images there; else all its images are an external test set.

    Raises:
        DataError: there are no test images, the data is not what the run was trained on, or the folder has a class that
            the run does not know.
        ModelError: the run or its bundle is damaged.
    """
    opened = _Run.open(run)
    recorded = read_images(run, opened.record.data_digest)
    if data is None:
        index = _same_data(opened, recorded, verify)
    else:
        moved = _moved_data(opened, data, verify)
        if moved is None:
            return _evaluate_external(opened, recorded, data, verify, progress)
        index = moved
        progress.note(f"{data} has the run's own images, which have moved: measuring the test images there.")
    if renamed := _renamed(recorded, index, progress):
        opened = _with_present_names(opened, recorded, index)
    return replace(_evaluate_test(opened, index, progress), renamed=renamed)


def _evaluate_test(opened: _Run, index: Index, progress: Progress) -> Evaluated:
    run, options = opened.folder, config_options(opened.record.config, opened.record.overrides)
    extractor = feature_extractor(index, opened.config, progress, opened.bundle.manifest.backbone.quantized)
    opened.bundle.manifest.check_weights(extractor.spec.weights)
    skipping = ["--set", "dataset.on_bad_image=skip", "--set", "dataset.max_bad_fraction=1"]
    again = f"Restore them. To leave them out, train again: {shlex.join(['tlcli', 'train', *options, *skipping])}"
    index, extraction = _extract(index, extractor, opened.config, again, progress)
    if not index.of("test"):
        readable = "no readable test images" if index.bad else "no test images"
        raise DataError(
            "data.no_test_images",
            f"This run has {readable}.",
            "Measure it on other labelled images with --data FOLDER; or set dataset.split.test above 0 or add a test "
            "folder, and train again.",
        )
    features = SplitFeatures(index, extractor)
    with progress.stage("Measuring the head", len(SPLITS), "splits"):
        predictions, metrics = _measured(opened, features, progress)
    update = {"skipped_test": skipped_images(index.bad), "data_root": str(index.root.absolute())}
    write_record(run, opened.record.model_copy(update=update))
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


def _same_data(run: _Run, recorded: Sequence[RecordedImage], verify: bool) -> Index:
    """The data set as the run saw it; with other splits, training images could be among the test images."""
    record, dataset = run.record, run.config.dataset
    options = config_options(record.config, record.overrides)
    elsewhere = shlex.join(["tlcli", "evaluate", "--run", str(run.folder), "--data", "FOLDER"])
    again = f"Train again: {shlex.join(['tlcli', 'train', *options])}"
    if dataset_folder(dataset)[0] is None:
        dataset_index(dataset, options, verify, f"If they are in another place now, run: {elsewhere}")
    try:
        index = _as_trained(run, dataset_index(dataset, options, verify))
    except DataError as error:
        raise DataError(
            "data.changed_since_training",
            f"The images of this run cannot be read as they were when it was trained, so they have changed: "
            f"{error.message}",
            f"Restore them; or, if they are in another place now, run: {elsewhere}",
        ) from error
    if index.digest() != record.data_digest:
        raise DataError(
            "data.changed_since_training",
            f"The images in {index.root} are not those that this run was trained on, so that training images could be "
            f"among the test images: {difference(recorded, index.images)}.",
            f"If the run's images are in another place, or to measure the run on these as they are, add --data FOLDER. "
            f"{again}",
        )
    return index


def _renamed(recorded: Sequence[RecordedImage], index: Index, progress: Progress) -> int:
    """How many images have other names than when the run was trained, which is noted."""
    renamed = difference(recorded, index.images).renamed
    if renamed:
        progress.note(
            f"{len(renamed):,} images have other names than when this run was trained, with the same content, class "
            f"and split, for example {renamed[0]}."
        )
    return len(renamed)


def _with_present_names(run: _Run, recorded: Sequence[RecordedImage], index: Index) -> _Run:
    """The run, its reference images named as they are now: under an old name there may be another image."""
    contents = {one.path: one.sha256 for one in recorded}
    names = {image.sha256: image.name for image in index.of("train")}
    reference = run.bundle.reference
    present = tuple(names.get(contents.get(name, ""), name) for name in reference.names)
    return replace(run, bundle=replace(run.bundle, reference=replace(reference, names=present)))


def _as_trained(run: _Run, index: Index) -> Index:
    """The index without the images that training left out as unreadable, whatever they are called now."""
    names, contents = {item.path for item in run.record.skipped}, set(run.record.skipped_sha256)
    images = tuple(p for p in index.images if p.name not in names and p.sha256 not in contents)
    return Index(index.root, index.labels, images, {}, ())


def _moved_data(run: _Run, data: Path, verify: bool) -> Index | None:
    """The run's own images where ``data`` has them, in the same classes and splits; else None."""
    try:
        index = _as_trained(run, read_index(data, run.config.dataset, verify=verify))
    except (DataError, OSError):  # what is wrong with it is said when it is read as a test set
        return None
    return index if index.digest() == run.record.data_digest else None


def _evaluate_external(
    run: _Run, recorded: Sequence[RecordedImage], data: Path, verify: bool, progress: Progress
) -> Evaluated:
    """Measures all images of a folder that are not the run's own; see :class:`ExternalResult`."""
    from tlcli.evaluation.resampled_intervals import metric_intervals  # noqa: PLC0415 - SciPy

    index = read_test_set(data, run.config.dataset, run.bundle.labels, verify)
    progress.note(f"{data} is an external test set: its images are not those that this run was trained and tested on.")
    for note in index.notes:
        progress.note(note)
    training = _readable(run, recorded)
    calibrating = replace(index, images=(*index.images, *training))  # a quantised graph may have to be made again
    extractor = feature_extractor(calibrating, run.config, progress, run.bundle.manifest.backbone.quantized)
    run.bundle.manifest.check_weights(extractor.spec.weights)
    index, extraction = _extract(index, extractor, run.config, f"Fix them, or remove them from {data}.", progress)
    rows, task = extractor.rows(index.images, index.labels), Task(index.labels)
    probabilities = run.bundle.head.predict(rows)
    contents = {split: {one.sha256 for one in recorded if one.split == split} for split in SPLITS}
    with progress.stage("Computing confidence intervals"):
        intervals = metric_intervals(rows.labels, probabilities, task, rows.units)
    root = index.root.resolve()
    result = ExternalResult(
        name=external_name(run.folder, root),
        data_root=str(root),
        data_digest=index.digest(),
        measured=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        metrics=measure(rows.labels, probabilities, task, rows.units),
        intervals=intervals,
        leaks=_leaks(run, recorded, training, index, extractor, probabilities, progress),
        same_as={
            split: count
            for split in ("validation", "test")
            if (count := sum(image.sha256 in contents[split] for image in index.images))
        },
        out_of_distribution=run.bundle.reference.out_of_distribution(rows),
        notes=index.notes,
        skipped=dict(index.bad),
    )
    folder = write_external(run.folder, result, index, probabilities)
    _update_report(run.folder)
    return Evaluated(run.folder, read_metrics(run.folder), None, extraction, index.bad, None, result, folder)


def _update_report(run: Path) -> None:
    from tlcli.reports.external import update_report  # noqa: PLC0415 - with matplotlib

    update_report(run)


def _leaks(
    run: _Run, recorded: Sequence[RecordedImage], readable: Sequence[LabelledImage], index: Index,
    extractor: FeatureExtractor, probabilities: "NDArray[np.float64]", progress: Progress,
) -> LeakCheck:  # fmt: skip
    """Duplicates of training images: exact ones by digest; near ones by the training images where these are readable,
    else by the features that the model carries."""
    from tlcli.evaluation.assessment import (  # noqa: PLC0415 - see _assess
        DuplicatePair,
        train_test_duplicates,
        without_duplicates,
    )  # fmt: skip

    images, training = index.images, [one for one in recorded if one.split == "train"]
    rows = extractor.rows(images, index.labels)
    correct = probabilities.argmax(axis=1) == rows.labels
    bad = extractor.extract([(readable, extractor.views[:1])], progress).bad if readable else {}
    there = [one for one in readable if one.sha256 not in bad]
    names = {one.sha256: one.path for one in training}
    pairs = {one.name: DuplicatePair(one.name, names[one.sha256], "exact") for one in images if one.sha256 in names}
    suspected: list[TrainingDuplicate] = []
    if there:
        both = (*images, *there)
        confirmed = train_test_duplicates(
            both, extractor.rows(both, index.labels), extractor.decoder.preparation, correct, progress
        )
        for pair in confirmed.pairs:
            pairs.setdefault(pair.test, pair)
    else:
        numbers = run.bundle.reference.versions(rows.features())
        suspected = [
            TrainingDuplicate(one.name, run.bundle.reference.names[number], "suspected")
            for one, number in zip(images, numbers, strict=True)
            if number >= 0 and one.name not in pairs
        ]
    found = without_duplicates(list(pairs.values()), [one.name for one in images], correct, rows.units)
    return LeakCheck(
        pairs=(*(TrainingDuplicate(pair.test, pair.train, pair.kind) for pair in found.pairs), *suspected),
        near_by="images" if there else "features",
        compared=len(there) if there else len(run.bundle.reference.names),
        trained=len(training),
        n_without=found.n_without,
        accuracy_without=found.accuracy_without,
        accuracy_without_ci95=found.accuracy_without_ci95,
    )


def _readable(run: _Run, recorded: Sequence[RecordedImage]) -> list[LabelledImage]:
    """The training images that are still where they were, with the same content."""
    root, training = Path(run.record.data_root), [one for one in recorded if one.split == "train"]
    digests = digests_of({root / one.path: None for one in training if (root / one.path).is_file()}).of
    return [
        LabelledImage(root / one.path, one.path, one.sha256, one.label, "train", one.sha256)
        for one in training
        if digests.get(root / one.path) == one.sha256
    ]


def _extract(
    index: Index, extractor: FeatureExtractor, config: Config, if_unreadable: str, progress: Progress
) -> tuple[Index, Extraction]:
    """Extracts all images; where too many are unreadable, the hint says what to do instead of setting a config key."""
    done = extractor.extract([(index.images, extractor.views[:1])], progress)
    try:
        index = drop_unreadable(index, done.bad, config.dataset.on_bad_image, config.dataset.max_bad_fraction)
    except DataError as error:
        if error.code != "data.unreadable_images":
            raise
        raise DataError("data.unreadable_images", error.message, if_unreadable) from error
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
        has_figures=run.config.evaluate.figures,
    )
    with progress.stage("Writing the report"), closing(features.extractor.open_engine(progress)) as engine:
        return write_report(report, Predictor(run.bundle, engine).explain)
