"""Evaluate: the only command that looks at the test images; completes the run's metrics, predictions and figures."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.config.load import load_config, options_of
from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.datasets.layout import SPLITS, SplitName
from tlcli.errors import DataError
from tlcli.features.pipeline import Extraction
from tlcli.model.bundle import Bundle, load_bundle
from tlcli.progress import SILENT, Progress
from tlcli.runs import folders as runs
from tlcli.runs.records import Record, RunRecord, read_part
from tlcli.workflows.dataset import indexed
from tlcli.workflows.frozen_pass import FrozenPass, usable
from tlcli.workflows.int8 import open_pass_for
from tlcli.workflows.measure import measured, predict_split, write_predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.reports.text import RunText


@dataclass(frozen=True)
class Evaluated:
    """What evaluate measured."""

    run_dir: Path
    metrics: dict[SplitName, dict[str, Any]]
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
    record, checked = runs.read_json(run / "run.json"), read_part(Record, run / "run.json")
    bundle = load_bundle(run / "model")
    config = load_config(run / "config.yaml").config
    index = _same_data(config, checked, verify)
    frozen = open_pass_for(index, config, progress, bundle.manifest.backbone.quantized)
    bundle.manifest.check_weights(frozen.weights)
    index, extraction = _with_features(index, frozen, config, progress)
    predictions = {split: predict_split(index, split, frozen, bundle.head) for split in SPLITS}
    metrics = {split: measured(index, split, rows) for split, rows in predictions.items()}
    runs.write_json(run / "run.json", {**record, "skipped_test": runs.reasons(index.bad)})
    runs.write_json(run / "metrics.json", metrics)
    write_predictions(run, index, predictions)
    if config.evaluate.figures:
        _draw(run / "figures", index, metrics["test"], predictions["test"], progress)
    text = None
    if config.evaluate.report:
        text = _report(run, config, index, frozen, bundle, metrics, predictions["test"], progress)
    return Evaluated(run, metrics, config.evaluate.fail_under, extraction, index.bad, text)


def _same_data(config: Config, record: Record, verify: bool) -> Index:
    """The data set as the run saw it; another division would let training images into the test."""
    options = options_of(record.config, record.overrides)
    index = indexed(config.dataset, options, verify)
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
    run: Path, config: Config, index: Index, frozen: FrozenPass, bundle: Bundle,
    metrics: dict[SplitName, dict[str, Any]], probabilities: "NDArray[np.float64]", progress: Progress,
) -> "RunText":  # fmt: skip
    import numpy as np  # noqa: PLC0415

    from tlcli.evaluation.metrics import Metrics  # noqa: PLC0415
    from tlcli.reports.gallery import Predictions  # noqa: PLC0415
    from tlcli.reports.run_page import RunReport, write_report  # noqa: PLC0415
    from tlcli.runs.history import read_history  # noqa: PLC0415
    from tlcli.runs.predictions import looks_at_test  # noqa: PLC0415
    from tlcli.workflows.assess import assess  # noqa: PLC0415 - with matplotlib 2 s to import

    record, test = read_part(RunRecord, run / "run.json"), index.of("test")
    found = assess(index, frozen, bundle, config, record.head.strength, probabilities, progress)
    truth = np.array([index.labels.index(image.label) for image in test])
    history = read_history(run / "history.csv")
    with progress.stage("Writing the report"):
        report = RunReport(
            run=run,
            record=record,
            config=(run / "config.yaml").read_text(encoding="utf-8"),
            metrics=Metrics.of(metrics["test"]),
            history=history,
            best=history[record.head.chosen_step - 1],
            index=index,
            bundle=bundle,
            assessment=found,
            predictions=Predictions(test, truth, probabilities),
            evaluated_runs=looks_at_test(run.parent.parent, run),
        )
        return write_report(report, lambda: frozen.opened(progress))


def _draw(
    folder: Path, index: Index, test: dict[str, Any], probabilities: "NDArray[np.float64]", progress: Progress
) -> None:  # fmt: skip
    from tlcli.reports.run_figures import draw_test  # noqa: PLC0415 - matplotlib takes 1 s to import

    truth = [index.labels.index(image.label) for image in index.of("test")]
    with progress.stage("Drawing figures"):
        draw_test(folder, index.labels, test["confusion_matrix"], truth, probabilities)
