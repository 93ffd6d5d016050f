"""Whole-process seconds of the commands a user waits for: medians of several runs, after one that is not counted.

python bench/commands.py [RUNS]

Makes a small set of pictures and a DenseNet201 run (random weights, which cost the same as ImageNet ones) in a
temporary folder, then times processes from outside. Writes bench/results/commands.json.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

from machine import machine

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 7
TLCLI = [sys.executable, "-m", "tlcli"]


def pictures(folder: Path, count: int) -> None:
    """Two classes of 250-pixel pictures that anyone can tell apart."""
    random = np.random.default_rng(0)
    for label, level in (("dark", 60), ("light", 190)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.clip(random.normal(level, 40, (250, 250, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.jpg")


def seconds(command: list[str], folder: Path) -> float:
    """Wall seconds of one process, which must succeed."""
    started = perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return perf_counter() - started


def main() -> None:
    """Prints the table."""
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TLCLI_CACHE"] = str(folder / "cache")
        pictures(folder / "my_pictures", 20)
        densenet = ["--set", "backbone.name=densenet201", "--set", "backbone.weights=random"]
        train = [*TLCLI, "train", "--config", "my_pictures"]
        commands = {
            "tlcli --help": [*TLCLI, "--help"],
            "tlcli config check alien_predator": [*TLCLI, "config", "check", "alien_predator"],
            "tlcli train (DenseNet201, 40 pictures, warm)": [*train, *densenet],
            "tlcli predict PICTURE (DenseNet201)": [*TLCLI, "predict", "my_pictures/dark/0.jpg"],
        }
        for title, command in commands.items():
            seconds(command, folder)  # fills caches
            times = [seconds(command, folder) for _ in range(RUNS)]
            rows[title] = {"median": statistics.median(times), "min": min(times), "max": max(times), "runs": RUNS}
            print(
                f"{title:48} median {rows[title]['median']:6.2f} s   ({min(times):.2f} to {max(times):.2f})", flush=True
            )
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "commands.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2))


if __name__ == "__main__":
    print(machine())
    main()
