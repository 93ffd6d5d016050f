"""The key figures of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tlcli.errors import ModelError
from tlcli.evaluation.cross_validation import CrossValidation
from tlcli.evaluation.split_metrics import Metrics
from tlcli.heads.fit_record import FitKind
from tlcli.runs.cross_validation import read_cross_validation
from tlcli.runs.folders import start_of
from tlcli.runs.records import read_metrics, read_record


@dataclass(frozen=True)
class RunSummary:
    """The key figures of a run."""

    run: str
    """NAME/TIME-xxxx, as ``tlcli runs compare`` takes it."""
    path: Path
    started: datetime | None
    """In UTC; None where the directory was renamed."""
    backbone: str
    precision: str
    fit: FitKind
    validation: Metrics
    cross_validation: CrossValidation | None
    """The figure to choose by: the test images are not in it. None where train made none."""
    test: Metrics | None
    """None before evaluate."""
    images: dict[str, int]
    """Of each split."""
    seconds: float
    """Duration of training."""
    name: str | None
    """What --name was given."""
    data: str
    """Path of the data folder."""
    overrides: tuple[str, ...]
    """The values of --set that it was trained with."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of these keys of the config, those that are not the same for all runs of a list; what tells most comes first."""


def summarize(run: Path) -> RunSummary:
    """Reads the key figures of a run.

    Raises:
        ModelError: its files are missing or malformed.
    """
    record, metrics = read_record(run), read_metrics(run)
    if "validation" not in metrics:
        raise ModelError(
            "model.run_malformed", f"{run / 'metrics.json'} is malformed: there is no validation.", "Train again."
        )
    return RunSummary(
        run=f"{run.parent.name}/{run.name}",
        path=run.resolve(),
        started=start_of(run),
        backbone=record.backbone.name,
        precision=record.backbone.precision,
        fit=record.head.fit,
        validation=metrics["validation"],
        cross_validation=read_cross_validation(run),
        test=metrics.get("test"),
        images={split: sum(by_class.values()) for split, by_class in record.images.items()},
        seconds=round(sum(record.seconds.values()), 3),
        name=record.name,
        data=record.data_root,
        overrides=record.overrides,
    )
