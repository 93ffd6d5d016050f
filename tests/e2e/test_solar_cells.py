"""The main job on real pictures: fetch, train, evaluate, predict on solar cells."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image
from tests.e2e.conftest import Tlcli

pytestmark = pytest.mark.e2e

RUN_FILES = {
    "config.yaml",
    "run.json",
    "metrics.json",
    "predictions.csv",
    "history.csv",
    "report.html",
    "report.json",
    "model/manifest.json",
    "model/head.safetensors",
    "model/reference.safetensors",
    "figures/class_counts.png",
    "figures/samples.png",
    "figures/history.png",
    "figures/confusion_matrix.png",
    "figures/roc.png",
}


def test_run_holds_exactly_the_files_of_the_contract(solar: tuple[Path, Tlcli]) -> None:
    run = solar[0] / "runs" / "latest"
    assert {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()} == RUN_FILES
    assert (solar[0] / "runs" / "solar_cells" / "latest").resolve() == run.resolve()


def test_accuracy_is_that_of_the_published_svm_or_better(solar: tuple[Path, Tlcli]) -> None:
    metrics = json.loads((solar[0] / "runs/latest/metrics.json").read_text())
    assert set(metrics) == {"train", "validation", "test"}
    test = metrics["test"]
    assert test["accuracy"] >= 0.82
    assert test["n"] == 525
    assert test["labels"] == ["functional", "defective"]
    low, high = test["accuracy_ci95"]
    assert low < test["accuracy"] < high
    assert sum(map(sum, test["confusion_matrix"])) == test["n"]


def test_second_training_computes_no_feature(solar: tuple[Path, Tlcli], tmp_path: Path) -> None:
    done = solar[1]("train", "--config", "solar_cells", "--json", "--runs-dir", tmp_path)
    result = done.json()
    assert set(result) == {"run_dir", "metrics", "seconds", "trainable_parameters", "features"}
    assert result["features"] == {"computed": 0, "reused": 2099}
    assert result["trainable_parameters"] == 1281
    assert set(result["metrics"]) == {"train", "validation"}
    for name in ("manifest.json", "head.safetensors", "reference.safetensors"):
        first = (solar[0] / "runs/latest/model" / name).read_bytes()
        assert (Path(result["run_dir"]) / "model" / name).read_bytes() == first


def test_predictions_table_has_every_picture_once(solar: tuple[Path, Tlcli]) -> None:
    with (solar[0] / "runs/latest/predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "sha256", "split", "label", "predicted", "group", "functional", "defective"]
    assert len({row["path"] for row in rows}) == len(rows) == 2624
    metrics = json.loads((solar[0] / "runs/latest/metrics.json").read_text())
    for split, measured in metrics.items():
        of_split = [row for row in rows if row["split"] == split]
        right = sum(row["label"] == row["predicted"] for row in of_split)
        assert right / len(of_split) == pytest.approx(measured["accuracy"])


def test_predict_gives_the_probabilities_that_evaluate_wrote(solar: tuple[Path, Tlcli]) -> None:
    folder, tlcli = solar
    root = json.loads(tlcli("fetch", "--config", "solar_cells", "--json").out)["root"]
    with (folder / "runs/latest/predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"][:12]
    answers = tlcli("predict", *(Path(root, row["path"]) for row in rows), "--json", "--top", 2).json()
    for answer, row in zip(answers, rows, strict=True):
        assert answer["label"] == row["predicted"]
        assert {t["label"]: t["probability"] for t in answer["top"]} == {
            name: pytest.approx(float(row[name]), abs=1e-6) for name in ("functional", "defective")
        }


def test_fail_under_decides_the_exit_code(solar: tuple[Path, Tlcli]) -> None:
    assert solar[1]("evaluate", "--fail-under", "0.5").code == 0
    done = solar[1]("evaluate", "--fail-under", "0.999")
    assert done.code == 3
    assert "below 0.999" in done.err


def test_evaluate_json_is_the_metrics_file(solar: tuple[Path, Tlcli]) -> None:
    done = solar[1]("evaluate", "--json")
    assert done.json() == json.loads((solar[0] / "runs/latest/metrics.json").read_text())


def test_figures_are_pictures_of_a_useful_size(solar: tuple[Path, Tlcli]) -> None:
    for path in (solar[0] / "runs/latest/figures").glob("*.png"):
        with Image.open(path) as figure:
            assert figure.width >= 500
            assert figure.height >= 300


def test_quiet_prints_nothing(solar: tuple[Path, Tlcli]) -> None:
    done = solar[1]("evaluate", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
