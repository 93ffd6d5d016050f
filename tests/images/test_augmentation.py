"""Augmented views are deterministic, differ from each other, and change only what the settings name."""

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from tlcli.images.augmentation import PLAIN, Augmentation, augment, view_names

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
STRONG = Augmentation("both", rotation=30, zoom=0.3, shift=0.2, brightness=0.3, contrast=0.3)


def sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def views(augmentation: Augmentation, count: int = 40, pixels: NDArray[np.uint8] = PIXELS) -> list[NDArray[np.uint8]]:
    """View 1 of ``count`` images with equal pixels."""
    name = view_names(1, augmentation)[1]
    return [augment(pixels, name, sha(number), augmentation) for number in range(count)]


def test_view_names_number_the_views_and_share_one_digest_of_the_settings() -> None:
    names = view_names(3, STRONG)

    digest = names[1].partition("-")[2]
    assert names == [PLAIN, f"1-{digest}", f"2-{digest}", f"3-{digest}"]
    assert len(digest) == 12
    assert view_names(0, STRONG) == [PLAIN]


@pytest.mark.parametrize(
    "other",
    [
        Augmentation(flip="horizontal"),
        Augmentation(rotation=1),
        Augmentation(zoom=0.1),
        Augmentation(shift=0.1),
        Augmentation(brightness=0.1),
        Augmentation(contrast=0.1),
        Augmentation(seed=1),
    ],
    ids=str,
)
def test_every_setting_changes_the_view_names(other: Augmentation) -> None:
    assert view_names(1, other)[1] != view_names(1, Augmentation())[1]


def test_view_0_is_not_augmented() -> None:
    assert (augment(PIXELS, PLAIN, sha(0), STRONG) == PIXELS).all()


def test_same_image_view_and_settings_give_the_same_pixels() -> None:
    name = view_names(1, STRONG)[1]

    first, second = (augment(PIXELS.copy(), name, sha(5), STRONG) for _ in range(2))

    assert first.tobytes() == second.tobytes()
    assert first.shape == PIXELS.shape
    assert first.dtype == np.uint8


def test_input_pixels_are_not_modified() -> None:
    before = PIXELS.copy()

    views(STRONG, 4)

    assert (before == PIXELS).all()


def test_views_images_and_seeds_differ() -> None:
    other_seed = Augmentation("both", rotation=30, zoom=0.3, shift=0.2, brightness=0.3, contrast=0.3, seed=1)
    all_views = [
        augment(PIXELS, name, sha(image), settings).tobytes()
        for settings in (STRONG, other_seed)
        for name in view_names(3, settings)[1:]
        for image in range(3)
    ]

    assert len(set(all_views)) == len(all_views) == 18


def test_zero_settings_leave_pixels_unchanged() -> None:
    assert all((view == PIXELS).all() for view in views(Augmentation()))


@pytest.mark.parametrize(
    ("flip", "expected"),
    [
        ("horizontal", [PIXELS, PIXELS[:, ::-1]]),
        ("vertical", [PIXELS, PIXELS[::-1]]),
        ("both", [PIXELS, PIXELS[:, ::-1], PIXELS[::-1], PIXELS[::-1, ::-1]]),
    ],
)
def test_flips_are_exact_and_equally_frequent(flip: str, expected: list[NDArray[np.uint8]]) -> None:
    counts = dict.fromkeys((kind.tobytes() for kind in expected), 0)

    for view in views(Augmentation(flip=flip), 200):  # type: ignore[arg-type]
        counts[view.tobytes()] += 1

    assert all(abs(count - 200 / len(expected)) < 35 for count in counts.values())


def test_one_setting_does_not_change_the_random_draws_of_another() -> None:
    name = "1-fixed"
    flipped = [augment(PIXELS, name, sha(n), Augmentation("horizontal")) for n in range(40)]
    darker = [augment(PIXELS, name, sha(n), Augmentation("horizontal", brightness=0.01)) for n in range(40)]

    for plain, changed in zip(flipped, darker, strict=True):
        assert np.abs(plain.astype(int) - changed).max() <= 3


@pytest.mark.parametrize("augmentation", [Augmentation(rotation=180), Augmentation(zoom=0.5)], ids=str)
def test_rotation_and_zoom_keep_the_centre(augmentation: Augmentation) -> None:
    spot = np.zeros((31, 31, 3), np.uint8)
    spot[13:18, 13:18] = 255
    position = np.arange(31)

    changed = views(augmentation, pixels=spot)

    assert len({view.tobytes() for view in changed}) > 30
    for view in changed:
        light = view[8:23, 8:23, 0].astype(float)  # away from the mirrored copies
        for axis in (0, 1):
            assert light.sum(axis=axis) @ position[8:23] / light.sum() == pytest.approx(15, abs=0.4)


def test_zoom_scales_a_spot_within_its_range() -> None:
    spot = np.zeros((61, 61, 3), np.uint8)
    spot[20:41, 20:41] = 255

    areas = [view[10:51, 10:51, 0].sum() / 255 / 21**2 for view in views(Augmentation(zoom=0.3), pixels=spot)]

    assert 0.7**2 - 0.02 <= min(areas) < 0.8
    assert 1.2 < max(areas) <= 1.3**2 + 0.02


def test_shift_moves_within_its_range() -> None:
    spot = np.zeros((41, 41, 3), np.uint8)
    spot[20, 20] = 255
    position = np.arange(41)

    greys = [view[..., 0].astype(float) for view in views(Augmentation(shift=0.2), pixels=spot)]
    moved = np.array([[grey.sum(axis=axis) @ position / grey.sum() for axis in (0, 1)] for grey in greys])

    assert np.abs(moved - 20).max() <= 0.2 * 41 + 0.1
    assert (np.abs(moved - 20).max(axis=0) > 5).all()


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(zoom=0.9), Augmentation(rotation=180, zoom=0.6, shift=0.5), Augmentation(shift=0.5)],
    ids=str,
)
def test_the_outside_is_filled_with_the_mirrored_image(augmentation: Augmentation) -> None:
    white = np.full((24, 24, 3), 255, np.uint8)

    assert all((view == 255).all() for view in views(augmentation, pixels=white))


def test_brightness_adds_one_amount_to_every_level() -> None:
    grey = np.full((8, 8, 3), 100, np.uint8)

    levels = [set(view.ravel().tolist()) for view in views(Augmentation(brightness=0.2), pixels=grey)]

    assert all(len(level) == 1 for level in levels)
    found = sorted(level.pop() for level in levels)
    assert 49 <= found[0] < 70
    assert 130 < found[-1] <= 151


def test_contrast_keeps_the_mean_and_scales_the_distances() -> None:
    halves = np.full((8, 8, 3), 100, np.uint8)
    halves[4:] = 140

    changed = views(Augmentation(contrast=0.5), pixels=halves)

    spreads = [int(view[7, 0, 0]) - int(view[0, 0, 0]) for view in changed]
    assert all(view.mean() == pytest.approx(120, abs=0.5) for view in changed)
    assert 20 <= min(spreads) < 30
    assert 50 < max(spreads) <= 60


def test_new_settings_left_out_leave_names_and_pixels_as_they_were() -> None:
    settings = Augmentation(flip="both", rotation=20, zoom=0.2, seed=3)
    assert view_names(1, settings)[1] == "1-f9254d056018"
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)
    view = augment(pixels, view_names(1, settings)[1], "ab" * 32, settings)
    assert hashlib.sha256(view.tobytes()).hexdigest()[:12] == "a5c6c6cda608"


def test_a_crop_cuts_off_at_most_its_share_and_fills_the_whole() -> None:
    across, along = np.meshgrid(np.linspace(0, 255, 64), np.linspace(0, 255, 48))
    pixels = np.stack([across, along, across], axis=2).astype(np.uint8)
    settings, areas, ratios = Augmentation(crop=0.5), [], []
    for view in view_names(60, settings)[1:]:
        found = augment(pixels, view, "cd" * 32, settings).astype(float)
        assert found.shape == pixels.shape
        wide, high = found[:, -1, 0].mean() - found[:, 0, 0].mean(), found[-1, :, 1].mean() - found[0, :, 1].mean()
        areas.append(wide * high / 255**2)
        ratios.append(wide / high)
    assert 0.45 < min(areas) < 0.6
    assert 0.9 < max(areas) <= 1
    assert 0.72 < min(ratios) < 0.85
    assert 1.18 < max(ratios) < 1.38


def test_saturation_moves_levels_away_from_grey_and_back() -> None:
    pixels = np.tile(np.array([200, 100, 60], np.uint8), (8, 8, 1))
    settings = Augmentation(saturation=0.5)
    spreads = [float(np.ptp(augment(pixels, view, "ef" * 32, settings)[0, 0])) for view in view_names(60, settings)[1:]]
    assert 65 < min(spreads) < 90
    assert 190 < max(spreads) < 215
    grey = np.full((8, 8, 3), 90, np.uint8)
    np.testing.assert_array_equal(augment(grey, view_names(1, settings)[1], "ef" * 32, settings), grey)
