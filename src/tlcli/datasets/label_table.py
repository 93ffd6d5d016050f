"""Label tables: one row an image, its class in a column, in one column for each class, or by a rule on a column."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlcli.datasets.image_lookup import ImageLookup
from tlcli.datasets.label_rules import class_of
from tlcli.datasets.labelled_files import LabelledFile, LeftOut, Scan, normal_label, with_unused_files
from tlcli.datasets.split_names import split_of_cell
from tlcli.errors import DataError

Delimiter = Literal["auto", "comma", "semicolon", "tab", "whitespace"]
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}
_NUMBERS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True, "": False}
"""Cells of one-hot columns, in lower case."""
_WORKBOOK = b"PK\x03\x04"
_FORMATS: Sequence[tuple[str, re.Pattern[bytes], str]] = [
    ("MATLAB file", re.compile(rb"MATLAB 5\.0|\x89HDF"), "scipy.io.loadmat(FILE) reads it"),
    ("Parquet file", re.compile(rb"PAR1"), "pandas.read_parquet(FILE).to_csv('labels.csv', index=False)"),
    ("Python pickle", re.compile(rb"\x80[\x02-\x05]"), "pandas.DataFrame(...).to_csv('labels.csv', index=False)"),
    ("XML file", re.compile(rb"\s*<(\?xml|annotations?\b)"), "pandas.read_xml(FILE).to_csv('labels.csv', index=False)"),
    ("JSON file with a row a line", re.compile(rb"\s*\{[^\n]*\}\s*\n\s*\{"),
     "pandas.read_json(FILE, lines=True).to_csv('labels.csv', index=False)"),
    ("JSON file", re.compile(rb"\s*(\{\s*[\"}]|\[\s*[\[{\"])"),
     "pandas.read_json(FILE).to_csv('labels.csv', index=False); of COCO, the list 'annotations'"),
]  # fmt: skip
"""Formats that are no text in columns, how they begin, and what converts them."""
_MAX_NUMBERS = 64
"""Numbers in a cell of paths from which they are taken for the pixels of an image."""


@dataclass(frozen=True)
class LabelTable:
    """Where a label table is and how it is read; ``path`` to ``group`` name columns."""

    file: str
    """Relative to the data folder."""
    path: str
    label: str | None = None
    class_columns: tuple[str, ...] = ()
    """Columns of 0 and 1, one for each class, instead of ``label``."""
    folder: str | None = None
    """Folder that the paths of images are relative to, relative to the data folder; None: the table's own folder."""
    delimiter: Delimiter = "auto"
    encoding: str = "utf-8"
    columns: tuple[str, ...] | None = None
    """Names of the columns of a table without a header line."""
    classes: Mapping[str, Callable[[str], bool]] = field(default_factory=dict)
    """For each class whether a cell of the label column belongs to it, see :func:`tlcli.datasets.label_rules.matches`;
    empty: the cell is the class."""
    split: str | None = None
    group: str | None = None

    def named(self) -> list[str]:
        """All columns that are read."""
        return [name for name in (self.path, self.label, self.split, self.group, *self.class_columns) if name]


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
    folder = path.parent if table.folder is None else root / table.folder
    delimiter, rows, comments = _rows(path, table)
    _refuse_one_hot(path, table, rows)
    lookup = ImageLookup(folder, root if table.folder is None else None)  # annotations/list.txt is beside images/
    files, without_class = _labelled_files(path, rows, table, classes, lookup)
    if not files:
        raise DataError(
            "data.label_table_without_labels",
            f"No row of the label table {path} has a class.",
            "Check dataset.labels.classes and dataset.classes.",
        )
    left_out: tuple[LeftOut, ...] = ()
    if without_class:
        values = ", ".join(f"{value or 'empty'}: {count}" for value, count in without_class.most_common(5))
        left_out = (LeftOut(without_class.total(), f"rows of {path.name} that belong to no class ({values})"),)
    read_as = f"label table ({table.file}{'' if delimiter == 'comma' else f', separated by {delimiter}'})"
    read_as += f", splits in column '{table.split}'" if table.split else ""
    notes = (*comments, *lookup.notes(), *_note_several({file.label for file in files}))
    scan = Scan(folder, tuple(files), read_as, left_out, notes)
    searched = root if folder.is_relative_to(root) else folder
    if not searched.is_dir():
        return scan
    return with_unused_files(scan, searched, f"that {path.name} does not give a class", [path])


def _labelled_files(
    path: Path, rows: Sequence[tuple[int, Mapping[str, str]]], table: LabelTable, classes: Sequence[str] | None,
    lookup: ImageLookup,
) -> tuple[list[LabelledFile], Counter[str]]:  # fmt: skip
    """The images of all rows that have a class, and how many rows have none, by their cell."""
    without_class: Counter[str] = Counter()
    lines: dict[Path, int] = {}
    files = []
    for line, row in rows:
        where = f"{path}:{line}"
        if len(row[table.path].split(maxsplit=_MAX_NUMBERS)) > _MAX_NUMBERS:
            raise DataError(
                "data.label_table_pixels",
                f"{where}: the column '{table.path}' has more than {_MAX_NUMBERS} numbers in a cell, not a path.",
                "Write the pixels as image files first, as with Pillow: "
                "Image.fromarray(numpy.array(cell.split(), dtype='uint8').reshape(48, 48)).save(...).",
            )
        cell = row[table.label] if table.label else _one_hot(row, table.class_columns, where)
        label = class_of(cell, table.classes, where)
        if label is None or (classes is not None and normal_label(label) not in classes):
            without_class[cell] += 1
            continue
        split = None if table.split is None else split_of_cell(row[table.split], where, table.split)
        group = None if table.group is None else row[table.group]
        image = lookup.find(row[table.path], where)
        if (first := lines.setdefault(image, line)) != line:
            raise DataError(
                "data.duplicate_row",
                f"{where}: the image '{row[table.path]}' is already in line {first}.",
                "Remove one of the lines.",
            )
        files.append(LabelledFile(image, label, split, group))
    return files, without_class


def _note_several(labels: set[str]) -> Iterator[str]:
    """Reports cells that name several classes: ``Hernia|Mass`` where another row has ``Hernia``."""
    parts = {label: re.split(r"\s*[|;,]\s*|\s+", label) for label in sorted(labels)}
    several = [label for label, names in parts.items() if len(names) > 1 and labels.issuperset(names)]
    if several:
        yield (
            f"{len(several)} classes seem to be several classes of one image, as '{several[0]}'; each is read as a "
            "class of its own. Name the classes to keep in dataset.classes to leave these out."
        )


def _one_hot(row: Mapping[str, str], columns: Sequence[str], where: str) -> str:
    """The one column of a row that has a 1."""
    found = []
    for column in columns:
        is_one = _NUMBERS.get(row[column].lower())
        if is_one is None:
            raise DataError(
                "data.not_one_hot", f"{where}: '{row[column]}' in column '{column}' is neither 0 nor 1.",
                "Correct the cell, or dataset.labels.class_columns.",
            )  # fmt: skip
        if is_one:
            found.append(column)
    if len(found) != 1:
        raise DataError(
            "data.not_one_hot",
            f"{where}: {' and '.join(found) if found else 'none'} of dataset.labels.class_columns "
            f"{'have' if len(found) > 1 else 'has'} a 1; each image has exactly one class.",
            "Correct the row, or remove it.",
        )
    return found[0]


def _refuse_one_hot(path: Path, table: LabelTable, rows: Sequence[tuple[int, Mapping[str, str]]]) -> None:
    """Refuses one of several one-hot columns as the label column: its classes would be 0 and 1.

    Raises:
        DataError: the label column and others have 0 and 1 only, and exactly one 1 in each row.
    """
    if table.label is None or table.classes or not rows:
        return
    columns = [name for name in rows[0][1] if all(row[name].lower() in _NUMBERS for _, row in rows)]
    columns = [name for name in columns if any(_NUMBERS[row[name].lower()] for _, row in rows)]
    if table.label not in columns or len(columns) < 2:
        return
    if all(sum(_NUMBERS[row[name].lower()] for name in columns) == 1 for _, row in rows):
        raise DataError(
            "data.one_hot_label",
            f"The column '{table.label}' of {path} is one of {len(columns)} columns of 0 and 1 that together name the "
            f"class: {', '.join(columns)}.",
            f"Set dataset.labels.class_columns to [{', '.join(columns)}] instead of dataset.labels.label.",
        )


def _rows(path: Path, table: LabelTable) -> tuple[str, list[tuple[int, dict[str, str]]], tuple[str, ...]]:
    """The delimiter, the line and cells of every row, and a note on comments.

    Comments are lines that begin with ``#`` above the first row of a table without a header.
    """
    text = _text(path, table.encoding)
    comments = re.match(r"(?:#[^\n]*(?:\n|$))*", text) if table.columns is not None else None
    count = comments[0].count("\n") if comments else 0
    text = "\n" * count + text[comments.end() :] if comments else text
    note = (f"{count} lines of {path.name} above the first row begin with #, and are comments.",) if count else ()
    delimiter = table.delimiter if table.delimiter != "auto" else _delimiter(text, table)
    rows = _cells(path, text, delimiter)
    names = table.columns if table.columns is not None else next((row for _, row in rows), [])
    if twice := [name for name in table.named() if list(names).count(name) > 1]:
        raise DataError(
            "data.label_table_malformed", f"The label table {path} has several columns named '{twice[0]}'.",
            "Rename one of them.",
        )  # fmt: skip
    for column in table.named():
        if names and column not in names:
            raise DataError(
                "data.label_table_column_missing",
                f"The label table {path} has no column '{column}'; its columns are: {', '.join(names)}.",
                "Correct dataset.labels, or its delimiter. If the first line is not the names of the columns, delete "
                "what is above them, or, where there are none, name them in dataset.labels.columns.",
            )
    found = []
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(
                "data.label_table_malformed",
                f"{path}:{line}: the row has {len(row)} cells, and {len(names)} are expected ({', '.join(names)}).",
                "Check the row and dataset.labels.delimiter.",
            )
        found.append((line, dict(zip(names, row, strict=True))))
    return delimiter, found, note


def _text(path: Path, encoding: str) -> str:
    data = path.read_bytes()
    if data.startswith(_WORKBOOK):
        raise DataError(
            "data.label_table_workbook",
            f"The label table {path} is a workbook of Excel or another spreadsheet, not text.",
            "Save it as CSV (UTF-8).",
        )
    for kind, begins, remedy in _FORMATS:
        if begins.match(data[:100_000]):
            raise DataError(
                "data.label_table_unsupported",
                f"The label table {path} is a {kind}, not text in columns.",
                f"Write a CSV file with a row for each image, its path and its class. In Python: {remedy}.",
            )
    if encoding == "utf-8" and data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        line = data.count(b"\n", 0, start) + 1
        raise DataError(
            "data.label_table_not_utf8",
            f"{path}:{line}: the label table is not {encoding.upper()} text (byte {data[start]:#04x}).",
            "Save it as UTF-8, or set dataset.labels.encoding; tables of Windows programs often are cp1252.",
        ) from error


def _delimiter(text: str, table: LabelTable) -> str:
    """The delimiter with which the first line has all columns that are read; comma if there is none."""
    first = next((line for line in text.splitlines() if line.strip()), "")[:100_000]
    expected = len(table.columns) if table.columns is not None else None
    for name, character in _DELIMITERS.items():
        cells = [cell.strip() for cell in next(csv.reader([first], delimiter=character, skipinitialspace=True), [])]
        if len(cells) == expected if expected else set(table.named()) <= set(cells):
            return name
    words = first.split()
    return "whitespace" if (len(words) == expected if expected else set(table.named()) <= set(words)) else "comma"


def _cells(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    if delimiter == "whitespace":
        yield from ((number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip())
        return
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=_DELIMITERS[delimiter], skipinitialspace=True, strict=True
    )
    try:
        for row in reader:
            if row:
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:  # without strict, an unclosed quote would swallow the lines after it
        raise DataError("data.label_table_malformed", f"{path}:{reader.line_num}: malformed row: {error}.") from error
