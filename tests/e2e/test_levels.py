"""Deep images and bands through the whole program: the levels of the training images are those of predict."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from tests.e2e.conftest import Tlcli

pytestmark = pytest.mark.e2e


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """12-bit noise in 16-bit files, dark and light, and a config."""
    random = np.random.default_rng(0)
    for label, level in (("dark", 1000), ("light", 2000)):
        (tmp_path / "deep" / label).mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(random.normal(level, 150, (40, 40)), 500, 2500).astype(np.uint16)
            Image.fromarray(pixels).save(tmp_path / "deep" / label / f"{number}.png")
    (tmp_path / "deep.yaml").write_text(
        "dataset:\n  path: deep\nimage:\n  size: 32\nbackbone:\n  name: mobilenet_v2\n  weights: random\n"
        "head:\n  Cs: [1]\nevaluate:\n  figures: false\n  report: false\n"
    )
    return tmp_path


def test_levels_of_the_training_images_are_stored_as_numbers(tlcli: Tlcli, deep: Path) -> None:
    suggested = tlcli("inspect", "--config", "deep.yaml", "--json").json()["suggestions"]
    assert ["image.levels=[0,4095]" in one for one in suggested] == [True, False]  # the other is on the crop
    done = tlcli("train", "--config", "deep.yaml", "--set", "image.levels=data", "--json")
    assert done.code == 0, done.err
    run = Path(deep / done.json()["run_dir"])
    low, high = yaml.safe_load((run / "config.yaml").read_text())["image"]["levels"]
    assert 500 <= low < 900
    assert 2200 < high <= 2500
    assert json.loads((run / "model/manifest.json").read_text())["preparation"]["levels"] == [low, high]
    answers = tlcli("predict", "deep/dark/0.png", "deep/light/0.png", "--json").json()
    assert [one["label"] for one in answers] == ["dark", "light"]
    assert tlcli("evaluate", "--json").code == 0


def test_levels_of_8_bit_images_are_refused(tlcli: Tlcli, shapes: Path) -> None:
    done = tlcli("train", "--config", "shapes.yaml", "--set", "image.levels=data", "--json")
    assert (done.code, done.error) == (3, "data.no_levels")
