"""The main job on real images: fetch, train, evaluate with its report, predict on solar cells."""

import csv
import doctest
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.browser import broken_images, chromium, opened, overflows
from tests.e2e.conftest import Tlcli

pytestmark = pytest.mark.e2e
PYTHON_API = Path(__file__).parents[2] / "docs" / "python.md"

RUN_FILES = {
    "config.yaml",
    "run.json",
    "metrics.json",
    "images.csv",
    "cross_validation.json",
    "out_of_fold.csv",
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
    "figures/precision_recall.png",
}


def test_run_holds_exactly_the_files_of_the_contract(solar: tuple[Path, Tlcli]) -> None:
    run = solar[0] / "runs" / "latest"
    assert {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()} == RUN_FILES
    assert (solar[0] / "runs" / "solar_cells" / "latest").resolve() == run.resolve()


def test_accuracy_is_that_of_the_published_svm_or_better(solar: tuple[Path, Tlcli]) -> None:
    metrics = json.loads((solar[0] / "runs/latest/metrics.json").read_text())
    assert set(metrics) == {"train", "validation", "test", "transfer"}
    test = metrics["test"]
    assert test["accuracy"] >= 0.82
    assert test["n"] == 525
    assert test["labels"] == ["functional", "defective"]
    low, high = test["accuracy_ci95"]
    assert low < test["accuracy"] < high
    assert sum(map(sum, test["confusion_matrix"])) == test["n"]


@pytest.fixture(scope="module")
def second(solar: tuple[Path, Tlcli], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The demo trained again without report and figures, so that it is evaluated in a moment: its runs' directory and
    what train reports."""
    runs_dir = tmp_path_factory.mktemp("second")
    given = ("--set", "evaluate.report=false", "--set", "evaluate.figures=false", "--json")
    done = solar[1]("train", "--config", "solar_cells", "--runs-dir", runs_dir, *given)
    assert done.code == 0, done.err
    return runs_dir, done.json()


def test_second_training_computes_no_feature(solar: tuple[Path, Tlcli], second: tuple[Path, dict[str, Any]]) -> None:
    result = second[1]
    assert set(result) == {
        "run_dir", "metrics", "seconds", "trainable_parameters", "notes", "left_out", "skipped", "none_of_these",
        "features", "name", "config", "warnings", "filtered", "cross_validation",
        "thresholds", "validation_duplicates", "finetuning",
    }  # fmt: skip
    assert result["features"] == {"computed": 0, "reused": 2099}
    assert result["trainable_parameters"] == 4129
    assert set(result["metrics"]) == {"train", "validation"}
    for name in ("manifest.json", "head.safetensors", "reference.safetensors"):
        first = (solar[0] / "runs/latest/model" / name).read_bytes()
        assert (Path(result["run_dir"]) / "model" / name).read_bytes() == first


def test_predictions_table_has_every_image_once(solar: tuple[Path, Tlcli]) -> None:
    with (solar[0] / "runs/latest/predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "sha256", "split", "label", "predicted", "group", "functional", "defective"]
    assert len({row["path"] for row in rows}) == len(rows) == 2624
    metrics = json.loads((solar[0] / "runs/latest/metrics.json").read_text())
    for split in ("train", "validation", "test"):
        measured = metrics[split]
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
        assert answer["best_guess"] == row["predicted"]
        assert {t["label"]: t["probability"] for t in answer["top"]} == {
            name: pytest.approx(float(row[name]), abs=1e-6) for name in ("functional", "defective")
        }


def test_figures_are_images_of_a_useful_size(solar: tuple[Path, Tlcli]) -> None:
    for path in (solar[0] / "runs/latest/figures").glob("*.png"):
        with Image.open(path) as figure:
            assert figure.width >= 500
            assert figure.height >= 300


def test_fail_under_decides_the_exit_code_and_quiet_prints_nothing(
    solar: tuple[Path, Tlcli], second: tuple[Path, dict[str, Any]]
) -> None:
    given = ("evaluate", "--runs-dir", second[0], "--fail-under")
    done = solar[1](*given, "0.5", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    written = json.loads((second[0] / "latest/metrics.json").read_text())
    assert written == json.loads((solar[0] / "runs/latest/metrics.json").read_text())
    done = solar[1](*given, "0.999", "--json")
    assert done.code == 3
    assert "[data.gate_missed]" in done.err
    assert {split: done.json()[split] for split in written} == written


@pytest.fixture(scope="module")
def report(solar: tuple[Path, Tlcli]) -> dict[str, Any]:
    """report.json of the demo."""
    read: dict[str, Any] = json.loads((solar[0] / "runs/latest/report.json").read_text())
    return read


def test_intervals_hold_what_was_measured(solar: tuple[Path, Tlcli], report: dict[str, Any]) -> None:
    test = json.loads((solar[0] / "runs/latest/metrics.json").read_text())["test"]
    for name in ("accuracy", "balanced_accuracy", "log_loss", "roc_auc"):
        low, high = report["intervals"][name]
        assert low < test[name] < high
        assert high - low < 0.12
    validated = report["cross_validation"]
    low, high = validated["accuracy_ci95"]
    assert low < validated["accuracy"] < high
    assert validated["images"] == 1706 + 393


def test_model_is_better_than_every_baseline(solar: tuple[Path, Tlcli], report: dict[str, Any]) -> None:
    test = json.loads((solar[0] / "runs/latest/metrics.json").read_text())["test"]
    baselines = {baseline["name"]: baseline["accuracy"] for baseline in report["baselines"]}
    assert baselines["majority class"] == pytest.approx(361 / 525)
    assert baselines["majority class"] < baselines["colour histogram"] < test["accuracy"]
    assert baselines["nearest neighbours"] < test["accuracy"]


def test_verdict_has_the_measured_numbers(solar: tuple[Path, Tlcli], report: dict[str, Any]) -> None:
    page = (solar[0] / "runs/latest/report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert re.search(r'<p class="lead">8\d\.\d % of 525 .* 8\d\.\d % ', page)
    assert len(report["verdict"]) == 3
    assert report["confidence"]["images"] == 1706 + 393
    for sets in report["confidence"]["prediction_sets"]:
        assert sets["test_coverage"] > sets["coverage"] - 0.04


def test_page_is_complete_and_small_and_fits_a_phone(solar: tuple[Path, Tlcli]) -> None:
    path = solar[0] / "runs/latest/report.html"
    assert 100_000 < path.stat().st_size < 2_000_000
    with chromium() as browser, opened(browser, path, 390) as (page, said):
        assert said == []
        assert not overflows(page)
        assert broken_images(page) == 0
        matrix = json.loads((solar[0] / "runs/latest/metrics.json").read_text())["test"]["confusion_matrix"]
        assert page.locator(".confusion td").all_inner_texts() == [str(n) for row in matrix for n in row]
        page.locator("a[href='#cell-1-0']").click()
        shown = page.locator(".cell:visible li")
        assert shown.count() == min(24, matrix[1][0])
        assert all("defective\n" in text and "functional " in text for text in shown.all_inner_texts())


def test_below_min_confidence_the_answer_is_unsure(solar: tuple[Path, Tlcli]) -> None:
    tlcli = solar[1]
    root = Path(json.loads(tlcli("fetch", "--config", "solar_cells", "--json").out)["root"])
    images = sorted((root / "images").glob("cell00*.png"))[:30]
    plain = tlcli("predict", *images, "--json").json()
    careful = tlcli("predict", *images, "--json", "--min-confidence", 0.9).json()
    for one, other in zip(plain, careful, strict=True):
        assert (one["best_guess"], one["probability"]) == (other["best_guess"], other["probability"])
        if one["answer"] != "none of these":
            assert one["answer"] == one["label"] == one["best_guess"]
            assert other["answer"] == (one["label"] if one["probability"] >= 0.9 else "unsure")
            assert other["label"] == (one["label"] if one["probability"] >= 0.9 else None)
    assert 0 < sum(answer["answer"] == "unsure" for answer in careful) < 30


def test_images_unlike_all_training_images_are_none_of_these(solar: tuple[Path, Tlcli], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    Image.radial_gradient("L").save(tmp_path / "rings.png")
    for answer in solar[1]("predict", tmp_path, "--json").json():
        assert answer["answer"] == "none of these"
        assert answer["label"] is None
        assert answer["best_guess"] in ("functional", "defective")
        assert answer["distance"] > 0.2
    rows = [line.split() for line in solar[1]("predict", tmp_path, "--top", 2).out.splitlines()[1:]]
    assert [row[0] == "-" for row in rows] == [
        True,
        False,
        False,
    ] * 2  # out of distribution, a probability says nothing


def test_predict_explains(solar: tuple[Path, Tlcli], tmp_path: Path) -> None:
    tlcli = solar[1]
    root = Path(json.loads(tlcli("fetch", "--config", "solar_cells", "--json").out)["root"])
    answer, broken = tlcli(
        "predict", root / "images/cell0100.png", "none.png", "--json", "--explain", tmp_path / "why"
    ).json()
    assert [path.name for path in (tmp_path / "why").iterdir()] == ["cell0100-why.png"]
    assert answer["explanation"] == str(tmp_path / "why/cell0100-why.png")
    with Image.open(answer["explanation"]) as card:
        assert card.width > 400
    assert [set(one) for one in answer["nearest"]] == [{"path", "label", "similarity"}] * 5
    assert all((root / one["path"]).is_file() for one in answer["nearest"])
    assert (broken["explanation"], broken["nearest"]) == (None, [])


def _other_cells(root: Path, other: Path) -> None:
    """Four images of the demo with their labels, in a folder of their own."""
    lines = (root / "labels.csv").read_text().splitlines()
    chosen = [*[line for line in lines if " 0.0 " in line][:2], *[line for line in lines if " 1.0 " in line][:2]]
    for line in chosen:
        path = other / line.split()[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / line.split()[0], path)
    (other / "labels.csv").write_text("\n".join(chosen))


def test_examples_of_the_python_api_do_what_they_say(
    solar: tuple[Path, Tlcli], session_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a copy: the examples train, and other tests look at the latest run of the demo."""
    folder, tlcli = solar
    root = Path(tlcli("fetch", "--config", "solar_cells", "--json").json()["root"])
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("TLCLI_CACHE", str(session_cache))
    shutil.copy(folder / root / "images/cell0100.png", "cell.png")
    _other_cells(folder / root, Path("other_cells"))
    found = doctest.testfile(str(PYTHON_API), module_relative=False, encoding="utf-8")
    assert found.attempted > 15
    assert found.failed == 0
    run = json.loads((Path("runs/latest") / "run.json").read_text())
    assert run["seeds"]["train"] == 1


def test_a_run_says_whether_transfer_helps(solar: tuple[Path, Tlcli]) -> None:
    folder, tlcli = solar
    run = (folder / "runs/latest").resolve()
    document = tlcli("evaluate", "--json").json()
    found = document["transfer"]
    assert document["no_transfer"] is None
    assert json.loads((run / "metrics.json").read_text())["transfer"] == found
    assert json.loads((run / "report.json").read_text())["transfer"] == found
    assert 450 <= found["images"] <= 500 < found["of_images"]
    assert {one["reference"]: one["verdict"] for one in found["comparisons"]}["random_weights"] == "helps"
    assert 'id="transfer"' in (run / "report.html").read_text()

    assert len(tlcli("runs", "--json").json()["runs"]) == 1
    off = ("evaluate.transfer=null", "evaluate.report=false", "evaluate.figures=false")
    settings = [argument for setting in off for argument in ("--set", setting)]
    before = (run / "metrics.json").read_bytes()
    document = tlcli("evaluate", "--config", "solar_cells", *settings, "--json").json()
    assert (document["transfer"], document["no_transfer"]) == (None, "off")
    assert "transfer" not in json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_bytes(before)  # other tests have the same run
