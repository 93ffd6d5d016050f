"""Whole-process seconds of what a user waits for, beside a Keras script that predicts the same image.

python bench/cold_start.py [--runs 7]

DenseNet201, random weights (they cost the same time as ImageNet's), one sigmoid unit. `predict`, first time: with an
empty cache except for the weights, so that the backbone is built, converted and compiled; second time: with the cache
of the first. The Keras script (bench/plain/predict.py) loads the saved model with its frozen backbone, and predicts.
Every command runs once uncounted, then all take turns. Writes bench/results/cold_start.json.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from images import make_tree
from measure import empty, in_turn, introduce, keras_program, note, ratio, save, settings, spread, table, tlcli, values

SECOND, SCRIPT = "tlcli predict IMAGE, second time", "Keras script, one image"
IMAGE = "my_images/dark/000000.jpg"
FIRST_RUNS = 3
"""Runs of what takes long: predict with an empty cache."""


def commands(folder: Path) -> dict[str, Callable[[], float]]:
    """What is timed; each returns its seconds."""
    cache = folder / "cache"
    train = ["train", "--config", "my_images", *settings(backbone__name="densenet201", backbone__weights="random")]
    return {
        "tlcli --help": lambda: tlcli(folder, cache, "--help").seconds,
        "tlcli config check": lambda: tlcli(folder, cache, "config", "check", "alien_predator").seconds,
        "tlcli train, 40 images, features stored": lambda: tlcli(folder, cache, *train).seconds,
        SECOND: lambda: tlcli(folder, cache, "predict", IMAGE).seconds,
        SCRIPT: lambda: keras_program("predict.py", folder, "model.keras", IMAGE).seconds,
    }


def first_predict(folder: Path) -> float:
    """Seconds with nothing in the cache but the weights."""
    shutil.copytree(folder / "cache" / "weights", folder / "empty" / "weights", dirs_exist_ok=True)
    empty(folder / "empty")
    return tlcli(folder, folder / "empty", "predict", IMAGE).seconds


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    introduce()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tree(folder / "my_images", {"": 40}, ["dark", "light"])
        keras_program("predict.py", folder, "model.keras")
        timed = commands(folder)
        note("Every command once, uncounted")
        for command in timed.values():
            command()
        note(f"{options.runs} turns")
        rows = {title: values(seconds) for title, seconds in in_turn(timed, options.runs).items()}
        first = in_turn({"": lambda: first_predict(folder)}, min(FIRST_RUNS, options.runs))[""]
        rows["tlcli predict IMAGE, first time"] = values(first)
    print(table(("command", "whole process, s"), [(title, spread(row)) for title, row in rows.items()]))
    print(f"Keras script / tlcli predict, second time: {ratio(rows[SCRIPT], rows[SECOND]):.1f}")
    print(f"Medians of {options.runs} turns (least to most); of the first time, {min(FIRST_RUNS, options.runs)}.")
    save("cold_start", settings=vars(options), results=rows)


if __name__ == "__main__":
    main()
