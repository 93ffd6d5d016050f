from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tests.torture.image_bytes import COLOUR, SIDE, tiff, tiff_tags

from tlcli.images.decode import BadImageError
from tlcli.images.preparation import Preparation
from tlcli.images.statistics import (
    ImageStatistics,
    image_statistics,
    oddities,
)

PREPARATION = Preparation((224, 224), "crop")
ORDINARY = ImageStatistics(300, 200, "JPEG", "RGB", 1, 5000, 120.0, 40.0)


def test_statistics_of_an_image(tmp_path: Path) -> None:
    levels = np.zeros((100, 200, 3), np.uint8)
    levels[:, 100:] = 200
    Image.fromarray(levels).save(tmp_path / "a.png")
    statistics, small = image_statistics(tmp_path / "a.png", PREPARATION, 64)
    assert (statistics.width, statistics.height, statistics.format, statistics.mode, statistics.frames) == (
        200,
        100,
        "PNG",
        "RGB",
        1,
    )
    assert statistics.bytes == (tmp_path / "a.png").stat().st_size
    assert statistics.brightness == pytest.approx(100, abs=1)
    assert statistics.contrast == pytest.approx(100, abs=2)
    assert small.shape == (64, 64)
    assert small.dtype == np.uint8
    assert small[:, :30].max() < 5  # the whole image, squashed: halves stay halves
    assert small[:, 34:].min() > 195


def test_file_that_is_not_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(BadImageError) as error:
        image_statistics(tmp_path / "a.png", PREPARATION, 64)
    assert error.value.code == "image.unknown_format"


@pytest.mark.parametrize(
    ("name", "changes", "number"),
    [
        ("a.jpg", {}, ""),
        ("a.JPEG", {}, ""),
        ("a", {}, ""),
        ("a.tif", {"format": "MPO"}, ""),  # not one of the formats that may be read by themselves
        ("a.jpg", {"format": "PNG"}, "PNG"),
        ("a.png", {}, ".png"),
        ("a.jpg", {"mode": "P"}, "palette"),
        ("a.jpg", {"mode": "CMYK"}, "CMYK"),
        ("a.jpg", {"frames": 7}, "7"),
        ("a.jpg", {"width": 111, "height": 111}, "111"),
        ("a.jpg", {"width": 112, "height": 112}, ""),
        ("a.jpg", {"width": 1300}, "1300"),
        ("a.jpg", {"contrast": 0.5}, "120"),
        ("a.jpg", {"brightness": 4.0}, "4"),
        ("a.jpg", {"brightness": 250.0}, "250"),
        ("a.jpg", {"is_plain": True}, "one level"),
        ("a.jpg", {"is_plain": True, "contrast": 0.5}, "blank"),
    ],
)
def test_oddities_are_reported_one_by_one(name: str, changes: dict[str, Any], number: str) -> None:
    found = list(oddities(Path(name), replace(ORDINARY, **changes), (224, 224)))
    assert len(found) == bool(number)
    assert all(number in phrase for phrase in found)


def test_image_with_broken_later_frames_has_one_frame(tmp_path: Path) -> None:
    data = bytes(COLOUR) * SIDE * SIDE
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(tiff_tags([8, 8, 8], 2, data), data, following=10**6))
    statistics, _ = image_statistics(path, PREPARATION, 8)
    assert (statistics.frames, statistics.width, statistics.format) == (1, SIDE, "TIFF")


@pytest.mark.parametrize("background", ["white", "black", "#336699"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_card_with_a_text_is_plain_and_what_fills_the_image_is_not(
    tmp_path: Path, background: str, suffix: str
) -> None:
    card = Image.new("RGB", (400, 300), background)
    ImageDraw.Draw(card).text((90, 130), "This image could not be found", fill="#999999", font_size=16)
    card.save(tmp_path / f"card.{suffix}")
    assert image_statistics(tmp_path / f"card.{suffix}", PREPARATION, 64)[0].is_plain
    ImageDraw.Draw(card).ellipse((80, 30, 320, 270), fill="#cc8844")
    card.save(tmp_path / f"object.{suffix}")
    assert not image_statistics(tmp_path / f"object.{suffix}", PREPARATION, 64)[0].is_plain
