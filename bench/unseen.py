"""Prints paths of test images of the latest run: images that its head was not fitted on.

python bench/unseen.py COUNT [RUNS_DIR]
"""

import argparse
import csv
from pathlib import Path

from tlcli.config.build_dataset import dataset_folder
from tlcli.config.load import load_config
from tlcli.runs.folders import find_run


def unseen(runs_dir: Path, count: int) -> list[str]:
    """Evenly from all test images of the latest run."""
    run = find_run(runs_dir)
    root = dataset_folder(load_config(run / "config.yaml").config.dataset)[0] or Path()
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        paths = [str(root / row["path"]) for row in csv.DictReader(file) if row["split"] == "test"]
    return paths[:: max(1, len(paths) // count)][:count]


def main() -> None:
    """Prints the paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, metavar="COUNT")
    parser.add_argument("runs_dir", type=Path, metavar="RUNS_DIR", nargs="?", default=Path("runs"))
    options = parser.parse_args()
    print("\n".join(unseen(options.runs_dir, options.count)))


if __name__ == "__main__":
    main()
