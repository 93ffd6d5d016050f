"""The cost of tiles, from the number of images, their sizes and the speed of the network."""

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.backbones.weights import Weights
from tlcli.engines.speed import Speed
from tlcli.features import tile_cost as module
from tlcli.features.tile_cost import tile_cost, tiles_of_sample
from tlcli.images.items import Item
from tlcli.images.preparation import Preparation
from tlcli.images.tiles import Tiles

ROW = CATALOG["efficientnet_lite0"]


def numbers(items: list[Item], tiles: Tiles | None, side: int = 224) -> list[float]:
    """Those in what is said, but for the ones in names."""
    spec = BackboneSpec(ROW, (side, side), Weights(None, "ab" * 32), EngineChoice("openvino", "f32", ""))
    said = tile_cost(items, spec, Preparation((side, side), "crop", tiles=tiles)) or ""
    return [float(one.replace(",", "")) for one in re.findall(r"\d[\d,.]*\b", said)]


def test_a_grid_costs_its_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "known_speed", lambda *_: None)
    items = [Item(Path(f"{number}.png")) for number in range(2624)]
    assert numbers(items, (3, 4)) == [12, 2624, 31488]
    assert numbers([Item(Path("a"), "", ("0", "1-a", "2-a"))] * 100, (1, 2)) == [2, 300, 600]
    assert numbers(items, None) == numbers([], (3, 4)) == []


def test_minutes_are_said_where_the_speed_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    known: Any = Speed(10.0, 100, "openvino", "f32", 2, "a processor", "")
    monkeypatch.setattr(module, "known_speed", lambda *_: known)
    items = [Item(Path(f"{number}.png")) for number in range(6000)]
    assert numbers(items, (1, 2)) == [2, 6000, 12000, 2]
    assert numbers(items, (1, 2), side=448) == [2, 6000, 12000, 8]


def test_native_counts_those_of_a_sample(tmp_path: Path) -> None:
    for number, size in enumerate([(224, 224), (420, 224), (3000, 3000)]):
        Image.new("L", size).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    paths = sorted(tmp_path.iterdir())
    assert tiles_of_sample(paths, Preparation((224, 224), "crop", tiles="native")) == pytest.approx((1 + 2 + 64) / 3)
    assert numbers([Item(path) for path in paths], "native")[1:] == [4, 89]
