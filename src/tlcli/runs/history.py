"""history.csv: the steps of a fit (epochs, or values of C), one a line."""

import csv
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from tlcli.errors import ModelError
from tlcli.heads.fit_record import Step
from tlcli.runs.files import read_csv, write_csv

_COLUMNS = tuple(field.name for field in fields(Step))


def write_history(path: Path, steps: Sequence[Step]) -> None:
    """Writes one line a step; a value that a step lacks is an empty cell."""
    rows = [["" if (value := getattr(step, name)) is None else value for name in _COLUMNS] for step in steps]
    write_csv(path, _COLUMNS, rows)


def read_history(path: Path) -> tuple[Step, ...]:
    """The steps, as :func:`write_history` wrote them.

    Raises:
        ModelError: the file is missing or malformed.
    """
    try:
        header, *rows = read_csv(path)
        return tuple(_step(dict(zip(header, row, strict=True))) for row in rows)
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise ModelError("model.run_malformed", f"{path} cannot be read ({error}).", "Train again.") from error


def _step(row: dict[str, str]) -> Step:
    rate, C = (float(row[name]) if row[name] else None for name in ("learning_rate", "C"))
    loss, accuracy, val_loss, val_accuracy = (
        float(row[name]) for name in ("loss", "accuracy", "val_loss", "val_accuracy")
    )
    return Step(int(row["step"]), loss, accuracy, val_loss, val_accuracy, rate, C)
