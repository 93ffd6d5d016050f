"""external/NAME/ of a run: what evaluate --data measured on another labelled folder, one directory a folder."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, TypeAdapter

from tlcli.datasets.index import Index
from tlcli.datasets.split_names import SplitName
from tlcli.errors import ModelError
from tlcli.evaluation.split_metrics import Metrics, from_json
from tlcli.runs.files import read_json, write_json
from tlcli.runs.predictions import write_predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.evaluation.thresholds import Thresholds

Interval = tuple[float, float]


@dataclass(frozen=True)
class TrainingDuplicate:
    """An image of an external test set and its duplicate among the training images."""

    image: str
    train: str
    kind: Literal["exact", "near", "suspected"]
    """exact: the same bytes; near: confirmed on the images; suspected: by their features alone"""


@dataclass(frozen=True)
class LeakCheck:
    """Which images of an external test set the run was trained on, and the accuracy without these."""

    pairs: tuple[TrainingDuplicate, ...]
    """One for each such image."""
    near_by: Literal["images", "features"]
    """Near duplicates are confirmed on the images; where no training image is readable any more, they are suspected
    where features are as near as those of versions of one image (:meth:`tlcli.model.reference.Reference.versions`)."""
    compared: int
    """Training images that near duplicates were searched among; exact copies are searched among all."""
    trained: int
    """Training images of the run."""
    n_without: int
    """Images without an exact or near duplicate."""
    accuracy_without: float | None
    """On these; None where there are none."""
    accuracy_without_ci95: Interval | None

    def count(self, kind: Literal["exact", "near", "suspected"]) -> int:
        """Images with a duplicate of this kind."""
        return sum(pair.kind == kind for pair in self.pairs)


@dataclass(frozen=True)
class ExternalResult:
    """What evaluate --data measured, as external/NAME/metrics.json has it."""

    name: str
    """Of its directory."""
    data_root: str
    """Absolute path of the folder."""
    data_digest: str
    """Of its images, see :func:`tlcli.datasets.index.content_digest`."""
    measured: str
    """When, in UTC."""
    metrics: Annotated[Metrics, BeforeValidator(from_json)]
    intervals: dict[str, Interval | None]
    """95 % interval of each metric; None where it is undefined."""
    leaks: LeakCheck
    same_as: dict[SplitName, int]
    """Images that are, by content, validation or test images of the run."""
    out_of_distribution: float
    """Share of the images that predict would answer "none of these"."""
    notes: tuple[str, ...]
    """How the folder was read."""
    skipped: dict[str, str]
    """Unreadable images: name to reason."""

    def as_json(self) -> dict[str, object]:
        """As metrics.json and ``--json`` have it."""
        return {**asdict(self), "metrics": self.metrics.as_json()}


_RESULT = TypeAdapter(ExternalResult)


def external_name(run: Path, root: Path) -> str:
    """The name of an external test set: that of its folder; with a number where another folder has it already."""
    name = re.sub(r"[^\w.-]+", "_", root.name).strip(".") or "data"
    taken = {result.name.casefold(): result.data_root for result in read_externals(run)[0]}
    number, found = 1, name
    while taken.get(found.casefold(), str(root)) != str(root):
        number += 1
        found = f"{name}-{number}"
    return found


def write_external(
    run: Path, result: ExternalResult, index: Index, probabilities: "NDArray[np.float64]",
    thresholds: "Thresholds | None" = None,
) -> Path:  # fmt: skip
    """Writes metrics.json and predictions.csv of an external test set into the run; returns their directory."""
    folder = run / "external" / result.name
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(folder, index, {"test": probabilities}, thresholds)
    write_json(folder / "metrics.json", result.as_json())
    return folder


def read_externals(run: Path) -> tuple[list[ExternalResult], Mapping[str, str]]:
    """The external test sets that a run was measured on, by name; and those that cannot be read, name to reason."""
    found, broken = [], {}
    for path in sorted((run / "external").glob("*/metrics.json")):
        try:
            found.append(read_json(path, _RESULT))
        except ModelError as error:
            broken[path.parent.name] = error.message
    return found, broken
