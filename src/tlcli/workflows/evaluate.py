"""Evaluate: the only command that looks at the test images; completes the run's metrics, predictions and figures."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_head import cross_validate_head
from tlcli.config.load import config_options, load_config
from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.datasets.layout import SPLITS, SplitName
from tlcli.errors import DataError
from tlcli.evaluation.metrics import Metrics, measure
from tlcli.features.pipeline import Extraction
from tlcli.features.rows import Rows
from tlcli.heads.task import Task
from tlcli.model.bundle import Bundle, load_bundle
from tlcli.progress import SILENT, Progress
from tlcli.runs.predictions import write_predictions
from tlcli.runs.records import RunRecord, read_record, skipped_images, write_metrics, write_record
from tlcli.workflows.frozen_pass import FrozenPass, usable
from tlcli.workflows.int8 import open_pass_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.reports.text import RunText


@dataclass(frozen=True)
class Evaluated:
    """What evaluate measured."""

    run_dir: Path
    metrics: dict[SplitName, Metrics]
    fail_under: float | None
    """The limit in the run's config."""
    features: Extraction
    bad: Mapping[str, str]
    """Test images that cannot be read: name to reason."""
    text: "RunText | None"
    """Sentences of the report; None where none was requested."""


def evaluate(run: Path, verify: bool = False, progress: Progress = SILENT) -> Evaluated:
    """Measures the test images of a run.

    Args:
        run: the run's folder.
        verify: read every image for its digest, also those that look as they did before.
        progress: told of the features computed.

    Raises:
        DataError: there are no test images, or the data is not what the run was trained on.
        ModelError: the run or its bundle is broken.
    """
    record = read_record(run)
    bundle = load_bundle(run / "model")
    config = load_config(run / "config.yaml").config
    index = _same_data(config, record, verify)
    frozen = open_pass_for(index, config, progress, bundle.manifest.backbone.quantized)
    bundle.manifest.check_weights(frozen.weights)
    index, extraction = _with_features(index, frozen, config, progress)
    images = [image for split in SPLITS for image in index.of(split)]
    rows, task = frozen.rows(images, index.labels), Task(index.labels)
    predictions: dict[SplitName, NDArray[np.float64]] = {}
    metrics: dict[SplitName, Metrics] = {}
    for split in SPLITS:
        of_split = rows.part(np.flatnonzero([image.split == split for image in images]))
        predictions[split] = bundle.head.predict(of_split)
        metrics[split] = measure(of_split.labels, predictions[split], task, of_split.units)
    record = record.model_copy(update={"skipped_test": skipped_images(index.bad)})
    write_record(run, record)
    write_metrics(run, metrics)
    write_predictions(run, index, predictions)
    if config.evaluate.figures:
        _draw(run / "figures", index, metrics["test"], predictions["test"], progress)
    text = None
    if config.evaluate.report:
        index = replace(index, images=tuple(images))
        text = _report(run, record, config, index, rows, frozen, bundle, metrics, predictions["test"], progress)
    return Evaluated(run, metrics, config.evaluate.fail_under, extraction, index.bad, text)


def _same_data(config: Config, record: RunRecord, verify: bool) -> Index:
    """The data set as the run saw it; another division would let training images into the test."""
    options = config_options(record.config, record.overrides)
    index = dataset_index(config.dataset, options, verify)
    skipped = {item.path for item in record.skipped}
    seen = Index(index.root, index.labels, tuple(p for p in index.images if p.name not in skipped), {}, ())
    if seen.digest() != record.data_digest:
        raise DataError(
            f"The images in {index.root} are not those this run was trained on (files were added, removed or "
            f"changed), so training images might be among the test ones; train again: tlcli train "
            f"{shlex.join(options)}"
        )
    return seen


def _with_features(
    index: Index, frozen: FrozenPass, config: Config, progress: Progress
) -> tuple[Index, Extraction]:  # fmt: skip
    done = frozen.run([(index.images, frozen.views[:1])], progress)
    index = usable(index, done.bad, config.dataset.on_bad_image, config.dataset.max_bad_fraction)
    if not index.of("test"):
        unreadable = f" that can be read (all {len(index.bad)} are broken)" if index.bad else ""
        raise DataError(
            f"This run has no test images{unreadable}; set dataset.split.test above 0 or add a test folder, and train."
        )
    return index, done


def _report(
    run: Path, record: RunRecord, config: Config, index: Index, rows: Rows, frozen: FrozenPass, bundle: Bundle,
    metrics: dict[SplitName, Metrics], probabilities: "NDArray[np.float64]", progress: Progress,
) -> "RunText":  # fmt: skip
    from tlcli.evaluation.assessment import OutOfDistribution, assess  # noqa: PLC0415 - with matplotlib 2 s to import
    from tlcli.reports.gallery import Predictions  # noqa: PLC0415
    from tlcli.reports.run_page import RunReport, write_report  # noqa: PLC0415
    from tlcli.runs.history import read_history  # noqa: PLC0415
    from tlcli.runs.predictions import count_test_evaluations  # noqa: PLC0415

    training, validation, test = (
        rows.part(np.flatnonzero([image.split == split for image in index.images])) for split in SPLITS
    )
    reference = bundle.reference
    known = rows.part(np.arange(len(training) + len(validation)))
    found = assess(
        index.images, rows, Task(index.labels), probabilities,
        kind=record.head.fit, temperature=bundle.head.temperature, preparation=frozen.preparation,
        out_of_distribution=OutOfDistribution(
            reference.limit, reference.out_of_distribution(validation), reference.out_of_distribution(test)
        ),
        cross_validated=cross_validate_head(config, known, record.head.C, progress),
        seed=config.train.seed, progress=progress,
    )  # fmt: skip
    history = read_history(run / "history.csv")
    with progress.stage("Writing the report"):
        report = RunReport(
            run=run,
            record=record,
            config=(run / "config.yaml").read_text(encoding="utf-8"),
            metrics=metrics["test"],
            history=history,
            best=history[record.head.chosen_step - 1],
            index=index,
            bundle=bundle,
            assessment=found,
            predictions=Predictions(index.of("test"), test.labels, probabilities),
            evaluated_runs=count_test_evaluations(run.parent.parent, run),
        )
        return write_report(report, lambda: frozen.opened(progress))


def _draw(
    folder: Path, index: Index, test: Metrics, probabilities: "NDArray[np.float64]", progress: Progress
) -> None:  # fmt: skip
    from tlcli.reports.run_figures import draw_test  # noqa: PLC0415 - matplotlib takes 1 s to import

    truth = [index.labels.index(image.label) for image in index.of("test")]
    with progress.stage("Drawing figures"):
        draw_test(folder, index.labels, test.confusion_matrix, truth, probabilities)
