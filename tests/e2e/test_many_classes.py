"""More classes than a figure or a page can show: trained and evaluated like few."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.e2e.conftest import Tlcli

from tlcli.heads.many_units import MANY_UNITS

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
CLASSES, IMAGES = MANY_UNITS + 10, 4
SETTINGS = ("--set", "backbone.name=mobilenet_v2", "--set", "backbone.weights=random", "--set", "image.size=32")


def test_a_hundred_classes_of_four_images_are_trained_and_evaluated(tlcli: Tlcli, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(CLASSES):
        (folder := tmp_path / "my_images" / f"c{number:03d}").mkdir(parents=True)
        base = random.integers(0, 256, (4, 4, 3))
        for image in range(IMAGES):
            pixels = np.clip(base + random.integers(-20, 21, base.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((32, 32)).save(folder / f"{image}.png")
    assert tlcli("train", "--config", "my_images", *SETTINGS).code == 0
    assert tlcli("evaluate").code == 0
    run = tmp_path / "runs" / "latest"
    metrics = json.loads((run / "metrics.json").read_text())
    assert np.array(metrics["test"]["confusion_matrix"]).shape == (CLASSES, CLASSES)
    assert (run / "metrics.json").read_text().count("\n") < 12 * CLASSES * len(metrics) + 100
    validated = json.loads((run / "report.json").read_text())["cross_validation"]
    assert validated["repeats"] == validated["repeats_requested"] == 3
    with (run / "predictions.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {6 + CLASSES}
    assert len(rows) == 1 + CLASSES * IMAGES
    assert np.array([row[6:] for row in rows[1:]], float).sum(axis=1) == pytest.approx(1, abs=1e-3)
