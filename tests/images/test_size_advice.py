"""What is said of images that are larger, smaller or longer than the input of the network."""

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tlcli.images.preparation import Preparation
from tlcli.images.size_advice import losses, size_advice, size_advice_from_sample

CROP = Preparation((224, 224), "crop", crop_fraction=0.875)
PAD, SQUASH = (replace(CROP, resize=way) for way in ("pad", "squash"))


def settings(
    sizes: list[tuple[int, int]], preparation: Preparation, most: float = 1.0, trained: tuple[int, int] | None = None
) -> dict[str, Any]:  # fmt: skip
    """What the one note says to set, by key; empty without a note."""
    found = list(size_advice(sizes, preparation, most, trained=trained))
    assert len(found) <= 1
    return {
        key: yaml.safe_load(value) for key, value in re.findall(r"--set '?image\.(\w+)=([^ '.(]+\]?)", "".join(found))
    }


def test_borders_that_the_network_does_not_see_are_said() -> None:
    (said,) = size_advice([(300, 300)] * 3, CROP)
    assert "77%" in said
    (said,) = size_advice([(600, 300), (300, 600), (300, 300)], CROP)
    assert "38%" in said
    assert settings([(300, 300)], CROP) == {"resize": "squash"}
    assert not list(size_advice([(300, 300)], CROP, 0.7))
    assert not list(size_advice([(300, 300)], PAD))
    assert not list(size_advice([], CROP))


@pytest.mark.parametrize(
    ("size", "preparation", "expected"),
    [
        ((300, 300), PAD, {}),
        ((1200, 900), PAD, {"size": 448}),
        ((900, 900), SQUASH, {"size": 448}),
        ((1200, 900), CROP, {"size": 448, "resize": "squash"}),
        ((4000, 3000), CROP, {"tiles": "native"}),
        ((4000, 3000), replace(CROP, size=(448, 448), resize="squash"), {"tiles": "native"}),
        ((4000, 3000), replace(CROP, size=(2240, 2240), resize="squash"), {}),
        ((600, 150), PAD, {"size": [128, 512]}),
        ((150, 600), SQUASH, {"size": [512, 128]}),
        ((500, 250), CROP, {"size": [160, 320], "crop_fraction": 1}),
        ((800, 400), CROP, {"size": [320, 640], "crop_fraction": 1}),
        ((1600, 800), CROP, {"size": [320, 640], "crop_fraction": 1}),
        ((1600, 800), replace(CROP, size=(160, 320), crop_fraction=1.0), {"size": [320, 640]}),
        ((2000, 500), replace(CROP, size=(128, 512), crop_fraction=1.0), {"size": [256, 1024]}),
        ((1127, 207), replace(CROP, size=(192, 1024), crop_fraction=1.0), {}),
        ((400, 300), replace(CROP, crop_fraction=1.0), {"resize": "squash"}),
        ((4000, 3000), replace(CROP, tiles="native"), {"size": 448}),
        ((1200, 900), replace(CROP, tiles="native"), {}),
        ((1500, 900), replace(PAD, tiles=(4, 4)), {"tiles": [3, 5]}),
        ((1200, 300), replace(CROP, tiles=(2, 2)), {"tiles": [1, 4], "crop_fraction": 1}),
        ((1200, 300), replace(SQUASH, tiles=(2, 2)), {"tiles": [1, 4]}),
        ((300, 1200), replace(PAD, tiles=(2, 2)), {"tiles": [4, 1]}),
        ((1200, 300), replace(SQUASH, tiles=(1, 4)), {}),
        ((2000, 2000), replace(SQUASH, tiles=(2, 2)), {"tiles": [5, 6]}),
        ((9000, 9000), replace(SQUASH, tiles=(2, 2)), {"tiles": "native"}),
        ((9000, 200), replace(SQUASH, tiles=(2, 2)), {"tiles": [1, 41]}),
    ],
)
def test_settings_to_try(size: tuple[int, int], preparation: Preparation, expected: dict[str, Any]) -> None:
    assert settings([size] * 4, preparation) == expected


@pytest.mark.parametrize("size", [(600, 150), (1600, 800), (500, 1100), (900, 380), (2000, 500)])
@pytest.mark.parametrize("preparation", [CROP, PAD, SQUASH], ids=lambda one: one.resize)
def test_the_settings_cure_what_they_are_for(size: tuple[int, int], preparation: Preparation) -> None:
    """At once, or at the second time, of sizes far above the network's."""
    for _ in range(2):
        changes = settings([size], preparation, most=0.9)
        if "size" in changes:
            one = changes["size"]
            changes["size"] = (one, one) if isinstance(one, int) else tuple(one)
        before, preparation = preparation, replace(preparation, **changes)
        if not changes:
            break
        assert losses([size], preparation).seen >= losses([size], before).seen
    assert not list(size_advice([size], preparation, most=0.9))


@pytest.mark.parametrize("size", [(1127, 207), (600, 1000), (600, 150), (300, 1000), (640, 400)])
@pytest.mark.parametrize("preparation", [CROP, PAD, SQUASH], ids=lambda one: one.resize)
def test_a_shape_that_was_taken_is_not_corrected(size: tuple[int, int], preparation: Preparation) -> None:
    """By another one, nor by asking for what is set already; a finer input of the same shape may be proposed."""
    shapes = []
    for _ in range(4):
        changes = settings([size], preparation)
        if "size" not in changes:
            break
        high, wide = changes["size"]
        shapes.append(high / wide)
        preparation = replace(preparation, size=(high, wide), crop_fraction=changes.get("crop_fraction", 1.0))
    assert settings([size], preparation) == {}
    assert len(set(shapes)) == 1


def test_no_proposal_exceeds_what_is_allowed() -> None:
    assert settings([(2500, 60)], SQUASH) == {"size": [96, 4000]}
    assert settings([(2569, 60)], SQUASH) == {}


def test_mixed_aspect_ratios_get_no_shape() -> None:
    assert settings([(600, 300), (300, 600), (600, 300), (300, 600)], SQUASH) == {}
    assert settings([(600, 300)] * 9 + [(300, 600)], SQUASH) == {"size": [160, 320]}
    assert losses([(600, 300), (300, 600)], SQUASH).aspect is None


def test_networks_of_one_size_get_tiles() -> None:
    for size, preparation, expected in (
        ((1200, 900), CROP, ["tiles=native"]),
        ((1600, 400), SQUASH, ["tiles=native"]),
        ((600, 300), CROP, ["resize=squash"]),
        ((600, 300), SQUASH, []),
        ((4000, 3000), replace(CROP, tiles="native"), []),
    ):
        said = " ".join(size_advice([size], preparation, any_size=False))
        assert re.findall(r"image\.(\w+=\w+)", said) == expected


@pytest.mark.parametrize("size", [(1200, 300), (500, 1100), (3000, 700), (2000, 500), (2500, 2000)])
@pytest.mark.parametrize("preparation", [CROP, PAD, SQUASH], ids=lambda one: one.resize)
@pytest.mark.parametrize("any_size", [True, False])
def test_other_tiles_cure_what_they_are_for(size: tuple[int, int], preparation: Preparation, any_size: bool) -> None:
    tiled = replace(preparation, tiles=(2, 2))
    changes = settings([size], tiled, 0.9)
    tiles = changes["tiles"]
    cured = replace(tiled, tiles=tuple(tiles), crop_fraction=changes.get("crop_fraction", 0.875))
    assert not list(size_advice([size], cured, 0.75, any_size))


@pytest.mark.parametrize(
    ("size", "preparation", "expected"),
    [
        ((300, 300), replace(SQUASH, size=(448, 448)), {"size": 224}),
        ((332, 250), replace(PAD, size=(448, 448)), {"size": 224}),
        ((300, 300), replace(SQUASH, size=(320, 320)), {}),
        ((900, 900), replace(SQUASH, size=(448, 448)), {"size": 896}),
        ((150, 150), SQUASH, {}),
        ((300, 300), replace(SQUASH, tiles=(3, 3)), {"tiles": None}),
        ((600, 150), replace(SQUASH, size=(256, 1024)), {"size": [128, 512]}),
        ((600, 150), replace(SQUASH, size=(448, 448)), {"size": [128, 512]}),
    ],
)
def test_enlarging_above_what_the_network_was_trained_at_is_said(
    size: tuple[int, int], preparation: Preparation, expected: dict[str, Any]
) -> None:
    assert settings([size], preparation, trained=(224, 224)) == expected


def test_a_sample_is_said_to_be_one() -> None:
    assert "sample of 2" in next(size_advice([(90, 90)] * 2, PAD, images=3))
    assert "sample" not in next(size_advice([(90, 90)] * 3, PAD, images=3))


def test_width_and_height_are_told_apart() -> None:
    (said,) = size_advice([(1200, 900)], PAD)
    assert "1,200 wide x 900 high" in said


def test_small_images_are_said_to_be_enlarged() -> None:
    assert len(list(size_advice([(90, 90)], PAD))) == 1
    assert settings([(90, 90)], PAD) == {}
    assert not list(size_advice([(150, 150)], PAD))
    assert settings([(180, 20)], PAD) == {"size": [96, 864]}


def test_advice_is_found_in_a_sample_of_the_files(tmp_path: Path) -> None:
    path = tmp_path / "wide.jpg"
    Image.new("RGB", (400, 100)).save(path)
    assert len(size_advice_from_sample([path] * 40, CROP)) == 1
    assert size_advice_from_sample([tmp_path / "none.jpg"], CROP) == []


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "TIFF"])
def test_the_size_of_a_turned_image_is_that_of_the_upright_one(tmp_path: Path, kind: str) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.new("RGB", (400, 100)).save(buffer, kind, exif=exif)
    (tmp_path / "a").write_bytes(buffer.getvalue())
    (said,) = size_advice_from_sample([tmp_path / "a"], PAD)
    assert re.findall(r"size=\[(\d+),(\d+)\]", said) == [("512", "128")]
