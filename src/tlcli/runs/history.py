"""history.csv: the steps of a fit."""

import csv
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from tlcli.heads.head import Step
from tlcli.runs import folders as runs

_COLUMNS = [field.name for field in fields(Step)]


def write_history(path: Path, steps: Sequence[Step]) -> None:
    """Writes one line per step; what a step does not have is an empty cell."""
    rows = [["" if (value := getattr(step, name)) is None else value for name in _COLUMNS] for step in steps]
    runs.write_csv(path, _COLUMNS, rows)


def read_history(path: Path) -> tuple[Step, ...]:
    """The steps that :func:`write_history` has written."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{name: float(cell) if cell else None for name, cell in row.items()} for row in csv.DictReader(file)]
    return tuple(Step(**{**row, "step": int(row["step"] or 0)}) for row in rows)  # type: ignore[arg-type]
