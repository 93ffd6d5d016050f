"""Unequal classes on the real command line with the double of an engine: class weights and thresholds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.commands import Tlcli, in_process
from tests.situations.evaluation import CLASSES, draw, surroundings

SEED = {"cat": 0, "dog": 1, "owl": 2}


@pytest.fixture
def tlcli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tlcli]:
    monkeypatch.setitem(CLASSES, "dog", 92)  # near the cats' 80, so that rare dogs are taken for cats
    with surroundings(tmp_path):
        yield in_process(tmp_path, tmp_path / "cache")


def config(cats: int = 60, dogs: int = 14, owls: int = 0, **head: object) -> None:
    """Draws unequal classes, and writes my.yaml with these settings of its head."""
    for label, count in (("cat", cats), ("dog", dogs), ("owl", owls)):
        if count and not Path("data", label).exists():
            draw(Path("data"), count, SEED[label], (label,))
    text: dict[str, Any] = {
        "dataset": {"path": "data", "min_images_per_class": 1, "split": {"validation": 0.2, "test": 0.3}},
        "image": {"size": 64},
        "backbone": {"name": "mobilenet_v2", "weights": "random", "engine": "keras", "layers": "last"},
        "head": {"Cs": [1.0], "folds": 3, **head},
        "evaluate": {"figures": False, "report": False, "cross_validation": {"folds": 3, "repeats": 2}},
    }
    Path("my.yaml").write_text(yaml.safe_dump(text))


def run_json(name: str) -> Any:
    return json.loads(Path("runs/latest", name).read_text())


def test_a_class_that_weighs_more_is_predicted_more_often(tlcli: Tlcli) -> None:
    found = {}
    for weight in ("none", {"dog": 20.0}):
        config(class_weight=weight)
        done = tlcli("train", "--config", "my.yaml", "--json")
        assert done.code == 0, done.err
        matrix = run_json("metrics.json")["validation"]["confusion_matrix"]
        out_of_fold = Path("runs/latest/out_of_fold.csv").read_text().splitlines()[1:]
        found[str(weight)] = sum(row[1] for row in matrix), sum(line.split(",")[4] == "dog" for line in out_of_fold)
    (plain, plain_folds), (weighted, weighted_folds) = found.values()
    assert weighted >= plain
    assert weighted_folds > plain_folds


def test_a_weight_for_a_class_that_does_not_exist_is_refused_before_the_pass(tlcli: Tlcli) -> None:
    config(class_weight={"dog": 2.0, "Cat": 3.0})
    done = tlcli("train", "--config", "my.yaml", "--json")
    assert (done.code, done.error) == (2, "config.unknown_class")
    assert all(f"{name}" in done.json()["error"]["message"] for name in ("Cat", "cat, dog"))
    assert not list(Path("cache").glob("features/**/*.npy"))
    config()
    done = tlcli("train", "--config", "my.yaml", "--set", "head.class_weight.bird=2", "--json")
    assert (done.code, done.error) == (2, "config.unknown_class")
