"""The report of a run on drawn images; for real ones see test_solar_cells.py."""

import json
import shutil
from pathlib import Path

import pytest
from tests.e2e.conftest import Tlcli

pytestmark = pytest.mark.e2e


def test_no_report_where_none_is_requested(tlcli: Tlcli, shapes: Path) -> None:
    given = ("--config", "shapes.yaml", "--set", "evaluate.report=false")
    assert tlcli("train", *given).code == 0
    assert tlcli("evaluate").code == 0
    assert not list((shapes / "runs/latest").glob("report.*"))


def test_duplicates_in_training_are_reported_and_left_out(tlcli: Tlcli, whole_shapes: Path) -> None:
    for split in ("train", "validation", "test"):
        for label in ("dark", "light"):
            first, last = {"train": (0, 12), "validation": (12, 16), "test": (16, 20)}[split]
            (whole_shapes / "splits" / split / label).mkdir(parents=True)
            for number in range(first, last):
                shutil.copy(whole_shapes / f"shapes/{label}/{number}.png", whole_shapes / "splits" / split / label)
    shutil.copy(whole_shapes / "shapes/dark/3.png", whole_shapes / "splits/test/dark/again.png")
    train = tlcli("train", "--config", "shapes.yaml", "--set", "dataset.path=splits")
    assert train.code == 0, train.err
    assert tlcli("evaluate").code == 0
    found = json.loads((whole_shapes / "runs/latest/report.json").read_text())["near_duplicates"]
    assert found["pairs"] == [{"test": "test/dark/again.png", "train": "train/dark/3.png", "kind": "exact"}]
    assert found["n_without"] == 8
    page = (whole_shapes / "runs/latest/report.html").read_text()
    duplicates = page[page.index('<section id="duplicates">') : page.index('<section id="ood">')]
    assert "test/dark/again.png" in duplicates
    assert "train/dark/3.png" in duplicates
