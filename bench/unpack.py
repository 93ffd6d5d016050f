"""Unpacking and verifying a large archive by `tlcli fetch`, side by side with `unzip`, which verifies nothing but CRCs.

python bench/unpack.py [--images 60000] [--runs 3] [--folder FOLDER]    (60,000 of 41 KB are 2.4 GB; needs 8 GB)

fetch also computes the sha256 of the archive and of every file, checks every image, counts classes and splits, and
flushes the files to the disk before it renames the folder. Writes bench/results/unpack.json.
"""

import argparse
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from images import encoded, grained, numbered, structure
from measure import Process, in_turn, introduce, process, save, spread, table, tlcli, values

_DIFFERENT = 200
"""Images that are drawn; the others differ from them only in a comment."""


def jpegs() -> list[bytes]:
    """JPEGs of 300 x 300 pixels with some noise, about 41 KB each."""
    random = np.random.default_rng(0)
    drawn = (grained(random, structure(random, 300, 300, (12,)), 22) for _ in range(_DIFFERENT))
    return [encoded(image, "JPEG", quality=85) for image in drawn]


def make_archive(path: Path, images: int) -> int:
    """Writes a zip as Kaggle gives it (deflated), with ten classes in two splits; returns the bytes it unpacks to."""
    drawn, total = jpegs(), 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(images):
            data = numbered(drawn[number % _DIFFERENT], number)
            split = "validation" if number % 7 == 0 else "train"
            archive.writestr(f"data/{split}/class{number % 10}/{number:06d}.jpg", data)
            total += len(data)
    return total


def commands(folder: Path) -> dict[str, Callable[[], Process]]:
    """What is timed: unpacking by each, and fetching what is installed."""

    def anew(run: Callable[[], Process]) -> Process:
        for left in ("unzipped", "fetched"):
            shutil.rmtree(folder / left, ignore_errors=True)
        os.sync()  # what the run before has not written yet must not count for this one
        return run()

    def fetch() -> Process:
        return tlcli(folder, folder / "cache", "fetch", "--config", "c.yaml", "--quiet")

    def unzip() -> Process:
        return process(["unzip", "-q", "images.zip", "-d", "unzipped"], folder)

    return {"unzip": lambda: anew(unzip), "tlcli fetch": lambda: anew(fetch), "tlcli fetch again": fetch}


def show(runs: dict[str, list[Process]]) -> None:
    """Medians, and the ratio pair by pair."""
    rows = [
        [
            title,
            spread(values(run.seconds for run in found)),
            spread(values(run.processor for run in found)),
            spread(values(run.memory_mb for run in found), 0),
        ]
        for title, found in runs.items()
    ]
    print(table(("command", "whole process, s", "processor, s", "peak memory, MB"), rows))
    pairs = zip(runs["tlcli fetch"], runs["unzip"], strict=True)
    print(f"tlcli fetch / unzip: {spread(values(ours.seconds / theirs.seconds for ours, theirs in pairs))}")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's temporary folder")
    options = parser.parse_args()
    if shutil.which("unzip") is None:
        raise SystemExit("unzip is not installed; on Debian: apt-get install unzip")
    introduce()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        total = make_archive(folder / "images.zip", options.images)
        packed = (folder / "images.zip").stat().st_size
        print(f"{options.images:,} JPEGs, {total / 1e9:.3f} GB, in a zip of {packed / 1e9:.3f} GB", flush=True)
        (folder / "c.yaml").write_text("dataset: {path: fetched, sources: [{archive: images.zip, subdir: data}]}\n")
        runs = in_turn(commands(folder), options.runs)
    show(runs)
    kept = {title: [asdict(run) for run in found] for title, found in runs.items()}
    save("unpack", images=options.images, runs=kept)


if __name__ == "__main__":
    main()
