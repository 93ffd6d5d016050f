"""JSON and CSV files of a run: written whole or not at all, validated as they are read."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tlcli.errors import ModelError
from tlcli.system.files import open_regular, read_regular, whole_file, write_text

_LIMIT = 1 << 28
"""Bytes of a JSON file; that of a million images, all of them unreadable, has half of it."""
_LONG = 50
"""Items of a list beyond which numbers stand on one line: the confusion matrix of 1,000 classes has a million, which
would be as many lines, of 11 bytes each."""
Kind = TypeVar("Kind")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON in UTF-8, long lists of whole numbers on one line each. Raises ValueError for numbers that
    are not finite."""
    text = "".join(_indented(value, "\n")) + "\n"
    write_text(path, text.encode(errors="backslashreplace").decode())  # file names that are not UTF-8: as JSON escapes


def _indented(value: Any, line: str) -> Iterator[str]:
    """The parts of ``json.dumps(value, indent=2)``; what is not long is left to it."""
    if isinstance(value, Mapping) and value:
        for number, (key, one) in enumerate(value.items()):
            yield f"{',' if number else '{'}{line}  {json.dumps(key, ensure_ascii=False)}: "
            yield from _indented(one, line + "  ")
        yield line + "}"
    elif isinstance(value, list | tuple) and len(value) > _LONG:
        if all(type(one) is int for one in value):
            yield json.dumps(value)
            return
        for number, one in enumerate(value):
            yield f"{',' if number else '['}{line}  "
            yield from _indented(one, line + "  ")
        yield line + "]"
    else:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        yield text.replace("\n", line)


def read_json(path: Path, adapter: TypeAdapter[Kind]) -> Kind:
    """Reads and validates JSON.

    Args:
        path: of the file.
        adapter: what it must be.

    Raises:
        ModelError: the file is missing, is not JSON, or a field is missing or of another type.
    """
    try:
        value = json.loads(read_regular(path, _LIMIT).decode())
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError("model.run_unreadable", f"{path} cannot be read ({reason}).", "Train again.") from error
    return validated(path, value, adapter)


def validated(path: Path, value: object, adapter: TypeAdapter[Kind]) -> Kind:
    """What a file holds, as the type that it must be.

    Raises:
        ModelError: a field is missing or of another type.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        reason = f"{field}: {problem['msg']}" if field else problem["msg"]
        raise ModelError("model.run_malformed", f"{path} is malformed: {reason}.", "Train again.") from error


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a table with one header line, as the rows come."""
    with (
        whole_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(_UnixLines(file))
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path) -> Iterator[list[str]]:
    """Yields the lines of a table, its header first.

    Raises:
        OSError, ValueError, csv.Error: it is missing, not a file, or malformed.
    """
    with io.TextIOWrapper(io.BufferedReader(open_regular(path)), newline="", encoding="utf-8") as file:
        yield from csv.reader(file, strict=True)


def class_columns(labels: Sequence[str], others: Sequence[str]) -> list[str]:
    """The column of each class in a table that has ``others`` too: its name, or ``NAME (class)`` if it is taken."""
    taken, columns = {*others, *labels}, []
    for label in labels:
        column = label
        while column in others or (column != label and column in taken):
            column += " (class)"
        taken.add(column)
        columns.append(column)
    return columns


class _UnixLines:
    """Ends lines with ``\\n``. Before Python 3.13, csv does so too, but leaves a ``\\r`` in a cell unquoted."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.removesuffix("\r\n") + "\n")
