"""The runs of a folder, each with its key figures; what is broken is named, and hides nothing else."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tlcli.errors import ModelError
from tlcli.runs import folders as runs
from tlcli.runs.records import Part, read_part

_NAME = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{4}")


class Measured(Part):
    """Accuracy on one split."""

    n: int
    accuracy: float
    accuracy_ci95: tuple[float, float]


class _Backbone(Part):
    name: str
    precision: str


class _Head(Part):
    fit: str


class _Record(Part):
    """run.json"""

    images: Annotated[dict[str, dict[str, int]], Field(min_length=1)]
    seconds: dict[str, float]
    backbone: _Backbone
    head: _Head


class _Metrics(Part):
    """metrics.json"""

    validation: Measured
    test: Measured | None = None


@dataclass(frozen=True)
class RunSummary:
    """A run's key figures."""

    name: str
    """NAME/TIME-xxxx, as ``tlcli runs compare`` takes it."""
    path: Path
    started: datetime | None
    """In UTC; None where the folder was given another name."""
    backbone: str
    precision: str
    fit: str
    validation: Measured
    test: Measured | None
    """None before evaluate."""
    images: dict[str, int]
    """Of each split."""
    seconds: float
    """That training took."""


@dataclass(frozen=True)
class Listed:
    """What lies in a folder of runs, the newest first."""

    runs: tuple[RunSummary, ...]
    broken: dict[str, str]
    """Runs that cannot be read: name to reason."""


def list_runs(runs_dir: Path, config: str | None = None) -> Listed:
    """All runs of a folder that are not still being made, or those of a config, named by its name or path."""
    found: list[RunSummary] = []
    broken: dict[str, str] = {}
    for folder in _folders(runs_dir, Path(config).stem if config else None):
        try:
            found.append(_summary(folder, f"{folder.parent.name}/{folder.name}"))
        except ModelError as error:
            broken[f"{folder.parent.name}/{folder.name}"] = str(error)
    return Listed(tuple(found), broken)


def _folders(runs_dir: Path, config_name: str | None) -> list[Path]:
    """Whatever has a run's name or its record, the newest first."""
    folders = [
        path
        for path in runs_dir.glob("*/*")
        if config_name in (None, path.parent.name) and not path.is_symlink() and not path.parent.is_symlink()
    ]
    runs_ = [path for path in folders if _NAME.fullmatch(path.name) or (path / "run.json").is_file()]
    return sorted((path for path in runs_ if not path.name.endswith(".partial")), key=runs.age, reverse=True)


def _summary(folder: Path, name: str) -> RunSummary:
    record = read_part(_Record, folder / "run.json")
    metrics = read_part(_Metrics, folder / "metrics.json")
    named = _NAME.fullmatch(folder.name)
    return RunSummary(
        name=name,
        path=folder.resolve(),
        started=_time(named[1]) if named else None,
        backbone=record.backbone.name,
        precision=record.backbone.precision,
        fit=record.head.fit,
        validation=metrics.validation,
        test=metrics.test,
        images={split: sum(by_label.values()) for split, by_label in record.images.items()},
        seconds=round(sum(record.seconds.values()), 3),
    )


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:  # the 31st of February
        return None
