"""Shifted copies: what they change, and that they are the same every time."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tlcli.images.augmentation import PLAIN
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation
from tlcli.images.shifts import SHIFTS, shift_name, shifted

if TYPE_CHECKING:
    from numpy.typing import NDArray


def grains() -> "NDArray[np.uint8]":
    return np.random.default_rng(0).integers(80, 170, (48, 64, 3)).astype(np.uint8)


@pytest.mark.parametrize("view", SHIFTS)
def test_a_shift_is_the_same_every_time_and_of_the_same_form(view: str) -> None:
    once, again = (shifted(grains(), view, "ab") for _ in range(2))
    assert once.dtype == np.uint8
    assert once.shape == grains().shape
    np.testing.assert_array_equal(once, again)
    assert (once != grains()).any()


def test_noise_differs_between_images_and_has_its_deviation() -> None:
    (noise,) = (view for view in SHIFTS if shift_name(view) == "noise")
    one, other = (shifted(grains(), noise, name).astype(float) for name in ("ab", "cd"))
    assert (one != other).mean() > 0.5
    assert np.std(one - grains()) == pytest.approx(0.08 * 255, rel=0.05)


def test_levels_move_by_what_they_say_and_are_clipped() -> None:
    by_name = {shift_name(view): shifted(grains(), view, "") for view in SHIFTS}
    difference = by_name["brighter"].astype(int) - by_name["darker"]
    np.testing.assert_array_equal(np.unique(difference), [76])
    assert shifted(np.full((4, 4, 3), 250, np.uint8), SHIFTS[-1], "").max() == 255


def test_blur_lowers_contrast() -> None:
    checks = (np.indices((224, 224)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert shifted(checks, SHIFTS[0], "").std() < 0.1 * checks.std()


def test_a_decoder_gives_shifts_as_views() -> None:
    decoder = Decoder(Preparation((48, 64), "squash"))
    plain, blurred = decoder.views(Item(grains(), views=(PLAIN, SHIFTS[0])))
    np.testing.assert_array_equal(blurred, shifted(plain, SHIFTS[0], ""))
