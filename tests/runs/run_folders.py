"""Runs as train and evaluate leave them, without a network and images."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tlcli.datasets.split_names import SplitName
from tlcli.evaluation.cross_validation import CrossValidation
from tlcli.evaluation.split_metrics import ClassMetrics, Metrics
from tlcli.runs.files import write_csv
from tlcli.runs.records import FeatureCounts, RunBackbone, RunHead, RunRecord, write_metrics, write_record

Row = tuple[str, str, str]
"""An image's name (its content depends on it, up to a ``=``), its label, and the predicted class."""


def sha(name: str) -> str:
    """Of an image: those whose names are equal up to ``=`` are copies."""
    return hashlib.sha256(name.partition("=")[0].encode()).hexdigest()


def rows(right: Iterable[str], wrong: Iterable[str] = (), label: str = "cat", other: str = "dog") -> list[Row]:
    """Images that are classified correctly, and wrongly; each letter of a text is one."""
    return [(name, label, label) for name in right] + [(name, label, other) for name in wrong]


def made_run(
    runs_dir: Path,
    name: str,
    splits: Mapping[SplitName, Sequence[Row]],
    labels: Sequence[str] = ("cat", "dog"),
    config: str = "head:\n  fit: logistic_regression\n",
    digest: str = "d",
    out_of_fold: Sequence[Row] | None = None,
    balanced: float | None = None,
    overrides: Sequence[str] = (),
) -> Path:
    """A complete run; with a test split, an evaluated one; with ``out_of_fold``, cross-validated on these images."""
    run = runs_dir / name
    run.mkdir(parents=True)
    record = RunRecord(
        config=name.split("/", maxsplit=1)[0],
        overrides=tuple(overrides),
        seconds={"index": 0.5, "features": 1.25},
        images={split: {"cat": len(of_split), "dog": 0} for split, of_split in splits.items()},
        skipped=(),
        features=FeatureCounts(computed=1, reused=2, views=1),
        backbone=RunBackbone(
            name="densenet201", weights="imagenet", weights_sha256="ab" * 32, engine="openvino", precision="bf16"
        ),
        head=RunHead(fit="logistic_regression", steps=3, chosen_step=2, C=0.1, temperature=1.1),
        trainable_parameters=1921,
        seeds={"split": 0},
        versions={"tlcli": "0.1.0"},
        data_digest=digest,
        data_root="/data",
    )
    write_record(run, record)
    write_metrics(run, {split: _metrics(given, labels) for split, given in splits.items()})
    header = ["path", "sha256", "split", "label", "predicted", "group", *labels]
    table = [
        (n, sha(n), split, label, predicted, sha(n), 0.5, 0.5)
        for split, given in splits.items()
        for n, label, predicted in given
    ]
    write_csv(run / "predictions.csv", header, table)
    (run / "config.yaml").write_text(config)
    if out_of_fold is not None:
        _cross_validated(run, out_of_fold, labels, balanced)
    return run


def _cross_validated(run: Path, given: Sequence[Row], labels: Sequence[str], balanced: float | None) -> None:
    share = sum(label == predicted for _, label, predicted in given) / len(given)
    summary = CrossValidation(
        accuracy=share, accuracy_ci95=(share / 2, (1 + share) / 2), balanced_accuracy=balanced, log_loss=0.5,
        images=len(given), folds=5, repeats=3, repeats_requested=3, reduced_sizes=False, near_duplicates=0,
        is_own_head=True, test_share=0.2, sizes=(len(given),), accuracies=((share,),),
    )  # fmt: skip
    (run / "cross_validation.json").write_text(json.dumps(asdict(summary)))
    header = ["path", "sha256", "split", "label", "predicted", *labels]
    table = [(n, sha(n), "train", label, predicted, 0.5, 0.5) for n, label, predicted in given]
    write_csv(run / "out_of_fold.csv", header, table)


def _metrics(given: Sequence[Row], labels: Sequence[str]) -> Metrics:
    right = sum(label == predicted for _, label, predicted in given)
    share = right / len(given) if given else 0.0
    return Metrics(
        n=len(given),
        accuracy=share,
        accuracy_ci95=(share / 2, (1 + share) / 2),
        scores={"balanced_accuracy": share, "roc_auc": None, "log_loss": 0.5, "ece": 0.1},
        per_class={label: ClassMetrics(0.5, 0.5, 0.5, len(given)) for label in labels},
        confusion_matrix=((right, len(given) - right), (0, 0)),
        labels=tuple(labels),
    )
