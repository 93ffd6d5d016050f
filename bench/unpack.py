"""Unpacking and verifying a large archive by `tlcli fetch`, side by side with `unzip`, which verifies nothing but CRCs.

python bench/unpack.py [PICTURES] [RUNS] [FOLDER]    (default: 60,000 pictures of 41 KB, 2.4 GB; 3 runs; needs 8 GB)

fetch also takes the sha256 of the archive and of every file, looks at every picture, counts classes and splits, and
flushes the files to the disk before it gives the folder its name. Writes bench/results/unpack.json.
"""

import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

from machine import machine

PICTURES = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
RUNS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
_DIFFERENT = 200
"""Pictures that are drawn; the others differ from them in a comment only, which makes them other files."""


def jpegs() -> list[bytes]:
    """JPEGs of 300 x 300 pixels with some noise, about 41 KB each."""
    random, found = np.random.default_rng(0), []
    for _ in range(_DIFFERENT):
        colours = Image.fromarray(random.integers(0, 256, (12, 12, 3), np.uint8)).resize((300, 300))
        noisy = np.asarray(colours).astype(np.int16) + random.normal(0, 18, (300, 300, 1)).astype(np.int16)
        buffer = io.BytesIO()
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
        found.append(buffer.getvalue())
    return found


def make_archive(path: Path) -> int:
    """A zip as Kaggle gives it (deflated), with ten classes in two splits; gives the bytes it unpacks to."""
    drawn, total = jpegs(), 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(PICTURES):
            picture = drawn[number % _DIFFERENT]
            data = picture[:2] + b"\xff\xfe\x00\x0a" + b"%08d" % number + picture[2:]
            split = "validation" if number % 7 == 0 else "train"
            archive.writestr(f"data/{split}/class{number % 10}/{number:06d}.jpg", data)
            total += len(data)
    return total


def measured(command: list[str], folder: Path) -> dict[str, float]:
    """Wall and processor seconds, and peak memory in MB, of one process."""
    os.sync()  # what the run before left to be written is not this one's
    started = perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = perf_counter() - started
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return {"wall": wall, "processor": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss / 1000}


def main() -> None:
    """Prints the table."""
    if shutil.which("unzip") is None:
        raise SystemExit("unzip is not installed; on Debian: apt-get install unzip")
    with tempfile.TemporaryDirectory(dir=sys.argv[3] if len(sys.argv) > 3 else None) as name:
        folder = Path(name)
        total = make_archive(folder / "pictures.zip")
        packed = (folder / "pictures.zip").stat().st_size
        print(f"{PICTURES:,} JPEGs, {total / 1e9:.2f} GB, in a zip of {packed / 1e9:.2f} GB", flush=True)
        (folder / "c.yaml").write_text("dataset: {path: fetched, sources: [{archive: pictures.zip, subdir: data}]}\n")
        os.environ["TLCLI_CACHE"] = str(folder / "cache")
        fetch = [sys.executable, "-m", "tlcli", "fetch", "--config", "c.yaml", "--quiet"]
        commands = {"unzip": ["unzip", "-q", "pictures.zip", "-d", "unzipped"], "tlcli fetch": fetch}
        runs: dict[str, list[dict[str, float]]] = {title: [] for title in [*commands, "second fetch"]}
        for _ in range(RUNS):
            for title, command in commands.items():
                for left in ("unzipped", "fetched"):
                    shutil.rmtree(folder / left, ignore_errors=True)
                runs[title].append(measured(command, folder))
            runs["second fetch"].append(measured(fetch, folder))
        show(runs)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "unpack.json").write_text(
        json.dumps({"machine": machine(), "pictures": PICTURES, "runs": runs}, indent=2)
    )


def show(runs: dict[str, list[dict[str, float]]]) -> None:
    """Medians, and the ratio pair by pair."""
    for title, rows in runs.items():
        wall, processor, memory = (
            statistics.median(row[key] for row in rows) for key in ("wall", "processor", "memory")
        )
        print(f"{title:14} median {wall:6.2f} s, processor {processor:6.2f} s, peak memory {memory:5.0f} MB")
    ratios = [ours["wall"] / theirs["wall"] for ours, theirs in zip(runs["tlcli fetch"], runs["unzip"], strict=True)]
    listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"tlcli fetch / unzip: median {statistics.median(ratios):.2f} ({listed})")


if __name__ == "__main__":
    print(machine())
    main()
