"""history.csv: the steps of a fit (epochs, or values of C), one a line."""

import csv
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

from pydantic import TypeAdapter

from tlcli.errors import ModelError
from tlcli.heads.fit_record import Step
from tlcli.runs.files import read_csv, validated, write_csv

_COLUMNS = tuple(field.name for field in fields(Step))
_STEPS = TypeAdapter(tuple[Step, ...])


def write_history(path: Path, steps: Sequence[Step]) -> None:
    """Writes one line a step; a value that a step lacks is an empty cell."""
    write_csv(path, _COLUMNS, map(astuple, steps))


def read_history(path: Path) -> tuple[Step, ...]:
    """The steps, as :func:`write_history` wrote them.

    Raises:
        ModelError: the file is missing or malformed.
    """
    try:
        header, *rows = read_csv(path)
        steps = [dict(zip(header, (cell or None for cell in row), strict=True)) for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise ModelError("model.run_malformed", f"{path} cannot be read ({error}).", "Train again.") from error
    return validated(path, steps, _STEPS)
