"""How images are resized: what is kept, what is cropped, what is filled."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tlcli.images.preparation import Preparation, resize

INTERPOLATIONS = ("bicubic", "bilinear", "lanczos", "nearest")


def noise(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def resized(pixels: NDArray[np.uint8], preparation: Preparation) -> NDArray[np.uint8]:
    return np.asarray(resize(Image.fromarray(pixels), (0, 0, pixels.shape[1], pixels.shape[0]), preparation))


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
def test_image_of_the_right_size_is_unchanged(resize: str) -> None:
    pixels = noise(32, 32)
    preparation = Preparation((32, 32), resize, crop_fraction=1.0)  # type: ignore[arg-type]

    assert (resized(pixels, preparation) == pixels).all()


@pytest.mark.parametrize(("width", "height", "left", "top"), [(80, 40, 30, 10), (40, 80, 10, 30), (40, 40, 10, 10)])
def test_crop_keeps_the_centre_square(width: int, height: int, left: int, top: int) -> None:
    pixels = noise(width, height)

    cropped = resized(pixels, Preparation((20, 20), "crop", crop_fraction=0.5))

    assert (cropped == pixels[top : top + 20, left : left + 20]).all()


def test_crop_keeps_seven_eighths_unless_told_otherwise() -> None:
    pixels = noise(64, 64)

    assert (resized(pixels, Preparation((56, 56), "crop")) == pixels[4:60, 4:60]).all()


@pytest.mark.parametrize(("width", "height"), [(40, 20), (20, 40)])
def test_pad_keeps_the_aspect_and_fills_with_the_background(width: int, height: int) -> None:
    pixels = noise(width, height)
    expected = np.full((40, 40, 3), (10, 20, 30), np.uint8)
    top, left = (40 - height) // 2, (40 - width) // 2
    expected[top : top + height, left : left + width] = pixels

    assert (resized(pixels, Preparation((40, 40), "pad", background=(10, 20, 30))) == expected).all()


@pytest.mark.parametrize(("width", "height"), [(1000, 1), (1, 1000)])
def test_pad_keeps_a_line_of_the_thinnest_image(width: int, height: int) -> None:
    padded = resized(np.zeros((height, width, 3), np.uint8), Preparation((32, 32), "pad"))

    assert (padded == 0).all(axis=2).sum() == 32
    assert (padded == 255).all(axis=2).sum() == 32 * 31


def test_squash_uses_the_whole_image() -> None:
    quarters = np.zeros((20, 80, 3), np.uint8)
    quarters[:, 40:] = 255

    squashed = resized(quarters, Preparation((40, 40), "squash"))

    assert (squashed[:, :18] == 0).all()
    assert (squashed[:, 22:] == 255).all()


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize(("width", "height"), [(90, 60), (60, 90), (301, 77), (33, 33)])
def test_centre_stays_in_the_centre(resize: str, width: int, height: int) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[height // 3 : height - height // 3, width // 3 : width - width // 3] = 255

    light = resized(pixels, Preparation((48, 48), resize, background=(0, 0, 0)))[..., 0].astype(float)  # type: ignore[arg-type]

    position = np.arange(48) + 0.5
    assert light.sum(axis=0) @ position / light.sum() == pytest.approx(24, abs=0.01)
    assert light.sum(axis=1) @ position / light.sum() == pytest.approx(24, abs=0.01)


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 1), (1, 500), (3000, 2)])
def test_smallest_and_thinnest_images_are_resized_too(resize: str, width: int, height: int) -> None:
    pixels = np.full((height, width, 3), 9, np.uint8)

    result = resized(pixels, Preparation((32, 32), resize, background=(9, 9, 9)))  # type: ignore[arg-type]

    assert (result == np.full((32, 32, 3), 9)).all()


@pytest.mark.parametrize("way", ["crop", "pad", "squash"])
def test_interpolation_is_pillow_s_and_bicubic_unless_told_otherwise(way: str) -> None:
    pixels = noise(64, 64)
    whole = Preparation((20, 20), way, crop_fraction=1.0)  # type: ignore[arg-type]
    made = {name: resized(pixels, replace(whole, interpolation=name)) for name in INTERPOLATIONS}  # type: ignore[arg-type]
    for name, found in made.items():
        expected = Image.fromarray(pixels).resize((20, 20), Image.Resampling[name.upper()])
        assert (found == np.asarray(expected)).all()
    assert len({one.tobytes() for one in made.values()}) == len(INTERPOLATIONS)
    assert (resized(pixels, whole) == made["bicubic"]).all()
