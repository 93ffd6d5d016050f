"""What workflows read of a run's JSON files, checked; what else these hold does not matter there."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tlcli.errors import ModelError
from tlcli.runs import folders as runs


class Part(BaseModel):
    """The fields that somebody reads."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


Kind = TypeVar("Kind", bound=Part)


def read_part(kind: type[Kind], path: Path) -> Kind:
    """The fields of a JSON file.

    Raises:
        ModelError: it is missing or broken, or a field is missing or of another kind.
    """
    fields = runs.read_json(path)
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ModelError(f"{path} is not what a run holds: {place}: {problem['msg']}; train again.") from error


class Skipped(Part):
    """An image that was left out."""

    path: str
    reason: str


class _Head(Part):
    strength: float | None = None
    chosen_step: int


class Record(Part):
    """What evaluate and its report read of run.json."""

    config: str
    overrides: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...]
    seconds: dict[str, float]
    images: dict[str, dict[str, int]]
    head: _Head
    data_digest: str


class _Backbone(Part):
    name: str
    weights: str
    weights_sha256: str
    engine: str
    precision: str


class RunRecord(Record):
    """What the report shows of run.json."""

    skipped_test: tuple[Skipped, ...] = ()
    backbone: _Backbone
    trainable_parameters: int
    seeds: dict[str, int]
    versions: dict[str, str]
