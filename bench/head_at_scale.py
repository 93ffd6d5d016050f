"""The head where the features are much larger than memory: seconds, passes and peak memory of logistic regression.

python bench/head_at_scale.py [--rows 1000000] [--features 1280] [--classes 10] [--folder DIR]

Makes the features of so many images (float16, in shards as `tlcli train` writes them; 2.5 GB of 1,000,000 rows), and
fits the head in a process of its own as `tlcli train` does: it opens the store, which reads every shard and checks its
digest, measures means and deviations, chooses C on a sample, and fits all rows at the best C, pass after pass. The
features are drawn: classes that overlap in 64 of their directions, and noise. They are deleted afterwards. A tenth of
the rows is measured as well, and 10 million are on the line through both. Writes bench/results/head_at_scale.json.
"""

import argparse
import hashlib
import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from measure import introduce, note, process, save, table
from tlcli.backbones.blocks import Block, Blocks
from tlcli.features.pipeline import SHARD_ROWS
from tlcli.features.rows import Rows
from tlcli.features.store import Store, row_key
from tlcli.images.augmentation import PLAIN
from tlcli.progress import Progress

FULL = 10_000_000
DIRECTIONS = 64
CS = (0.001, 0.01, 0.1, 1.0)


def store_of(features: int) -> Store:
    """The store, in $TLCLI_CACHE; a block that is no last layer's average is float16."""
    return Store(hashlib.sha256(b"head_at_scale").hexdigest(), Blocks((Block("stage1", "avg", features),)))


def key_of(number: int) -> bytes:
    """Of a row, by its number, as an image's digest gives it."""
    return row_key(f"{number:064x}", PLAIN)


def labels_of(rows: int, classes: int) -> Any:
    """[N], in no order."""
    return np.random.default_rng(1).integers(0, classes, rows)


def make(rows: int, features: int, classes: int) -> None:
    """Writes the store: a class's mean and spread along some directions, and noise; rectified, as networks do."""
    random = np.random.default_rng(0)
    directions = random.normal(0, 0.3, (DIRECTIONS, features)).astype(np.float32)
    means = random.normal(0, 0.6, (classes, DIRECTIONS)).astype(np.float32)
    noise = random.normal(0.3, 1, (4 * SHARD_ROWS, features)).astype(np.float32)
    store, labels = store_of(features), labels_of(rows, classes)
    for start in range(0, rows, SHARD_ROWS):
        numbers = range(start, min(start + SHARD_ROWS, rows))
        place = random.normal(0, 1, (len(numbers), DIRECTIONS)).astype(np.float32)
        place += means[labels[start : numbers.stop]]
        offset = random.integers(0, 3 * SHARD_ROWS)
        values = place @ directions + noise[offset : offset + len(numbers)]
        store.append([key_of(number) for number in numbers], np.maximum(values, 0))


class Stages(Progress):
    """Seconds of each stage, and the notes."""

    def __init__(self) -> None:
        """Empty."""
        self.seconds: dict[str, float] = {}
        self.notes: list[str] = []

    @contextmanager
    def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[None]:  # noqa: ARG002
        """See :class:`tlcli.progress.Progress`."""
        started = perf_counter()
        yield
        self.seconds[title] = perf_counter() - started

    def note(self, message: str) -> None:
        """See :class:`tlcli.progress.Progress`."""
        self.notes.append(message)


def fit(rows: int, features: int, classes: int) -> dict[str, Any]:
    """Fits the head on the rows of the store, as train does."""
    from tlcli.heads.logistic_regression import fit_logistic_regression

    stages, started, of_cores = Stages(), perf_counter(), process_time()
    store = store_of(features)
    opened, opened_of_cores, before = perf_counter() - started, process_time() - of_cores, _peak_mb()
    blocks_read = 0
    read = store.reader(map(key_of, range(rows)))

    def counted(numbers: Any) -> Any:
        nonlocal blocks_read
        blocks_read += len(numbers)
        return read(numbers)

    given = Rows(labels_of(rows, classes), np.arange(rows), (features,), counted)
    started, of_cores = perf_counter(), process_time()
    found = fit_logistic_regression(given, CS, 5, True, "none", 0, stages)
    fitted, fitted_of_cores = perf_counter() - started, process_time() - of_cores
    peak = _peak_mb()  # before the rows below are read, which train does not hold
    part = Rows.of(read(np.arange(0, rows, max(1, rows // 20_000))), given.labels[:: max(1, rows // 20_000)])
    return {
        "open_seconds": opened, "open_core_seconds": opened_of_cores, "fit_seconds": fitted,
        "fit_core_seconds": fitted_of_cores, "stages": stages.seconds, "passes": blocks_read / rows,
        "C": found.best.C, "accuracy": float(np.mean(found.head.predict(part).argmax(axis=1) == part.labels)),
        "opened_mb": before, "peak_mb": peak, "notes": stages.notes,
    }  # fmt: skip


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=1280)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="a folder on a disk with room; default: the temporary folder")
    parser.add_argument("--fit", action="store_true", help=argparse.SUPPRESS)  # the process that is measured
    options = parser.parse_args()
    given = (options.rows, options.features, options.classes)
    if options.fit:
        print(json.dumps(fit(*given)))
        return
    introduce()
    results = {count: measured(count, *given[1:], options.folder) for count in (options.rows // 10, options.rows)}
    show(results)
    save("head_at_scale", settings=vars(options) | {"folder": str(options.folder)}, results=results)


def measured(rows: int, features: int, classes: int, folder: Path | None) -> dict[str, Any]:
    """Makes a store, and fits on it in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        os.environ["TLCLI_CACHE"] = name
        note(f"Writing {2 * rows * features / 1e9:.2f} GB of features")
        started = perf_counter()
        make(rows, features, classes)
        made = perf_counter() - started
        note("Fitting")
        given = f"--fit --rows {rows} --features {features} --classes {classes}".split()
        found: dict[str, Any] = process([sys.executable, Path(__file__).absolute(), *given], Path(name)).document()
    return {"made_seconds": made, **found}


def extrapolated(few: float, many: float, rows: int) -> float:
    """The line through a tenth of the rows and all of them, at ten million."""
    return many + (FULL - rows) * (many - few) / (rows - rows // 10)


def show(results: dict[int, dict[str, Any]]) -> None:
    """The table, and what it means for ten million rows."""
    (less, few), (rows, many) = results.items()
    titles = [
        ("open the store: read and check all shards, s", "open_seconds"), ("  of cores, s", "open_core_seconds"),
        ("fit, s", "fit_seconds"), ("  of cores, s", "fit_core_seconds"),
    ]  # fmt: skip
    lines = []
    for title, key in (*titles, ("peak memory, MB", "peak_mb")):
        values = [few[key], many[key], extrapolated(few[key], many[key], rows)]
        lines.append([title, *(f"{value:,.0f}" for value in values)])
    lines[4:4] = [
        [
            f"  {title}",
            f"{few['stages'][title]:,.0f}",
            f"{seconds:,.0f}",
            f"{extrapolated(few['stages'][title], seconds, rows):,.0f}",
        ]
        for title, seconds in many["stages"].items()
    ]
    lines.append(["passes over all rows", f"{few['passes']:.1f}", f"{many['passes']:.1f}", ""])
    lines.append(["accuracy on rows fitted on", f"{few['accuracy']:.4f}", f"{many['accuracy']:.4f}", ""])
    print(table(("", f"{less:,} rows", f"{rows:,} rows", f"{FULL:,} rows, by the line"), lines))
    print(f"C {many['C']:g}. {' '.join(many['notes'])}")


if __name__ == "__main__":
    main()
