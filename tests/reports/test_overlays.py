from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tlcli.reports.overlays import overlay, scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 96


def image(level: int) -> "NDArray[np.uint8]":
    """Stripes about a level."""
    stripes = np.where(np.arange(SIDE) // 8 % 2, level, max(0, level - 40))
    return np.repeat(np.tile(stripes, (SIDE, 1))[..., None], 3, axis=2).astype(np.uint8)


def warmth(image: Image.Image) -> "NDArray[np.int64]":
    """Red less blue, [S, S]."""
    levels = np.asarray(image).astype(np.int64)
    return np.asarray(levels[..., 0] - levels[..., 2])


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (7, 7), (12, 12), (4, 7)])
def test_for_is_orange_against_is_blue_and_for_is_the_stronger(level: int, shape: tuple[int, int]) -> None:
    heat = np.ones(shape)
    warm, cold = warmth(overlay(image(level), heat)), warmth(overlay(image(level), -heat))
    assert warm.min() > 60
    assert cold.max() < -20
    assert warm.min() > -cold.min()


def test_without_heat_only_the_image_is_seen() -> None:
    assert np.array_equal(np.asarray(overlay(image(200), np.zeros((7, 7)))), image(200))


def test_a_few_extreme_positions_do_not_make_the_others_pale() -> None:
    heat = np.zeros((56, 56))
    heat[10:20, 10:20] = 1
    plain = warmth(overlay(image(128), heat))
    heat[15, 15], heat[40, 40] = 1e4, -1e4
    assert scale(heat) == 1
    found = warmth(overlay(image(128), heat))[20:26, 20:26]
    assert np.abs(found - plain[20:26, 20:26]).max() <= 2


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e6])
def test_full_colour_is_the_images_own_scale(factor: float) -> None:
    heat = np.random.default_rng(0).normal(0, 1, (7, 7))
    assert np.array_equal(
        np.asarray(overlay(image(90), heat)), np.asarray(overlay(image(90), (factor * heat).astype(np.float32)))
    )


def test_colour_lies_where_the_heat_is() -> None:
    heat = np.zeros((6, 6))
    heat[1, 4] = 1
    found = warmth(overlay(image(128), heat))
    y, x = divmod(int(found.argmax()), SIDE)
    assert (y // 16, x // 16) == (1, 4)
    assert abs(found[60:, :40]).max() <= 2  # far away


def test_the_image_is_seen_through_the_strongest_heat() -> None:
    for level in (60, 128, 255):
        for heat in (np.ones((3, 3)), -np.ones((3, 3))):
            grey = np.asarray(overlay(image(level), heat).convert("L")).astype(int)
            assert np.ptp(grey[40]) >= 10  # of 40


def test_colour_of_the_image_is_not_taken_for_heat() -> None:
    red = np.zeros((SIDE, SIDE, 3), np.uint8)
    red[..., 0] = 255
    assert warmth(overlay(red, np.zeros((2, 2)))).max() < 0.3 * 255
