"""cross_validation.json and out_of_fold.csv: what cross-validation found, and its prediction of each image.

Shapes: N images, L classes.
"""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from tlcli.datasets.index import LabelledImage
from tlcli.errors import ModelError
from tlcli.evaluation.cross_validation import CrossValidation
from tlcli.runs.files import class_columns, read_csv, read_json, write_csv, write_json
from tlcli.runs.predictions import PredictionRow, read_predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SUMMARY, OUT_OF_FOLD = "cross_validation.json", "out_of_fold.csv"
_COLUMNS = ("path", "sha256", "split", "label", "predicted")
_ADAPTER = TypeAdapter(CrossValidation)


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of training and validation images by heads that were not fitted on them or on near duplicates."""

    sha256: tuple[str, ...]
    """[N]"""
    labels: "NDArray[np.int64]"
    """[N], the class's number."""
    probabilities: "NDArray[np.float64]"
    """[N, L], calibrated by the head's temperature."""
    predicted: "NDArray[np.int64]"
    """[N], the answers: the most probable classes, or those of thresholds that were chosen on other folds."""


def write_cross_validation(
    run: Path, summary: CrossValidation, images: Sequence[LabelledImage], labels: Sequence[str], found: OutOfFold
) -> None:
    """Writes both files.

    Args:
        run: the run's directory.
        summary: the figures.
        images: those predicted [N].
        labels: all classes [L].
        found: their predictions, in the same order.
    """
    write_json(run / _SUMMARY, asdict(summary))
    numbers = ",".join(["%.6f"] * len(labels))
    rows = (
        (
            image.name, image.sha256, image.split, labels[truth], labels[answer],
            *(numbers % tuple(row.tolist())).split(","),
        )
        for image, truth, answer, row in zip(
            images, found.labels.tolist(), found.predicted.tolist(), found.probabilities, strict=True
        )
    )  # fmt: skip
    write_csv(run / OUT_OF_FOLD, (*_COLUMNS, *class_columns(labels, _COLUMNS)), rows)


def read_cross_validation(run: Path) -> CrossValidation | None:
    """The figures; None where the run was trained without cross-validation, or before it was recorded.

    Raises:
        ModelError: the file is malformed.
    """
    return read_json(run / _SUMMARY, _ADAPTER) if (run / _SUMMARY).is_file() else None


def read_out_of_fold(run: Path, labels: Sequence[str]) -> OutOfFold | None:
    """The predictions; None as of :func:`read_cross_validation`.

    Raises:
        ModelError: the file is malformed.
    """
    import numpy as np  # noqa: PLC0415 - listing runs needs none

    table = run / OUT_OF_FOLD
    if not table.is_file():
        return None
    numbers, found = {label: number for number, label in enumerate(labels)}, list[tuple[str, int, int, list[str]]]()
    try:
        header, *rows = read_csv(table)
        if tuple(header[: len(_COLUMNS)]) != _COLUMNS or len(header) != len(_COLUMNS) + len(labels):
            raise ValueError(f"its columns are not {', '.join(_COLUMNS)} and the classes")
        for _, sha256, _, label, predicted, *probabilities in rows:
            found.append((sha256, numbers[label], numbers[predicted], probabilities))
        values = np.array([one[3] for one in found], np.float64).reshape(len(found), len(labels))
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise ModelError("model.run_unreadable", f"{table} cannot be read ({error}).", "Train again.") from error
    truth, answers = (np.array([one[column] for one in found], np.int64) for column in (1, 2))
    return OutOfFold(tuple(one[0] for one in found), truth, values, answers)


def read_out_of_fold_rows(run: Path) -> list[PredictionRow] | None:
    """The predicted class of each image, with the group that its split's predictions name; None as of
    :func:`read_cross_validation`.

    Raises:
        ModelError: a file is malformed.
    """
    table = run / OUT_OF_FOLD
    if not table.is_file():
        return None
    groups = {row.path: row.group for rows in read_predictions(run).values() for row in rows}
    found = []
    try:
        header, *rows = read_csv(table)
        if tuple(header[: len(_COLUMNS)]) != _COLUMNS:
            raise ValueError(f"its columns are not {', '.join(_COLUMNS)} and the classes")
        for path, sha256, _, label, predicted, *_ in rows:
            found.append(PredictionRow(path, sha256, label, predicted, groups.get(path, sha256)))
    except (OSError, ValueError, csv.Error) as error:
        raise ModelError("model.run_unreadable", f"{table} cannot be read ({error}).", "Train again.") from error
    return found
