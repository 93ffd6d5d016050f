"""Evaluate: the only command that looks at the test images; completes the run's metrics, predictions and figures."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.config.build_features import feature_extractor
from tlcli.config.load import load_config, options_of
from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.datasets.layout import SPLITS, SplitName
from tlcli.datasets.unreadable import drop_unreadable
from tlcli.errors import DataError
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.pipeline import Extraction
from tlcli.model.bundle import Bundle, load_bundle
from tlcli.progress import SILENT, Progress
from tlcli.runs import folders as runs
from tlcli.runs.records import Record, read_part
from tlcli.workflows.dataset import indexed
from tlcli.workflows.measure import measured, predict_split, write_predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
    words: Mapping[str, str]
    """Sentences of the report; empty where none was asked for."""


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
    frozen = feature_extractor(index, config, progress, bundle.manifest.backbone.quantized)
    bundle.manifest.check_weights(frozen.spec.weights)
    index, extraction = _with_features(index, frozen, config, progress)
    predictions = {split: predict_split(index, split, frozen, bundle.head) for split in SPLITS}
    metrics = {split: measured(index, split, rows) for split, rows in predictions.items()}
    runs.write_json(run / "run.json", {**record, "skipped_test": runs.reasons(index.bad)})
    runs.write_json(run / "metrics.json", metrics)
    write_predictions(run, index, predictions)
    if config.evaluate.figures:
        _draw(run / "figures", index, metrics["test"], predictions["test"], progress)
    words = dict[str, str]()
    if config.evaluate.report:
        words = _report(run, config, index, frozen, bundle, metrics, predictions["test"], progress)
    return Evaluated(run, metrics, config.evaluate.fail_under, extraction, index.bad, words)


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
    index: Index, frozen: FeatureExtractor, config: Config, progress: Progress
) -> tuple[Index, Extraction]:  # fmt: skip
    done = frozen.extract([(index.images, frozen.views[:1])], progress)
    index = drop_unreadable(index, done.bad, config.dataset.on_bad_image, config.dataset.max_bad_fraction)
    if not index.of("test"):
        unreadable = f" that can be read (all {len(index.bad)} are broken)" if index.bad else ""
        raise DataError(
            f"This run has no test images{unreadable}; set dataset.split.test above 0 or add a test folder, and train."
        )
    return index, done


def _report(
    run: Path, config: Config, index: Index, frozen: FeatureExtractor, bundle: Bundle,
    metrics: dict[SplitName, dict[str, Any]], probabilities: "NDArray[np.float64]", progress: Progress,
) -> dict[str, str]:  # fmt: skip
    import numpy as np  # noqa: PLC0415

    from tlcli.runs.predictions import looks_at_test  # noqa: PLC0415
    from tlcli.workflows.assess import assess  # noqa: PLC0415 - with matplotlib 2 s to import
    from tlcli.workflows.run_page import Measured, write_report  # noqa: PLC0415
    from tlcli.workflows.shown import Answers  # noqa: PLC0415

    record = runs.read_json(run / "run.json")
    found = assess(
        index, frozen, bundle, config, record.get("head", {}).get("strength"), probabilities, progress
    )  # fmt: skip
    test = index.of("test")
    answers = Answers(test, np.array([index.labels.index(image.label) for image in test]), probabilities)
    uses = looks_at_test(run.parent.parent, run)
    with progress.stage("Writing the report"):
        settings = (run / "config.yaml").read_text(encoding="utf-8")
        measured = Measured(run, record, settings, metrics, index, bundle, found, answers, uses)
        return write_report(measured, lambda: frozen.open_engine(progress))


def _draw(
    folder: Path, index: Index, test: dict[str, Any], probabilities: "NDArray[np.float64]", progress: Progress
) -> None:  # fmt: skip
    from tlcli.reports import figures  # noqa: PLC0415 - matplotlib takes 1 s to import

    split: SplitName = "test"
    labels = [index.labels.index(image.label) for image in index.of(split)]
    with progress.stage("Drawing figures"):
        figures.confusion_matrix(folder / "confusion_matrix.png", test["confusion_matrix"], index.labels)
        figures.roc(folder / "roc.png", labels, probabilities, index.labels)
