"""What evaluate says of a run beside its metrics, on real pictures: the numbers, the page, and predict's answers."""

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
    assert validated["pictures"] == 1706 + 393


def test_model_is_better_than_every_simpler_way(solar: tuple[Path, Tlcli], report: dict[str, Any]) -> None:
    test = json.loads((solar[0] / "runs/latest/metrics.json").read_text())["test"]
    baselines = {baseline["name"]: baseline["accuracy"] for baseline in report["baselines"]}
    assert baselines["majority class"] == pytest.approx(361 / 525)
    assert baselines["majority class"] < baselines["colour histogram"] < test["accuracy"]
    assert baselines["nearest neighbours"] < test["accuracy"]


def test_summary_says_what_was_measured(report: dict[str, Any]) -> None:
    said = report["words"]["summary"]
    assert re.search(r"Of 525 test pictures .*, 8\d\.\d % are named right", said)
    assert "Always answering 'functional' would give 68.8 %." in said


def test_page_is_whole_and_small_and_fits_a_phone(solar: tuple[Path, Tlcli]) -> None:
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


def test_no_report_where_none_is_asked_for(tlcli: Tlcli, shapes: Path) -> None:
    given = ("--config", "shapes.yaml", "--set", "evaluate.report=false")
    assert tlcli("train", *given).code == 0
    assert tlcli("evaluate").code == 0
    assert not list((shapes / "runs/latest").glob("report.*"))


def test_copies_in_training_are_told_and_taken_out(tlcli: Tlcli, shapes: Path) -> None:
    for split in ("train", "validation", "test"):
        for label in ("dark", "light"):
            first, last = {"train": (0, 12), "validation": (12, 16), "test": (16, 20)}[split]
            (shapes / "splits" / split / label).mkdir(parents=True)
            for number in range(first, last):
                shutil.copy(shapes / f"shapes/{label}/{number}.png", shapes / "splits" / split / label)
    shutil.copy(shapes / "shapes/dark/3.png", shapes / "splits/test/dark/again.png")
    train = tlcli("train", "--config", "shapes.yaml", "--set", "dataset.path=splits")
    assert train.code == 0, train.err
    assert tlcli("evaluate").code == 0
    leaks = json.loads((shapes / "runs/latest/report.json").read_text())["leaks"]
    assert leaks["twins"] == [{"test": "test/dark/again.png", "train": "train/dark/3.png", "kind": "exact"}]
    assert leaks["n_without"] == 8
    assert "1 exact copy" in (shapes / "runs/latest/report.html").read_text()


def test_predict_is_unsure_where_it_is_asked_to_be(solar: tuple[Path, Tlcli]) -> None:
    tlcli = solar[1]
    root = Path(json.loads(tlcli("fetch", "--config", "solar_cells", "--json").out)["root"])
    pictures = sorted((root / "images").glob("cell00*.png"))[:30]
    plain = tlcli("predict", *pictures, "--json").json()
    careful = tlcli("predict", *pictures, "--json", "--min-confidence", 0.9).json()
    for one, other in zip(plain, careful, strict=True):
        assert (one["label"], one["probability"]) == (other["label"], other["probability"])
        if one["answer"] != "none of these":
            assert one["answer"] == one["label"]
            assert other["answer"] == (one["label"] if one["probability"] >= 0.9 else "unsure")
    assert 0 < sum(answer["answer"] == "unsure" for answer in careful) < 30
    shown = tlcli("predict", *pictures, "--min-confidence", 0.9).out
    assert "unsure (functional?)" in shown


def test_predict_knows_what_is_like_nothing_it_was_trained_on(solar: tuple[Path, Tlcli], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    Image.radial_gradient("L").save(tmp_path / "rings.png")
    for answer in solar[1]("predict", tmp_path, "--json").json():
        assert answer["answer"] == "none of these"
        assert answer["label"] in ("functional", "defective")
        assert answer["distance"] > 0.2
    rows = [line.split() for line in solar[1]("predict", tmp_path, "--top", 2).out.splitlines()[1:]]
    assert [row[0] == "-" for row in rows] == [True, False, False] * 2  # a share of the classes says nothing of it


def test_predict_draws_why(solar: tuple[Path, Tlcli], tmp_path: Path) -> None:
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
