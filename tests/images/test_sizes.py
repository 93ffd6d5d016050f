"""Inputs that are not square: what of an image they show, and that squares are as ever."""

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tlcli.images.augmentation import Augmentation, augment, view_names
from tlcli.images.decode import prepare
from tlcli.images.preparation import Preparation, jpeg_scale, resize, seen_box, seen_share
from tlcli.images.statistics import image_statistics, oddities

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def ramp(height: int, width: int) -> "NDArray[np.uint8]":
    """Red grows to the right and green downwards."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), 0 * x], axis=-1).astype(np.uint8)


def resized(pixels: "NDArray[np.uint8]", preparation: Preparation) -> "NDArray[np.uint8]":
    return np.asarray(resize(Image.fromarray(pixels), (0, 0, pixels.shape[1], pixels.shape[0]), preparation))


@pytest.mark.parametrize("way", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [(97, 161), (40, 20), (33, 224)])
def test_an_image_of_that_size_stays_as_it_is(way: str, size: tuple[int, int]) -> None:
    preparation = Preparation(size, way, crop_fraction=1.0)  # type: ignore[arg-type]
    assert np.array_equal(resized(ramp(*size), preparation), ramp(*size))
    assert seen_share((size[1], size[0]), preparation) == 1


def test_crop_takes_the_largest_part_of_the_aspect_ratio() -> None:
    preparation = Preparation((100, 200), "crop", crop_fraction=1.0)
    assert seen_box((400, 400), preparation) == (0, 100, 400, 300)
    assert seen_box((800, 100), preparation) == (300, 0, 500, 100)
    assert seen_share((400, 400), preparation) == pytest.approx(0.5)
    assert seen_box((400, 200), Preparation((100, 200), "crop", crop_fraction=0.5)) == (100, 50, 300, 150)
    assert np.array_equal(resized(ramp(100, 300), preparation), ramp(100, 300)[:, 50:250])


def test_pad_fills_up_to_the_aspect_ratio() -> None:
    padded = resized(np.zeros((50, 50, 3), np.uint8), Preparation((50, 90), "pad", background=(1, 2, 3)))
    assert (padded[:, 20:70] == 0).all()
    assert (padded[:, :20] == (1, 2, 3)).all()
    assert (padded[:, 70:] == (1, 2, 3)).all()
    assert seen_box((50, 50), Preparation((50, 90), "pad")) == pytest.approx((-20, 0, 70, 50))


def test_squash_shows_all() -> None:
    squashed = resized(ramp(300, 300), Preparation((20, 60), "squash")).astype(int)
    assert squashed.shape == (20, 60, 3)
    assert squashed[0, 0].max() < 10
    assert squashed[-1, -1, :2].min() > 240


@pytest.mark.parametrize(("size", "expected"), [((1000, 500), 4), ((2000, 400), 2), ((500, 2000), 2), ((200, 999), 1)])
def test_a_jpeg_is_reduced_by_the_side_that_has_least_to_spare(size: tuple[int, int], expected: int) -> None:
    assert jpeg_scale(size, Preparation((100, 200), "squash")) == expected


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_jpeg_is_like_the_upright_one(orientation: int) -> None:
    turns = {1: 0, 3: 2, 6: 1, 8: -1}[orientation]
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(ramp(400, 1600), turns)))
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    stored.save(buffer, "JPEG", quality=95, exif=exif)
    found = prepare(buffer.getvalue(), Preparation((64, 256), "crop", crop_fraction=1.0)).astype(int)
    assert found.shape == (64, 256, 3)
    assert np.abs(found - resized(ramp(400, 1600), Preparation((64, 256), "squash")).astype(int)).mean() < 3


def test_views_of_long_images_are_whole() -> None:
    """Also turned across: the corners then show the image mirrored at its edge, and nothing else."""
    settings = Augmentation(flip="both", rotation=180, zoom=0.5, shift=0.4, seed=1)
    pixels = np.full((20, 200, 3), 77, np.uint8)
    for number, view in enumerate(view_names(12, settings)[1:]):
        for image in (pixels, pixels.transpose(1, 0, 2)):
            made = augment(image, view, f"{number}", settings)
            assert made.shape == image.shape
            assert (made == 77).all()


def test_shift_is_a_share_of_each_side() -> None:
    settings = Augmentation(shift=0.5)
    pixels = ramp(60, 120)
    made = augment(pixels, "1-x", "a", settings)
    assert made.shape == pixels.shape
    assert not np.array_equal(made, pixels)


def test_oddities_compare_with_height_and_width(tmp_path: "Path") -> None:
    Image.fromarray(ramp(40, 400)).save(tmp_path / "a.png")
    statistics, _ = image_statistics(tmp_path / "a.png", Preparation((64, 640), "crop"), 16)
    assert not list(oddities(tmp_path / "a.png", statistics, (64, 640)))
    assert len(list(oddities(tmp_path / "a.png", statistics, (224, 224)))) == 2


def test_at_keeps_the_aspect_ratio() -> None:
    assert Preparation((224, 448), "crop").at(112).size == (56, 112)
    assert Preparation((224, 224), "crop").at(112).size == (112, 112)
    assert Preparation((4096, 32), "crop").at(64).size == (64, 1)
