"""Cross-validation by train, and a run without test images."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image
from tests.e2e.conftest import Tlcli

pytestmark = pytest.mark.e2e


def train(tlcli: Tlcli, *arguments: str) -> tuple[Path, dict[str, object]]:
    done = tlcli("train", "--config", "shapes.yaml", "--json", *arguments)
    assert done.code == 0, done.err
    return Path(done.json()["run_dir"]), done.json()


def out_of_fold(run: Path) -> list[dict[str, str]]:
    with (run / "out_of_fold.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_train_cross_validates_without_the_test_images(tlcli: Tlcli, whole_shapes: Path) -> None:
    for number in range(0, 20, 2):  # each second image is a near duplicate of the one before
        with Image.open(whole_shapes / "shapes" / "dark" / f"{number}.png") as image:
            image.resize((72, 54)).save(whole_shapes / "shapes" / "dark" / f"{number + 1}.png")
    run, document = train(tlcli)
    found = json.loads((run / "cross_validation.json").read_text())
    assert document["cross_validation"] == found
    assert found["images"] == 34
    assert found["near_duplicates"] >= 4
    repeated = document["validation_duplicates"]
    assert isinstance(repeated, dict)
    assert 0 < repeated["found"] <= repeated["images"] == 6
    rows = out_of_fold(run)
    assert {row["split"] for row in rows} == {"train", "validation"}
    assert len({row["sha256"] for row in rows}) == len(rows) == 34
    assert all(float(row["dark"]) + float(row["light"]) == pytest.approx(1, abs=1e-5) for row in rows)

    (listed,) = tlcli("runs", "--json").json()["runs"]
    assert listed["cross_validation"]["accuracy"] == found["accuracy"]
    assert listed["test"] is None

    assert tlcli("evaluate", "--json").json()["cross_validation"] == found
    report = json.loads((run / "report.json").read_text())
    assert report["cross_validation"] == found
    assert report["measured"] == "test"
    assert len(report["verdict"]) == 3
    assert report["confidence"] is None, "34 images are too few for shares of them"

    assert train(tlcli, "--set", "evaluate.cross_validation=null")[1]["cross_validation"] is None


def test_a_run_without_test_images_is_reported_by_cross_validation(tlcli: Tlcli, whole_shapes: Path) -> None:
    run, _ = train(tlcli, "--set", "dataset.split.test=0")
    done = tlcli("evaluate", "--json", "--fail-under", "accuracy.lower=0.01", "--fail-under", "recall.dark=1.1")
    assert done.code == 2, "a limit above 1"
    done = tlcli("evaluate", "--json", "--fail-under", "accuracy.lower=0.01")
    assert done.code == 0, done.err
    found = done.json()
    assert "test" not in found
    assert found["out_of_fold"]["n"] == 40
    assert found["out_of_fold"]["accuracy_ci95"] == found["cross_validation"]["accuracy_ci95"]
    assert [gate["passed"] for gate in found["gates"]] == [True]
    report = json.loads((run / "report.json").read_text())
    assert report["measured"] == "out_of_fold"
    assert report["baselines"] == []
    assert (run / "report.html").is_file()

    train(tlcli, "--set", "dataset.split.test=0", "--set", "evaluate.cross_validation=null")
    assert tlcli("evaluate", "--json").error == "data.no_test_images"

    # Cross-validation is of another head than this one.
    run, _ = train(tlcli, "--set", "dataset.split.test=0", "--set", "head.fit=minibatch")
    assert json.loads((run / "cross_validation.json").read_text())["is_own_head"] is False
    assert tlcli("evaluate", "--json", "--fail-under", "accuracy=0.01").error == "data.no_test_images"


def test_predict_gives_sets_of_a_stated_coverage(tlcli: Tlcli, whole_shapes: Path) -> None:
    train(tlcli)
    image = "shapes/dark/0.png"
    (one,) = tlcli("predict", image, "--json", "--coverage", "0.9").json()
    assert one["best_guess"] in one["prediction_set"]
    assert tlcli("predict", image, "--json").json()[0]["prediction_set"] is None
    assert tlcli("predict", image, "--json", "--coverage", "0.99").error == "model.no_prediction_sets"
