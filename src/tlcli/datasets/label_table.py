"""Reads labels from a table: one line an image, classes as they stand there or by a rule on a number."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlcli.datasets.layout import SPLIT_NAMES, SPLITS, Found, Layout, SplitName
from tlcli.errors import DataError

_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}


@dataclass(frozen=True)
class Rule:
    """When a row belongs to a class: every limit that is set must hold."""

    below: float | None = None
    at_most: float | None = None
    above: float | None = None
    at_least: float | None = None
    values: tuple[str, ...] | None = None

    def holds(self, value: str) -> bool:
        """Whether the cell ``value`` meets the rule.

        Raises:
            ValueError: a limit is set and the cell is no number.
        """
        if self.values is not None and value not in self.values:
            return False
        if self.below is self.at_most is self.above is self.at_least is None:
            return True
        number = float(value)
        return (
            (self.below is None or number < self.below)
            and (self.at_most is None or number <= self.at_most)
            and (self.above is None or number > self.above)
            and (self.at_least is None or number >= self.at_least)
        )


@dataclass(frozen=True)
class Table:
    """Where a labels table lies and how it is read."""

    file: str
    """Relative to the data folder; images are looked for relative to the table's own folder."""
    path_column: str
    label_column: str
    delimiter: Literal["comma", "semicolon", "tab", "whitespace"] = "comma"
    columns: tuple[str, ...] | None = None
    """Names of the columns where the table has no header line."""
    rules: Mapping[str, Rule] = field(default_factory=dict)
    """Class name to rule; empty: the label column holds the class."""
    split_column: str | None = None
    group_column: str | None = None


def find_in_table(root: Path, table: Table, classes: tuple[str, ...] | None) -> Layout:
    """The images that a labels table names.

    Raises:
        DataError: the table is missing, a column is unknown, or a cell does not fit; with file:line.
    """
    path = root / table.file
    if not path.is_file():
        raise DataError(f"The labels table {path} is not there; set dataset.labels.file to its path inside {root}.")
    without_class: Counter[str] = Counter()
    lines: dict[Path, int] = {}
    found = []
    for line, row in _rows(path, table):
        where = f"{path}:{line}"
        label = _label(row[table.label_column], table.rules, where)
        if label is None or (classes is not None and label not in classes):
            without_class[row[table.label_column]] += 1
            continue
        split = None if table.split_column is None else _split(row[table.split_column], where)
        group = None if table.group_column is None else row[table.group_column]
        image = _place(path.parent, row[table.path_column])
        if (first := lines.setdefault(image, line)) != line:
            raise DataError(f"{where}: the image '{row[table.path_column]}' stands in line {first} already.")
        found.append(Found(image, label, split, group))
    if not found:
        raise DataError(f"The labels table {path} gives no image a class; look at dataset.labels.classes.")
    values = ", ".join(f"{value} ({count})" for value, count in without_class.most_common(5))
    notes = (f"{without_class.total()} rows of {path.name} belong to no class: {values}.",) if without_class else ()
    return Layout(path.parent, tuple(found), notes)


def _place(folder: Path, cell: str) -> Path:
    """Where the image lies; a table written on Windows names it with backslashes."""
    place = folder / cell
    return place if "\\" not in cell or place.exists() else folder / cell.replace("\\", "/")


def _rows(path: Path, table: Table) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"The labels table {path} is not UTF-8 text ({error.reason} at byte {error.start}).") from error
    names = table.columns
    if names is not None:
        _check_columns(path, table, names)
    for line, row in _cells(path, lines, table.delimiter):
        if names is None:
            names = tuple(row)
            _check_columns(path, table, names)
            continue
        if len(row) != len(names):
            raise DataError(f"{path}:{line}: {len(row)} cells where {len(names)} are expected ({', '.join(names)}).")
        yield line, dict(zip(names, row, strict=True))


def _cells(path: Path, lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    if delimiter == "whitespace":
        yield from ((number, line.split()) for number, line in enumerate(lines, 1) if line.strip())
        return
    reader = csv.reader(lines, delimiter=_DELIMITERS[delimiter], skipinitialspace=True, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:  # not strict, it would swallow the lines after a quote that is not closed
        raise DataError(f"{path}:{reader.line_num}: the labels table cannot be read: {error}.") from error


def _check_columns(path: Path, table: Table, names: Sequence[str]) -> None:
    for column in (table.path_column, table.label_column, table.split_column, table.group_column):
        if column is not None and column not in names:
            raise DataError(f"The labels table {path} has no column '{column}'; columns there: {', '.join(names)}.")


def _label(value: str, rules: Mapping[str, Rule], where: str) -> str | None:
    if not rules:
        return value or None
    try:
        matching = [name for name, rule in rules.items() if rule.holds(value)]
    except ValueError:
        raise DataError(f"{where}: '{value}' is no number, and the rules of dataset.labels.classes need one.") from None
    if len(matching) > 1:
        raise DataError(f"{where}: '{value}' fits several of dataset.labels.classes: {', '.join(matching)}.")
    return matching[0] if matching else None


def _split(value: str, where: str) -> SplitName:
    split = SPLIT_NAMES.get(value.casefold())
    if split is None:
        raise DataError(f"{where}: '{value}' is no split; allowed: {', '.join(SPLITS)}.")
    return split
