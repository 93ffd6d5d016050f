"""Prints paths of test pictures of the latest run: pictures that its head was not fitted on.

python bench/unseen.py COUNT [RUNS_DIR]
"""

import csv
import sys
from pathlib import Path

from tlcli.config.load import load_config
from tlcli.runs import find_run
from tlcli.workflows.dataset import located

count = int(sys.argv[1])
run = find_run(Path(sys.argv[2] if len(sys.argv) > 2 else "runs"))
root = located(load_config(run / "config.yaml").config.dataset) or Path()
with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
    paths = [str(root / row["path"]) for row in csv.DictReader(file) if row["split"] == "test"]
print("\n".join(paths[:: max(1, len(paths) // count)][:count]))
