"""predictions.csv: one line for each image of the splits that were measured."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tlcli.datasets.index import Index
from tlcli.datasets.split_names import SPLITS, SplitName
from tlcli.errors import ModelError
from tlcli.runs.files import class_columns, read_csv, write_csv
from tlcli.runs.folders import finished_runs
from tlcli.runs.records import read_metrics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.evaluation.thresholds import Thresholds

_COLUMNS = ("path", "sha256", "split", "label", "predicted", "group")


class PredictionRow(NamedTuple):
    """One line of predictions.csv."""

    path: str
    """Relative to the data folder."""
    sha256: str
    label: str
    predicted: str
    group: str
    """Images with the same value belong together."""

    @property
    def is_correct(self) -> bool:
        """Whether the predicted class is the label."""
        return self.label == self.predicted


def write_predictions(
    run: Path,
    index: Index,
    probabilities: "dict[SplitName, NDArray[np.float64]]",
    thresholds: "Thresholds | None" = None,
) -> None:
    """Writes predictions.csv.

    Args:
        run: the run's directory.
        index: the images.
        probabilities: [N, L] of the images of each split measured, in the index's order.
        thresholds: that the answers were decided with.
    """
    from tlcli.evaluation.thresholds import decided  # noqa: PLC0415 - NumPy; listing runs needs none

    header = (*_COLUMNS, *class_columns(index.labels, _COLUMNS))
    numbers = ",".join(["%.6f"] * len(index.labels))  # formatted a row at a time: there may be millions
    rows = (
        (
            p.name, p.sha256, split, p.label, index.labels[answer], p.group,
            *(numbers % tuple(row.tolist())).split(","),
        )
        for split, of_split in probabilities.items()
        for p, row, answer in zip(index.of(split), of_split, decided(of_split, thresholds).tolist(), strict=True)
    )  # fmt: skip
    write_csv(run / "predictions.csv", header, rows)


def read_predictions(run: Path) -> dict[SplitName, list[PredictionRow]]:
    """The predictions of a run for each split that was measured, in the file's order; test only after evaluate.

    Raises:
        ModelError: the file is missing or malformed.
    """
    table = run / "predictions.csv"
    found: dict[str, list[PredictionRow]] = defaultdict(list)
    try:
        for path, sha256, split, *others in _lines(table):
            found[split].append(PredictionRow(path, sha256, *others[:3]))
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise ModelError(
            "model.predictions_malformed", f"{table} cannot be read ({error}).", f"Run: tlcli evaluate --run {run}"
        ) from error
    return {split: found[split] for split in SPLITS if split in found}


def _lines(table: Path) -> Iterator[list[str]]:
    rows = read_csv(table)
    if tuple(next(rows, [])[: len(_COLUMNS)]) != _COLUMNS:
        raise ValueError(f"its columns are not {', '.join(_COLUMNS)}, ...")
    yield from rows


def count_test_evaluations(runs_dir: Path, run: Path) -> int:
    """How many runs in a directory, this one included, were evaluated on its test images; 0 before evaluate.

    Two runs share their test images where most of these are, by content, the same: at least half of all that either was
    evaluated on. Choosing the best of many such runs overfits the test images: its accuracy on them is too high.

    Raises:
        ModelError: this run's predictions are missing or malformed; other runs whose are do not count.
    """
    own = {prediction.sha256 for prediction in read_predictions(run).get("test", [])}
    if not own:
        return 0
    count = 1
    for other in finished_runs(runs_dir):
        if other.resolve() != run.resolve():
            with suppress(ModelError):
                count += _shares_test_images(own, other)
    return count


def _shares_test_images(own: set[str], other: Path) -> bool:
    if "test" not in read_metrics(other):
        return False  # without reading a long table
    others = {prediction.sha256 for prediction in read_predictions(other).get("test", [])}
    return 2 * len(own & others) >= len(own | others)
