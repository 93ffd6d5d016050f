"""What runs answered, read back from their tables of predictions; and how often test images were looked at."""

import csv
import io
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tlcli.datasets.layout import SPLITS, SplitName
from tlcli.errors import ModelError
from tlcli.runs import folders as runs
from tlcli.system.files import open_regular

_COLUMNS = ["path", "sha256", "split", "label", "predicted"]
GROUP = "group"


class Answer(NamedTuple):
    """One image of a run's predictions.csv."""

    path: str
    """Relative to the data folder."""
    sha256: str
    label: str
    predicted: str
    group: str
    """What it belongs together with; its own where it stands alone"""

    @property
    def right(self) -> bool:
        """Whether the likeliest class is the image's own."""
        return self.label == self.predicted


def read_predictions(run: Path) -> dict[SplitName, list[Answer]]:
    """The answers of a run for each split that was measured, in the table's order; no test before evaluate.

    Raises:
        ModelError: the table is missing or broken.
    """
    table = run / "predictions.csv"
    found: dict[str, list[Answer]] = defaultdict(list)
    try:
        with io.TextIOWrapper(io.BufferedReader(open_regular(table)), newline="", encoding="utf-8") as file:
            rows = csv.reader(file, strict=True)
            head = next(rows, [])
            if head[: len(_COLUMNS)] != _COLUMNS:
                raise ModelError(f"{table} is not a table of predictions; run: tlcli evaluate --run {run}")
            grouped = head[len(_COLUMNS) :][:1] == [GROUP]  # tables of older versions have none
            for path, sha256, split, label, predicted, *more in rows:
                found[split].append(Answer(path, sha256, label, predicted, more[0] if grouped else sha256))
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise ModelError(f"{table} cannot be read ({error}); run: tlcli evaluate --run {run}") from error
    return {split: found[split] for split in SPLITS if split in found}


def looks_at_test(runs_dir: Path, run: Path) -> int:
    """How many runs in a folder, this one included, were evaluated on its test images; 0 before evaluate.

    Two runs share their test images where these are, by content, the same for the greater part: at least half of all
    that either was evaluated on. Whoever takes the best of many such runs has chosen by the test images, and the
    accuracy of the chosen one on them is too high.

    Raises:
        ModelError: this run's table is missing or broken; other runs that are do not count.
    """
    own = {answer.sha256 for answer in read_predictions(run).get("test", [])}
    if not own:
        return 0
    count = 1
    for other in runs.finished_runs(runs_dir):
        if other.resolve() != run.resolve():
            with suppress(ModelError):
                count += _shared(own, other)
    return count


def _shared(own: set[str], other: Path) -> bool:
    """Whether these test images are for the greater part those of another run."""
    test = runs.read_json(other / "metrics.json").get("test")
    if not test:
        return False  # without reading a long table
    others = {answer.sha256 for answer in read_predictions(other).get("test", [])}
    return 2 * len(own & others) >= len(own | others)
