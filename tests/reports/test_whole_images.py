"""Cards show the whole image, and what the network sees of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcli.images.preparation import Preparation
from tlcli.reports.whole_images import whole_image


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    path = tmp_path / "wide.png"
    Image.new("RGB", (200, 100), (0, 0, 200)).save(path)
    return path


def test_what_is_cut_off_is_faded_and_the_rest_is_not(wide: Path) -> None:
    drawn = whole_image(wide, Preparation((32, 32), "crop", crop_fraction=0.8), 200)
    assert drawn is not None
    assert drawn.shape == (200, 200, 3)
    assert drawn[100, 100].tolist() == [0, 0, 200]
    assert drawn[100, 20].tolist() == pytest.approx([140, 140, 230], abs=2)
    assert drawn[10, 100].tolist() == [255, 255, 255]
    outline = np.flatnonzero((drawn[100] == (255, 106, 0)).all(axis=1))
    assert (outline.min(), outline.max()) == (60, 139)  # the middle 80 of 200 pixels


def test_nothing_is_drawn_where_all_is_seen_or_nothing_can_be_read(wide: Path, tmp_path: Path) -> None:
    assert whole_image(wide, Preparation((32, 32), "pad")) is None
    assert whole_image(wide, Preparation((32, 32), "squash")) is None
    square = tmp_path / "square.png"
    Image.new("RGB", (50, 50)).save(square)
    assert whole_image(square, Preparation((32, 32), "crop", crop_fraction=1.0)) is None
    assert whole_image(tmp_path / "none.png", Preparation((32, 32), "crop")) is None
