"""Corrections of labels: a CSV file of doubted labels, in which people decide on each.

Columns: image, label, suggested, probability, decision. A decision is ``keep``, ``relabel`` (as suggested), the name of
a class, ``exclude``, or empty: undecided. Commas, semicolons or tabs separate the columns, as spreadsheets write them.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.datasets.labelled_files import Scan, normal_label
from tlcli.datasets.walk import relative_name
from tlcli.errors import DataError, UsageError
from tlcli.system.files import write_text

COLUMNS = ("image", "label", "suggested", "probability", "decision")


@dataclass(frozen=True)
class Correction:
    """One row."""

    name: str
    """Of the image; bytes that are not UTF-8 are escapes."""
    label: str
    """As the data gives it."""
    suggested: str
    probability: str
    """Of the suggested class."""
    decision: str = ""
    row: int = 0
    """Its number in the file; the header is 1."""

    @property
    def target(self) -> str | None:
        """The class that it decides for; None of keep, exclude and undecided rows."""
        if self.decision in ("", "keep", "exclude"):
            return None
        return normal_label(self.suggested if self.decision == "relabel" else self.decision)


@dataclass(frozen=True)
class Corrected:
    """What the decisions of a file come to, by the names of images."""

    relabelled: dict[str, str]
    set_aside: tuple[str, ...]
    """Images to exclude because of their label."""
    notes: tuple[str, ...]


def escaped(name: str) -> str:
    """A name as the file has it."""
    return name.encode(errors="backslashreplace").decode()


def read_corrections(path: Path) -> tuple[Correction, ...]:
    """All rows of a file.

    Raises:
        DataError: it is unreadable, or a row is malformed.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(
            "data.corrections_unreadable",
            f"The corrections {path} cannot be read: {reason}.",
            "Correct dataset.corrections, or write such a file with: tlcli inspect --write-labels FILE.",
        ) from error
    first = text.partition("\n")[0]
    delimiter = next((mark for mark in ",;\t" if mark.join(COLUMNS) in first.replace('"', "")), ",")
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except (csv.Error, ValueError) as error:
        raise _malformed(path, 1, f"it is no CSV table ({error})") from error
    if tuple(cell.strip() for cell in header) != COLUMNS:
        raise _malformed(path, 1, f"its columns must be {','.join(COLUMNS)}")
    found: dict[str, Correction] = {}
    for number, cells in enumerate(rows, 2):
        if not any(cells):
            continue
        if len(cells) != len(COLUMNS):
            raise _malformed(path, number, f"{len(cells)} cells instead of {len(COLUMNS)}")
        name, label, suggested, probability, decision = cells
        one = Correction(name, label, suggested, probability, decision.strip(), number)
        if (before := found.setdefault(one.name, one)).decision != one.decision:
            raise _malformed(path, number, f"{one.name} has another decision in row {before.row}")
    return tuple(found.values())


def _malformed(path: Path, row: int, what: str) -> DataError:
    return DataError(
        "data.corrections_malformed",
        f"{path}:{row}: {what}.",
        "Correct this row, or write the file again with: tlcli inspect --write-labels FILE.",
    )


def resolve(path: Path, corrections: Sequence[Correction], scan: Scan, classes: Sequence[str]) -> Corrected:
    """Checks decisions against the data.

    Args:
        path: of the file, for messages.
        corrections: its rows.
        scan: the labelled files.
        classes: all classes.

    Raises:
        DataError: a decision is no decision and no class, or its image is unknown or labelled otherwise now.
    """
    files = {escaped(name := relative_name(file.path, scan.root)): (name, file.label) for file in scan.files}
    relabelled: dict[str, str] = {}
    set_aside: list[str] = []
    done = decided = 0
    for one in corrections:
        decided += bool(one.decision)
        if one.decision in ("", "keep"):
            continue
        if one.target is not None and one.target not in classes:
            raise DataError(
                "data.correction_unknown_decision",
                f"{path}:{one.row}: the decision {one.decision!r} is not keep, relabel, exclude or one of the "
                f"{len(classes):,} classes: {', '.join(classes[:20])}{' ...' if len(classes) > 20 else ''}.",
                "Correct the cell, or leave it empty.",
            )
        if one.name not in files:
            raise DataError(
                "data.correction_unknown_image",
                f"{path}:{one.row}: the data set in {scan.root} has no image {one.name!r}.",
                "Correct the name, which is relative to the data folder, or delete the row.",
            )
        name, label = files[one.name]
        if label == one.target:
            done += 1
            continue
        if label != normal_label(one.label):
            raise DataError(
                "data.correction_label_changed",
                f"{path}:{one.row}: {one.name} is labelled {label!r} in the data, not {one.label!r} as when this was "
                "decided.",
                "Decide again: write its present label into the row, or delete the row.",
            )
        if one.target is None:
            set_aside.append(name)
        else:
            relabelled[name] = one.target
    notes = [
        f"dataset.corrections: {decided:,} of {len(corrections):,} labels are decided; {len(relabelled):,} images have "
        f"another label, {len(set_aside):,} are excluded for their label."
    ]
    if done:
        notes.append(f"{done:,} of the corrections are in the data already.")
    return Corrected(relabelled, tuple(set_aside), tuple(notes))


def write_corrections(path: Path, corrections: Iterable[Correction]) -> int:
    """Writes the rows; decisions of an older file at this path are kept, also those on other images.

    Returns:
        how many rows are decided.

    Raises:
        UsageError: the path is taken by something else.
        DataError: the older file is malformed.
    """
    check_corrections_replaceable(path)
    older = {one.name: one for one in read_corrections(path)} if path.exists() else {}
    rows = [
        replace(one, decision=older[one.name].decision, suggested=_suggested(older[one.name], one))
        if one.name in older
        else one
        for one in corrections
    ]
    names = {one.name for one in rows}
    rows += [one for one in older.values() if one.decision and one.name not in names]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((one.name, one.label, one.suggested, one.probability, one.decision) for one in rows)
    write_text(path, text.getvalue())
    return sum(bool(one.decision) for one in rows)


def _suggested(older: Correction, new: Correction) -> str:
    """``relabel`` was decided for the class that was suggested then."""
    return older.suggested if older.decision == "relabel" else new.suggested


def check_corrections_replaceable(path: Path) -> None:
    """Refuses to replace a file that is no file of corrections.

    Raises:
        UsageError: it is such a file.
    """
    if not path.exists():
        return
    is_own = False
    if path.is_file():
        head = path.read_bytes()[:200].decode("utf-8-sig", "replace").replace('"', "")
        is_own = any(head.startswith(mark.join(COLUMNS)) for mark in ",;\t")
    if not is_own:
        raise UsageError(
            "usage.file_exists", f"{path} exists and is no file of corrections.", "Give another file to --write-labels."
        )
