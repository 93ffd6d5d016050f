"""Seconds of every stage, and peak memory, of `tlcli train` and `tlcli evaluate` where there are many classes.

python bench/many_classes.py [--classes 1000] [--images 4] [--backbone efficientnet_lite0]

Draws small JPEGs, so many of each class, and runs train twice (the second time with stored features) and evaluate once,
each in a process of its own. Seconds are those on the clock and those of all processors. Writes
bench/results/many_classes.json.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from PIL import Image

from measure import introduce, note, process, save, table
from tlcli.config.load import load_config
from tlcli.progress import Progress
from tlcli.workflows.evaluate import evaluate
from tlcli.workflows.train import train

_CELLS, _SIDE, _NOISE = 6, 64, 40
"""Coloured cells a side of an image, its pixels, and by how much levels of one class differ."""


def draw(folder: Path, classes: int, images: int) -> None:
    """``folder/c0000/0.jpg``: the colours of a class, each image with noise of its own."""
    random = np.random.default_rng(0)
    for number in range(classes):
        (place := folder / f"c{number:04d}").mkdir(parents=True)
        colours = random.integers(0, 256, (_CELLS, _CELLS, 3))
        for image in range(images):
            levels = np.clip(colours + random.integers(-_NOISE, _NOISE + 1, colours.shape), 0, 255).astype(np.uint8)
            drawn = Image.fromarray(levels).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
            drawn.save(place / f"{image}.jpg", quality=85)


class Stages(Progress):
    """Seconds of each stage, on the clock and of all processors."""

    def __init__(self) -> None:
        """Nothing has been timed."""
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[None]:  # noqa: ARG002
        """Adds up what stages of one title take."""
        clock, processor = perf_counter(), process_time()
        yield
        before = self.seconds.get(title, [0.0, 0.0])
        self.seconds[title] = [before[0] + perf_counter() - clock, before[1] + process_time() - processor]


def run(command: str, config: str) -> None:
    """In a process of its own: runs a command in the current directory, and prints its stages as JSON."""
    stages, runs = Stages(), Path("runs")
    if command == "train":
        train(load_config(Path(config)), runs, progress=stages)
    else:
        evaluate(runs.resolve() / "latest", progress=stages)
    print(json.dumps(stages.seconds))


def measured(command: str, folder: Path, config: Path) -> dict[str, Any]:
    """Seconds of the stages and of the whole process, and its peak memory."""
    here: list[str | Path] = [sys.executable, Path(__file__).resolve(), "--command", command, "--config", config]
    done = process(here, folder, TLCLI_CACHE=str(folder / "cache"))
    return {
        "stages": done.document(),
        "whole process": [done.seconds, done.processor],
        "memory_mb": done.memory_mb,
    }


def main() -> None:
    """Prints a table for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--images", type=int, default=4, help="of each class, at least 4")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--command", choices=("train", "evaluate"), help=argparse.SUPPRESS)
    parser.add_argument("--config", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.command:
        run(options.command, options.config)
        return
    introduce()
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        note(f"Drawing {options.classes * options.images:,} images")
        draw(folder / "data", options.classes, options.images)
        config = folder / "many.yaml"
        config.write_text(f"dataset: {{path: {folder / 'data'}}}\nbackbone: {{name: {options.backbone}}}\n")
        for title, command in (("train, cold", "train"), ("train, warm", "train"), ("evaluate", "evaluate")):
            note(title)
            results[title] = found = measured(command, folder, config)
            rows = [*found["stages"].items(), ("whole process", found["whole process"])]
            print("\n" + table((title, "s", "processor s"), [(t, f"{c:.1f}", f"{p:.1f}") for t, (c, p) in rows]))
            print(f"Peak memory: {found['memory_mb']:,.0f} MB", flush=True)
    given = {key: getattr(options, key) for key in ("classes", "images", "backbone")}
    save("many_classes", settings=given, results=results)


if __name__ == "__main__":
    main()
