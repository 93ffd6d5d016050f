"""Unequal classes on the real command line with the double of an engine: class weights and thresholds."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.commands import Tlcli, in_process
from tests.situations.evaluation import CLASSES, GreyLevels, draw, surroundings

from tlcli.images.items import Decoder
from tlcli.model.bundle import load_bundle
from tlcli.model.predictor import Predictor

SEED = {"cat": 0, "dog": 1, "owl": 2}


@pytest.fixture
def tlcli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tlcli]:
    monkeypatch.setitem(CLASSES, "dog", 92)  # near the cats' 80, so that rare dogs are taken for cats
    monkeypatch.setattr(Predictor, "load", classmethod(lambda _, run, *__: loaded(run)))
    with surroundings(tmp_path):
        yield in_process(tmp_path, tmp_path / "cache")


def loaded(run: Path) -> Predictor:
    bundle = load_bundle(run / "model")
    return Predictor(bundle, GreyLevels(Decoder(bundle.preparation), bundle.blocks))


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


def columns(name: str) -> list[dict[str, str]]:
    with Path("runs/latest", name).open(newline="") as file:
        return list(csv.DictReader(file))


def probable(row: dict[str, str]) -> str:
    return max(("cat", "dog"), key=lambda label: float(row[label]))


def test_thresholds_decide_every_answer_and_leave_the_probabilities(tlcli: Tlcli) -> None:
    config()
    plain = tlcli("train", "--config", "my.yaml", "--json").json()
    before = columns("predictions.csv")
    assert plain["thresholds"] is None
    assert plain["cross_validation"]["thresholds"] is None
    assert "thresholds" not in run_json("model/manifest.json")
    done = tlcli("train", "--config", "my.yaml", "--set", "head.thresholds=balanced_accuracy", "--json")
    assert done.code == 0, done.err
    trained = done.json()
    chosen = trained["thresholds"]
    assert (chosen["objective"], chosen["source"]) == ("balanced_accuracy", "out_of_fold")
    limit = chosen["of_classes"]["dog"]
    assert 0 < limit < 0.5  # dogs are rare
    assert chosen == run_json("run.json")["head"]["thresholds"]
    assert run_json("model/manifest.json")["thresholds"]["of_classes"] == pytest.approx([1 - limit, limit])
    gain = run_json("cross_validation.json")["thresholds"]
    assert gain == trained["cross_validation"]["thresholds"]
    assert gain["chosen"] > gain["most_probable"]
    after = columns("predictions.csv")
    assert [row["dog"] for row in after] == [row["dog"] for row in before]
    assert all((float(row["dog"]) > limit) == (row["predicted"] == "dog") for row in after)
    assert any(row["predicted"] != probable(row) for row in columns("out_of_fold.csv"))

    done = tlcli("evaluate", "--json")
    assert done.code == 0, done.err
    test = [row for row in columns("predictions.csv") if row["split"] == "test"]
    assert any(row["predicted"] != probable(row) for row in test)
    metrics = done.json()["test"]
    assert metrics["accuracy"] == pytest.approx(sum(row["predicted"] == row["label"] for row in test) / len(test))
    dogs = [row["predicted"] == "dog" for row in test if row["label"] == "dog"]
    assert metrics["per_class"]["dog"]["recall"] == pytest.approx(sum(dogs) / len(dogs))
    assert metrics["balanced_accuracy"] == pytest.approx(sum(m["recall"] for m in metrics["per_class"].values()) / 2)

    image = next(row for row in test if row["predicted"] != probable(row))
    answer = tlcli("predict", f"data/{image['path']}", "--top", "2", "--coverage", "0.8", "--json").json()[0]
    assert (answer["best_guess"], answer["threshold"]) == ("dog", pytest.approx(limit))
    assert limit < answer["probability"] < 0.5
    assert [one["label"] for one in answer["top"]] == ["dog", "cat"]
    assert "dog" in answer["prediction_set"]
    compared = tlcli("runs", "compare", "latest~1", "latest", "--json").json()
    assert compared["on"] == "out_of_fold"  # the first is not evaluated
    assert tlcli("evaluate", "--run", "latest~1").code == 0
    compared = tlcli("runs", "compare", "latest~1", "latest", "--json").json()
    assert compared["settings"]["head.thresholds"] == {"a": "none", "b": "balanced_accuracy"}
    assert compared["b"]["accuracy"] == pytest.approx(metrics["accuracy"])


def test_the_page_has_the_operating_curve_with_the_point_of_the_answers(tlcli: Tlcli) -> None:
    config()
    text = (
        Path("my.yaml").read_text().replace("figures: false", "figures: true").replace("report: false", "report: true")
    )
    Path("my.yaml").write_text(text)
    assert tlcli("train", "--config", "my.yaml", "--set", "head.thresholds=recall@precision=0.5").code == 0
    assert tlcli("evaluate").code == 0
    points = {one["source"]: one for one in run_json("report.json")["operating_points"]}
    assert set(points) == {"test", "out_of_fold"}
    of_dogs = run_json("metrics.json")["test"]["per_class"]["dog"]
    assert points["test"]["class"] == "dog"
    assert points["test"]["answers"]["recall"] == pytest.approx(of_dogs["recall"])
    assert points["test"]["answers"]["precision"] == pytest.approx(of_dogs["precision"])
    assert points["out_of_fold"]["answers"] != points["out_of_fold"]["most_probable"]
    assert 'id="operating"' in Path("runs/latest/report.html").read_text()
    assert Path("runs/latest/figures/precision_recall.png").is_file()


def test_without_cross_validation_thresholds_are_chosen_where_c_was(tlcli: Tlcli) -> None:
    config(thresholds="f1_macro")
    done = tlcli("train", "--config", "my.yaml", "--set", "evaluate.cross_validation=null", "--json")
    assert done.code == 0, done.err
    found, counts = done.json()["thresholds"], run_json("run.json")["images"]
    assert found["source"] == "out_of_fold"
    assert found["images"] == {label: counts["train"][label] + counts["validation"][label] for label in counts["train"]}


def test_a_run_without_test_images_is_measured_with_thresholds_of_other_folds(tlcli: Tlcli) -> None:
    config(thresholds="balanced_accuracy")
    assert tlcli("train", "--config", "my.yaml", "--set", "dataset.split.test=0").code == 0
    rows = columns("out_of_fold.csv")
    measured = tlcli("evaluate", "--json").json()["out_of_fold"]
    dogs = [row["predicted"] == "dog" for row in rows if row["label"] == "dog"]
    assert measured["per_class"]["dog"]["recall"] == pytest.approx(sum(dogs) / len(dogs))


def test_three_classes_have_thresholds_but_no_recall_at_a_precision(tlcli: Tlcli) -> None:
    config(owls=20, thresholds="f1_macro")
    done = tlcli("train", "--config", "my.yaml", "--json")
    assert done.code == 0, done.err
    assert sum(done.json()["thresholds"]["of_classes"].values()) == pytest.approx(1)
    done = tlcli("train", "--config", "my.yaml", "--set", "head.thresholds=recall@precision=0.9", "--json")
    assert (done.code, done.error) == (2, "config.thresholds_of_two_classes")
