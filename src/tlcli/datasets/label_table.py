"""Label tables: one row an image, its class in a column or given by a rule on a column."""

import csv
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlcli.datasets.layout import SPLIT_ALIASES, SPLITS, LabelledFile, Scan, SplitName
from tlcli.errors import DataError

_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}
_LIMITS = {"below": operator.lt, "at_most": operator.le, "above": operator.gt, "at_least": operator.ge}


@dataclass(frozen=True)
class LabelTable:
    """Where a label table is and how it is read; ``path`` to ``group`` name columns."""

    file: str
    """Relative to the data folder; paths of images are relative to the table's own folder."""
    path: str
    label: str
    delimiter: Literal["comma", "semicolon", "tab", "whitespace"] = "comma"
    columns: tuple[str, ...] | None = None
    """Names of the columns of a table without a header line."""
    classes: Mapping[str, Callable[[str], bool]] = field(default_factory=dict)
    """For each class whether a cell of the label column belongs to it, see :func:`matches`; empty: the cell is the
    class."""
    split: str | None = None
    group: str | None = None


def matches(cell: str, values: Sequence[str] | None = None, **limits: float | None) -> bool:
    """Whether a cell is one of ``values`` and a number within all limits, each as far as it is given.

    Args:
        cell: of the label column.
        values: allowed texts.
        limits: any of ``below``, ``at_most``, ``above`` and ``at_least``.

    Raises:
        ValueError: a limit is given and the cell is not a number.
    """
    if values is not None and cell not in values:
        return False
    return all(_LIMITS[name](float(cell), limit) for name, limit in limits.items() if limit is not None)


def scan_label_table(root: Path, table: LabelTable, classes: Sequence[str] | None) -> Scan:
    """The images that a label table lists.

    Args:
        root: the data folder.
        table: where the table is and how it is read.
        classes: use only rows of these classes; None uses all.

    Raises:
        DataError: the table is missing or malformed, a column is missing, or a cell is not allowed; with file:line.
    """
    path = root / table.file
    if not path.is_file():
        raise DataError(
            "data.label_table_missing",
            f"There is no label table {path}.",
            f"Set dataset.labels.file to its path inside {root}.",
        )
    without_class: Counter[str] = Counter()
    lines: dict[Path, int] = {}
    files = []
    for line, row in _rows(path, table):
        where = f"{path}:{line}"
        label = _label(row[table.label], table.classes, where)
        if label is None or (classes is not None and label not in classes):
            without_class[row[table.label]] += 1
            continue
        split = None if table.split is None else _split(row[table.split], where)
        group = None if table.group is None else row[table.group]
        image = _image_path(path.parent, row[table.path])
        if (first := lines.setdefault(image, line)) != line:
            raise DataError(
                "data.duplicate_row",
                f"{where}: the image '{row[table.path]}' is already in line {first}.",
                "Remove one of the lines.",
            )
        files.append(LabelledFile(image, label, split, group))
    if not files:
        raise DataError(
            "data.label_table_without_labels",
            f"No row of the label table {path} has a class.",
            "Check dataset.labels.classes and dataset.classes.",
        )
    values = ", ".join(f"{value} ({count})" for value, count in without_class.most_common(5))
    notes = (f"{without_class.total()} rows of {path.name} belong to no class: {values}.",) if without_class else ()
    return Scan(path.parent, tuple(files), notes)


def _image_path(folder: Path, cell: str) -> Path:
    """The path of an image; tables written on Windows have backslashes."""
    path = folder / cell
    return path if "\\" not in cell or path.exists() else folder / cell.replace("\\", "/")


def _rows(path: Path, table: LabelTable) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            "data.label_table_not_utf8",
            f"The label table {path} is not UTF-8 text ({error.reason} at byte {error.start}).",
            "Save it as UTF-8.",
        ) from error
    rows = _cells(path, lines, table.delimiter)
    names = table.columns if table.columns is not None else next((row for _, row in rows), [])
    for column in (table.path, table.label, table.split, table.group):
        if column is not None and names and column not in names:
            raise DataError(
                "data.label_table_column_missing",
                f"The label table {path} has no column '{column}'; its columns are: {', '.join(names)}.",
                "Correct dataset.labels.",
            )
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(
                "data.label_table_malformed",
                f"{path}:{line}: the row has {len(row)} cells, and {len(names)} are expected ({', '.join(names)}).",
                "Check the row and dataset.labels.delimiter.",
            )
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
    except csv.Error as error:  # without strict, an unclosed quote would swallow the lines after it
        raise DataError("data.label_table_malformed", f"{path}:{reader.line_num}: malformed row: {error}.") from error


def _label(cell: str, classes: Mapping[str, Callable[[str], bool]], where: str) -> str | None:
    if not classes:
        return cell or None
    try:
        matching = [name for name, is_member in classes.items() if is_member(cell)]
    except ValueError:
        raise DataError(
            "data.not_a_number",
            f"{where}: '{cell}' is not a number, and the rules of dataset.labels.classes require one.",
        ) from None
    if len(matching) > 1:
        raise DataError(
            "data.ambiguous_label",
            f"{where}: '{cell}' matches several of dataset.labels.classes: {', '.join(matching)}.",
            "Change the rules so that each cell matches one of them at most.",
        )
    return matching[0] if matching else None


def _split(cell: str, where: str) -> SplitName:
    split = SPLIT_ALIASES.get(cell.casefold())
    if split is None:
        raise DataError("data.unknown_split", f"{where}: '{cell}' is not a split; allowed: {', '.join(SPLITS)}.")
    return split
