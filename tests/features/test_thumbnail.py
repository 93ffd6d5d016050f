"""Thumbnails as features."""

import numpy as np
import pytest

from tlcli.features.thumbnail import PIXELS, SIDE, thumbnail


@pytest.mark.parametrize("side", [32, 64, 224])
def test_each_value_is_the_mean_of_its_part(side: int) -> None:
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3)).astype(np.uint8)
    step = side // SIDE
    expected = pixels.reshape(SIDE, step, SIDE, step, 3).mean(axis=(1, 3)) / 255
    found = thumbnail(pixels)
    assert found.dtype == np.float32
    assert found.shape == (PIXELS.blocks.width,)
    # rounded to whole levels along either axis
    assert found.reshape(SIDE, SIDE, 3) == pytest.approx(expected, abs=1.02 / 255)


def test_other_shapes_have_as_many_values() -> None:
    pixels = np.full((50, 97, 3), 51, np.uint8)
    assert thumbnail(pixels) == pytest.approx(np.full(PIXELS.blocks.width, 0.2), abs=1e-6)
