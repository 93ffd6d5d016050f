"""A manifest of 1,000,000 rows: how long `tlcli features` takes to read it, plan its units, and skip what is there.

python bench/manifest.py [--rows 1000000] [--images 64] [--runs 1]

Rows share images, so that the features fit anywhere: row i is object i of a bucket, with the bytes of image i modulo
--images. A server on this machine has the first of them, which one run reads and computes; for the others the program
writes the digest records that their units would have written, 512 rows each. Then every row is known, nothing is read
or computed, and what is left is timed from outside: a whole process, its seconds and its largest resident set. It is
repeated with digests in the manifest instead of records, and as CSV.
Writes bench/results/manifest.json.
"""

import argparse
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

from images import make_tree
from measure import Process, introduce, note, save, settings, spread, table, tlcli, values
from object_server import serving
from tlcli.datasets.object_digests import ObjectDigests, Seen
from tlcli.features.units import UNIT_ROWS

BUCKET = "s3://bench"
CLASSES = ("a", "b", "c", "d")


class Rows:
    """The rows of a manifest."""

    def __init__(self, count: int, digests: Sequence[str]) -> None:
        """``count`` rows with the bytes of these images in turn."""
        self.count, self._digests = count, digests

    def address(self, row: int) -> str:
        """Of a row's object."""
        return f"{BUCKET}/images/{row:09d}.jpg"

    def digest(self, row: int) -> str:
        """Of its bytes."""
        return self._digests[row % len(self._digests)]

    def columns(self, count: int, with_digests: bool = False) -> pa.Table:
        """The first rows as a table."""
        rows = range(count)
        found = {
            "uri": [self.address(row) for row in rows],
            "label": [CLASSES[row % len(CLASSES)] for row in rows],
            "split": [("train", "train", "validation", "test")[row // len(CLASSES) % 4] for row in rows],
        }
        return pa.table(found | ({"sha256": [self.digest(row) for row in rows]} if with_digests else {}))

    def record(self, begin: int) -> None:
        """Writes the digest records of the rows from ``begin`` on."""
        digests = ObjectDigests()
        for start in range(begin, self.count, UNIT_ROWS):
            some = range(start, min(start + UNIT_ROWS, self.count))
            digests.append(Seen(self.address(row), "", self.digest(row)) for row in some)


def features(folder: Path, manifest: Path) -> Process:
    """`tlcli features` of a manifest."""
    given = settings(
        dataset__path=manifest, backbone__name="efficientnet_lite0", backbone__weights="random", image__size=32
    )
    return tlcli(folder, folder / "cache", "features", "--config", "my_images", "--json", "--quiet", *given)


def prepared(folder: Path, rows: int, images: int) -> Rows:
    """The features of all images and the digest records of all rows."""
    make_tree(folder / "drawn", {"": images}, CLASSES, 64)
    files = sorted(folder.glob("drawn/**/*.jpg"), key=lambda path: path.name)
    data = [path.read_bytes() for path in files]
    made = Rows(rows, [hashlib.sha256(one).hexdigest() for one in data])
    first = folder / "first.parquet"
    parquet.write_table(made.columns(images), first)
    with serving() as server:
        server.objects.update({made.address(row).removeprefix("s3://"): one for row, one in enumerate(data)})
        os.environ.update(AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="bench", AWS_ENDPOINT_URL=server.url)
        done = features(folder, first).document()
    if done["features"]["computed"] != images:
        raise SystemExit(f"{done['features']} of {images} images")
    note(f"{images} images computed; writing the records of {rows:,} rows")
    os.environ["TLCLI_CACHE"] = str(folder / "cache")
    made.record(images)
    return made


def main() -> None:
    """Prints the table and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    introduce()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = prepared(folder, given.rows, given.images)
        manifests = {
            "Parquet, digests recorded": folder / "rows.parquet",
            "CSV, digests recorded": folder / "rows.csv",
            "Parquet with sha256": folder / "known.parquet",
        }
        parquet.write_table(made.columns(given.rows), manifests["Parquet, digests recorded"])
        csv.write_csv(made.columns(given.rows), manifests["CSV, digests recorded"])
        parquet.write_table(made.columns(given.rows, with_digests=True), manifests["Parquet with sha256"])
        measured = {kind: _measured(folder, path, given.rows, given.runs) for kind, path in manifests.items()}
    print(f"\n{given.rows:,} rows, every one known: read, planned and skipped")
    rows = [
        (kind, spread(one["seconds"], 1), spread(one["processor"], 1), spread(one["memory_mb"], 0))
        for kind, one in measured.items()
    ]
    print(table(("manifest", "seconds", "of the processor", "memory, MB"), rows))
    save("manifest", rows=given.rows, images=given.images, unit_rows=UNIT_ROWS, measured=measured)


def _measured(folder: Path, manifest: Path, rows: int, runs: int) -> dict[str, Any]:
    note(f"reading {manifest.name}")
    done = [features(folder, manifest) for _ in range(runs)]
    for one in done:
        said = one.document()
        if said["read"] or said["features"]["computed"] or said["images"] != rows:
            raise SystemExit(f"{said['read']} read, {said['features']}, {said['images']} images")
    return {
        "seconds": values(one.seconds for one in done),
        "processor": values(one.processor for one in done),
        "memory_mb": values(one.memory_mb for one in done),
        "megabytes": round(manifest.stat().st_size / 1e6, 1),
    }


if __name__ == "__main__":
    main()
