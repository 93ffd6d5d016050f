import functools

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from tlcli.evaluation.image_similarity import (
    SIDE,
    SIMILARITY,
    SharedComponents,
    candidates,
    projected,
    similarity,
)
from tlcli.features.rows import Rows


def enlarged(
    levels: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]",
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Of every channel, to 300 x 240."""
    channels = [Image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(levels, 2, 0)]
    return np.stack(
        [np.asarray(channel.resize((300, 240), Image.Resampling.BICUBIC), np.float32) for channel in channels], axis=-1
    )


@functools.cache
def scene(seed: int) -> Image.Image:
    """An image with large shapes and fine details, 300 x 240 pixels."""
    random = np.random.default_rng(seed)
    # Noise is smoothed where it is small: the same shapes in a fifth of the time.
    coarse, fine = (
        enlarged(gaussian_filter(random.normal(size=(240 // by, 300 // by, 3)), (s, s, 0)))
        for by, s in ((10, 3), (2, 2))
    )
    levels = 128 + 60 * coarse / coarse.std() + 35 * fine / fine.std()
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def small(image: Image.Image) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)


def framed(image: Image.Image) -> Image.Image:
    frame = Image.new("RGB", (330, 264), (255, 255, 255))
    frame.paste(image, (15, 12))
    return frame


CHANGES = {
    "smaller": lambda image: image.resize((150, 120)),
    "cut": lambda image: image.crop((20, 15, 285, 230)),
    "cut at one side": lambda image: image.crop((40, 0, 300, 240)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "darker": lambda image: image.point(lambda level: level * 0.5),
    "less contrast": lambda image: image.point(lambda level: 90 + level * 0.4),
    "grey": lambda image: image.convert("L"),
    "with a frame": framed,
}


@functools.cache
def shared() -> SharedComponents:
    """Of 160 scenes; 3 s, so not at import."""
    return SharedComponents.of(np.stack([small(scene(1000 + number)) for number in range(160)]))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_changed_copies_are_similar(change: object) -> None:
    first = np.stack([small(scene(seed)) for seed in range(12)])
    second = np.stack([small(change(scene(seed))) for seed in range(12)])  # type: ignore[operator]
    assert np.mean(similarity(first, second, shared()) >= SIMILARITY) >= 11 / 12


def test_other_images_of_the_same_kind_are_not() -> None:
    first, second = (np.stack([small(scene(seed + shift)) for seed in range(40)]) for shift in (0, 500))
    assert similarity(first, second, shared()).max() < 0.5


def test_what_all_images_share_does_not_make_them_similar() -> None:
    """Strong lines at the same positions in all, faint details of their own: like cells of a solar module."""

    def cell(seed: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
        own = gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), 1.5)
        levels = 150 + 4 * own / own.std()
        levels[[15, 31, 47]] = 30
        levels[:, 5::12] -= 30
        return np.asarray(levels, np.float32)

    cells = np.stack([cell(seed) for seed in range(200)])
    shared = SharedComponents.of(cells)
    assert similarity(cells[:40], cells[40:80], shared).max() < SIMILARITY
    brighter = 20 + 0.9 * cells[:40]
    assert similarity(cells[:40], brighter, shared).min() > SIMILARITY


def test_uniform_images_have_similarity_0() -> None:
    flat = np.full((3, SIDE, SIDE), 90, np.float32)
    assert similarity(flat, flat, shared()).tolist() == [0, 0, 0]
    assert similarity(flat[:0], flat[:0], shared()).shape == (0,)


def test_candidates_are_near_and_of_other_bytes() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 512)).astype(np.float32)
    features[100] = features[3] + 0.2 * random.normal(size=512)
    features[101] = features[4]
    contents = np.arange(200)
    contents[101] = contents[4]
    features = projected(Rows.of(features, np.zeros(200, np.int64)))
    assert features.shape == (200, 256)
    everything = np.arange(200)
    found = candidates(features, everything, [everything], contents)
    assert found.tolist() == [[3, 100]]
    assert candidates(features, np.array([100]), [np.array([3, 5])], contents).tolist() == [[3, 100]]
    assert candidates(features, np.array([7]), [np.array([3, 5])], contents).shape == (0, 2)
