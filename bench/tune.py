"""What tlcli tune finds, what it promises, and how long it takes.

python bench/tune.py [--tiles ARCHIVE] [--alien-predator ARCHIVE] [--budget 15m] [--kills 20] [--skip-search]

Heads: 500 settings of logistic regression under nested 5 x 5 cross-validation, on 2,000 made images of 1,280 features
in two classes; and one round of mini-batch heads, a setting of each study, on the same.
Search: for each data set, from an empty cache over all networks whose weights are here, with a budget;
what it shows, what it says to expect, the difference from the config as it is, the paired difference of tuned.yaml from
the default before layers could be chosen (last layer, average, the backbone's size and crop, logistic regression) by
runs compare, out of fold, and what tuned.yaml then has on the test images, whose interval the expected score should lie
in. Kills: a search of one network on the solar cells is killed at random moments until it ends; its leaderboard is
compared with that of one that was left alone.
Solar cells come from pip. Writes bench/results/tune.json.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from measure import TLCLI, introduce, save, settings, table, tlcli
from tlcli.backbones.blocks import one_block
from tlcli.config.load import find_config, load_config
from tlcli.evaluation.objectives import Objective
from tlcli.features.rows import Rows
from tlcli.heads.minibatch_folds import Minibatch
from tlcli.tuning.head_search import NestedFolds, score_heads
from tlcli.tuning.sampled_heads import SampledFits, Study
from tlcli.tuning.settings import CLASS_WEIGHTS, HeadSetting, MinibatchSetting
from tlcli.workflows.fetch import fetch

IMAGES, FEATURES = 2000, 1280
ONE = "efficientnet_lite0"


def made_rows(images: int, features: int) -> Rows:
    """Features like those of a rectifier, two classes that overlap."""
    noise, labels = np.random.default_rng(0), np.arange(images) % 2
    made = np.abs(noise.normal(size=(images, features))).astype(np.float32)
    made[:, :60] += 0.15 * labels[:, None]
    return Rows.of(made, labels)


def measure_round(images: int = IMAGES, features: int = FEATURES, epochs: int = 100) -> dict[str, Any]:
    """Seconds of one round of mini-batch heads: the first setting of each study."""
    rows, blocks = made_rows(images, features), one_block(features)
    folds, score = NestedFolds.of(rows, 5, 5, 0), Objective.parse("accuracy").score
    how = Minibatch(epochs, 64, "adam", 0.001, None, 8, 0.0)
    first = MinibatchSetting(how.optimizer, how.learning_rate, how.batch_size, how.dropout)
    fits = SampledFits(lambda: rows, folds, blocks, how, score, 0)
    fitted, started = 0, time.perf_counter()
    for study in Study.all(folds, blocks, CLASS_WEIGHTS, first, 0):
        trial, head = study.ask()
        scores = fits.scores(head, head.class_weight, study.measured)
        study.tell(trial, scores)
        fitted += len(study.measured)
    return {"fits": fitted, "seconds": time.perf_counter() - started}


def measure_heads() -> dict[str, Any]:
    """Seconds of 500 settings."""
    rows = made_rows(IMAGES, FEATURES)
    heads = [
        HeadSetting("logistic_regression", ("last",), "avg", standardize, class_weight, float(C))
        for standardize, class_weight, C in product((True, False), ("none", "balanced"), np.geomspace(1e-4, 1, 125))
    ]
    started = time.perf_counter()
    folds = NestedFolds.of(rows, 5, 5, 0)
    score = Objective.parse("accuracy").score
    found = list(score_heads(rows, one_block(FEATURES), folds, heads, score, exhaustive=True))
    return {
        "settings": len(found),
        "folds": len(folds.all),
        "seconds": time.perf_counter() - started,
    }


def measure_search(folder: Path, name: str, config: str, given: Mapping[str, object], budget: str) -> dict[str, Any]:
    """A search from an empty cache, and what its config has on test."""
    # More repeats than the default: they narrow the interval of the difference.
    options = ("--config", config, *settings(**given, evaluate__cross_validation__repeats=10))
    before = json.loads(tlcli(
        folder, folder / "before", "train", *options, *settings(
            backbone__name=ONE, backbone__layers="last", backbone__pooling="avg", image__resize="crop",
            evaluate__figures="false"), "--json",
    ).output)  # fmt: skip
    found = json.loads(tlcli(folder, folder / "cache", "tune", *options, "--budget", budget, "--json").output)
    trained = json.loads(tlcli(folder, folder / "cache", "train", "--config", found["config"], "--json").output)
    tested = json.loads(tlcli(folder, folder / "cache", "evaluate", "--json").output)["test"]
    both = tlcli(folder, folder / "cache", "runs", "compare", before["run_dir"], trained["run_dir"], "--json")
    compared = json.loads(both.output)["out_of_fold"]
    return {
        "data set": name, "best": found["contenders"][0], "given": found["given"], "expected": found["expected"],
        "ending": found["ending"], "seconds": found["seconds"], "trials": found["trials"],
        "before": before["cross_validation"]["accuracy"],
        "ahead of before": compared["difference"], "ahead of before ci95": compared["difference_ci95"],
        "trained": trained["cross_validation"]["accuracy"],
        "test": tested["accuracy"], "test interval": tested["accuracy_ci95"],
    }  # fmt: skip


def row_of(found: Mapping[str, Any]) -> tuple[str, ...]:
    """The line of a search; "-" for what it does not know: the config as it is where it has views of its own, another
    head, or too slow a network; what to expect where the folds are not nested."""
    given, expected = found["given"], found["expected"]
    return (
        found["data set"], f"{found['before']:.3f}", f"{given['score']:.3f}" if given else "-",
        f"{found['best']['score']:.3f}",
        f"{expected['expected']:.3f} ({_ends(expected['expected_ci95'])})" if expected else "-",
        _ends(given["best_ahead_by_ci95"], "+") if given else "-",
        f"{found['ahead of before']:+.3f} ({_ends(found['ahead of before ci95'], '+')})",
        f"{found['test']:.3f} ({_ends(found['test interval'])})",
        f"{found['seconds']:.0f} ({found['ending']})",
    )  # fmt: skip


def _ends(interval: Sequence[float], sign: str = "") -> str:
    low, high = interval
    return f"{low:{sign}.3f} to {high:{sign}.3f}"


def leaderboard(runs: Path) -> list[list[str]]:
    """Of the only search in a directory of runs, without how long it took."""
    (path,) = runs.glob("*/tune-*/leaderboard.csv")
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    seconds = lines[0].index("seconds")
    return [line[:seconds] + line[seconds + 1 :] for line in lines]


def measure_kills(folder: Path, kills: int) -> dict[str, Any]:
    """Kills a search at random moments."""
    short = settings(train__epochs=2, evaluate__transfer="null")  # many trials in little time
    command = [*TLCLI, "tune", "--config", "solar_cells", *short, "--backbones", ONE, "--budget", "1h", "--quiet"]
    environment = {**os.environ, "TLCLI_CACHE": str(folder / "kill-cache")}
    chance, done = random.Random(0), 0
    started = time.perf_counter()
    whole = [*command, "--runs-dir", "whole"]
    subprocess.run(whole, cwd=folder, env=environment, check=True, capture_output=True)
    seconds = time.perf_counter() - started
    while True:
        process = subprocess.Popen(
            [*command, "--runs-dir", "killed"], cwd=folder, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            wait = chance.uniform(3, 3 + 1.5 * seconds / max(1, kills)) if done < kills else None
            process.communicate(timeout=wait)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            done += 1
    if process.returncode:
        raise SystemExit(f"the search ended with exit code {process.returncode}")
    return {"kills": done, "equal": leaderboard(folder / "whole") == leaderboard(folder / "killed"), "seconds": seconds}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alien-predator", metavar="ARCHIVE")
    parser.add_argument("--tiles", metavar="ARCHIVE", help="magnetic tiles: a folder for each class")
    parser.add_argument("--budget", default="15m")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--skip-search", action="store_true", help="heads only")
    options = parser.parse_args()
    introduce()
    heads = measure_heads()
    print(f"{heads['settings']} heads on {heads['folds']} folds: {heads['seconds']:.0f} s")
    one_round = measure_round()
    print(f"A round of mini-batch heads, {one_round['fits']} fits: {one_round['seconds']:.0f} s")
    if options.skip_search:
        return
    found: list[dict[str, Any]] = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        found.append(measure_search(folder, "solar cells", "solar_cells", {}, options.budget))
        for name, archive in (("magnetic tiles", options.tiles), ("Alien vs. Predator", options.alien_predator)):
            if archive is None:
                continue
            data = folder / name.replace(" ", "-")
            source = "alien_predator" if name == "Alien vs. Predator" else "my_images"
            fetch(load_config(find_config(source), (f"dataset.path={data}",)), archive)
            given = {"dataset__path": data, "backbone__name": ONE}
            found.append(measure_search(folder, name, "my_images", given, options.budget))
        kills = measure_kills(folder, options.kills) if options.kills else {}
    print(table(
        ("data set", "before", "config", "tuned shows", "expect", "ahead of config", "ahead of before",
         "test of tuned", "seconds"),
        [row_of(one) for one in found],
    ))  # fmt: skip
    if kills:
        equal = "the same" if kills["equal"] else "ANOTHER"
        print(f"\nKilled {kills['kills']} times: {equal} leaderboard (uninterrupted: {kills['seconds']:.0f} s).")
    save("tune", heads=heads, minibatch_round=one_round, searches=found, kills=kills)


if __name__ == "__main__":
    main()
