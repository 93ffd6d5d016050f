"""Manifests: a table of images wherever they are, one row an image, in Parquet or CSV.

Columns: ``uri`` and ``label``; ``split``, ``group`` and ``sha256`` where they are known. A relative ``uri`` is relative
to the manifest. Only these columns are read, each into one list, as there may be millions of rows.
"""

import csv
import io
import re
import sys
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlcli.datasets.labelled_files import LabelledFile, LeftOut, Scan, normal_label
from tlcli.datasets.split_names import SplitName, split_of_cell
from tlcli.errors import DataError
from tlcli.system.remote.failures import remote_missing
from tlcli.system.remote.path import RemotePath, as_path

COLUMNS = ("uri", "label", "split", "group", "sha256")
SUFFIXES = (".csv", ".parquet")
_REQUIRED = COLUMNS[:2]
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class _Table:
    """The columns that the manifest has, as text."""

    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    """Of each row: where a reader of the file finds it."""

    def __len__(self) -> int:
        return len(self.columns["uri"])


def is_manifest(path: Path) -> bool:
    """Whether a path is that of a manifest, by its suffix and what it is."""
    return path.suffix.lower() in SUFFIXES and (isinstance(path, RemotePath) or path.is_file())


def scan_manifest(path: Path, classes: Sequence[str] | None) -> Scan:
    """The images that a manifest lists.

    Args:
        path: of the manifest, here or remote.
        classes: use only rows of these classes; None uses all.

    Raises:
        DataError: the manifest is missing or malformed, or a cell is not allowed; with file:line.
        UsageError: the extra ``remote`` is not installed, and the manifest needs it.
        NetworkError: its store refuses access, or does not answer.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            "data.images_missing", f"There is no manifest {path}.", "Correct dataset.path."
        ) from error  # fmt: skip
    table = _of_parquet(path, data) if path.suffix.lower() == ".parquet" else _of_csv(path, data)
    files, digests, without_label = _files(path, table, classes)
    if not files:
        raise DataError(
            "data.label_table_without_labels", f"No row of the manifest {path} has a class that is used.",
            "Check the column label, and dataset.classes.",
        )  # fmt: skip
    left_out: tuple[LeftOut, ...] = ()
    if without_label:
        values = ", ".join(f"{value or 'empty'}: {count:,}" for value, count in without_label.most_common(5))
        left_out = (LeftOut(without_label.total(), f"rows of {path.name} that belong to no class ({values})"),)
    used = [name for name in COLUMNS if name in table.columns]
    read_as = f"manifest ({path.name}, {len(table):,} rows with {', '.join(used)})"
    return Scan(path.parent, tuple(files), read_as, left_out, digests=digests)


def _files(
    path: Path, table: _Table, classes: Sequence[str] | None
) -> tuple[list[LabelledFile], dict[Path, str], Counter[str]]:
    empty = [""] * len(table)
    uris, labels, splits, groups, digests = (table.columns.get(name, empty) for name in COLUMNS)
    has_splits, has_groups, wanted = any(splits), any(groups), None if classes is None else set(classes)
    parsed: dict[str, SplitName] = {}
    rows: dict[Path, int] = {}
    files, known, without_label = list[LabelledFile](), dict[Path, str](), Counter[str]()
    for row, (uri, label) in enumerate(zip(uris, labels, strict=True)):
        where = f"{path}:{table.lines[row]}"
        if not uri:
            raise _malformed(f"{where}: the cell of the column uri is empty.")
        if not label or (wanted is not None and normal_label(label) not in wanted):
            without_label[label] += 1
            continue
        split = None
        if has_splits:
            cell = splits[row]
            split = parsed.get(cell) or parsed.setdefault(cell, split_of_cell(cell, where, "split"))
        image = as_path(uri, path.parent)
        if (first := rows.setdefault(image, row)) != row:
            raise DataError(
                "data.duplicate_row",
                f"{where}: the image {image} is already in line {table.lines[first]}.",
                "Remove one of the lines. What follows ? in an address tells no images apart.",
            )
        if digests[row]:
            if not _SHA256.fullmatch(digests[row]):
                raise _malformed(f"{where}: '{digests[row]:.80}' of the column sha256 is no digest (64 hex digits).")
            known[image] = digests[row].lower()
        files.append(LabelledFile(image, sys.intern(label), split, sys.intern(groups[row]) if has_groups else None))
    return files, known, without_label


def _of_csv(path: Path, data: bytes) -> _Table:
    try:
        text = data.decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
        names = [name.strip() for name in next(reader, [])]
        _check_columns(path, names)
        lines = array("L")
        columns: dict[str, list[str]] = {name: [] for name in COLUMNS if name in names}
        taken = [(names.index(name), cells) for name, cells in columns.items()]
        for cells in reader:
            if len(cells) != len(names):
                if not cells:
                    continue
                raise _malformed(
                    f"{path}:{reader.line_num}: the row has {len(cells)} cells, and {len(names)} are expected."
                )
            lines.append(reader.line_num)
            for place, column in taken:
                column.append(cells[place].strip())
    except UnicodeError as error:
        raise _malformed(f"The manifest {path} is not UTF-8 text.") from error
    except csv.Error as error:
        raise _malformed(f"{path}:{reader.line_num}: malformed row: {error}.") from error
    return _Table(columns, lines)


def _of_parquet(path: Path, data: bytes) -> _Table:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise remote_missing(error) from error
    try:
        file = parquet.ParquetFile(pa.BufferReader(data))
        names = file.schema_arrow.names
        _check_columns(path, names)
        read = file.read(columns=[name for name in COLUMNS if name in names])
        columns = {name: _texts(read.column(name), pa) for name in read.column_names}
    except pa.ArrowException as error:
        raise _malformed(f"The manifest {path} is no whole Parquet file ({' '.join(str(error).split())}).") from error
    return _Table(columns, range(1, file.metadata.num_rows + 1))


def _texts(column: object, pa: object) -> list[str]:
    """A column as text, empty for what is missing; equal cells are one object, as labels repeat."""
    text = column.cast(pa.string())  # type: ignore[attr-defined]
    return ["" if cell is None else cell for cell in text.to_pylist()]


def _check_columns(path: Path, names: Sequence[str]) -> None:
    if missing := [name for name in _REQUIRED if name not in names]:
        raise DataError(
            "data.label_table_column_missing",
            f"The manifest {path} has no column '{missing[0]}'; its columns are: {', '.join(names) or 'none'}.",
            f"Name the columns {', '.join(_REQUIRED)}, and, where they are known, {', '.join(COLUMNS[2:])}. If it is "
            "the label table of a folder, set dataset.path to the folder and dataset.labels.file to the table.",
        )
    if twice := [name for name in COLUMNS if list(names).count(name) > 1]:
        raise _malformed(f"The manifest {path} has several columns named '{twice[0]}'.")


def _malformed(message: str) -> DataError:
    return DataError("data.label_table_malformed", message, "Correct the manifest.")
