"""The colour histogram: counted pixel by pixel, kept under a key of its own."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcli.datasets.index import LabelledImage
from tlcli.features import colour_histogram as module
from tlcli.features.colour_histogram import WIDTH, Colours, colour_store, colours
from tlcli.features.pipeline import Extraction, extract
from tlcli.features.store import row_key
from tlcli.images.augmentation import Augmentation
from tlcli.images.decode import prepare
from tlcli.images.preparation import Preparation

PREPARATION = Preparation(16, "squash")


def test_every_pixel_is_counted_where_it_belongs() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    pixels[0, 0], pixels[8, 8] = 0, 255
    expected = np.zeros(WIDTH)
    for red, green, blue in pixels.reshape(-1, 3).tolist():
        expected[red // 32 * 64 + green // 32 * 8 + blue // 32] += 1 / 81
        expected[512 + (77 * red + 150 * green + 29 * blue) // 1024] += 1 / 81
    found = colours(pixels)
    assert found.dtype == np.float32
    assert found.shape == (WIDTH,)
    assert found**2 == pytest.approx(expected, abs=1e-6)


def test_where_a_colour_is_does_not_matter() -> None:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (12, 12, 3)).astype(np.uint8)
    moved = random.permutation(pixels.reshape(-1, 3)).reshape(12, 12, 3)
    assert np.array_equal(colours(pixels), colours(moved))
    assert np.array_equal(colours(pixels), colours(pixels[:, ::-1]))  # a view with strides of its own


def test_both_histograms_have_length_one_whatever_the_size() -> None:
    for side in (1, 7, 32):
        found = colours(np.random.default_rng(side).integers(0, 256, (side, side, 3)).astype(np.uint8))
        assert np.linalg.norm(found[:512]) == pytest.approx(1)
        assert np.linalg.norm(found[512:]) == pytest.approx(1)


def test_neighbouring_greys_of_one_box_are_told_apart_by_brightness() -> None:
    dark, light = (colours(np.full((4, 4, 3), level, np.uint8)) for level in (32, 36))
    assert np.array_equal(dark[:512], light[:512])
    assert dark[512:] @ light[512:] == 0


def test_images_go_through_the_store_once_and_come_back(tmp_path: Path) -> None:
    images = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 30, 3)).astype(np.uint8)).save(path)
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        images.append(LabelledImage(path, path.name, sha, "label", "train", sha))
    wanted = [(images, ("0",))]
    store = colour_store(PREPARATION)
    assert extract(wanted, PREPARATION, Augmentation(), store, Colours) == Extraction(6, 0, {})
    again = colour_store(PREPARATION)
    assert extract(wanted, PREPARATION, Augmentation(), again, Colours) == Extraction(0, 6, {})
    kept = again.read(row_key(one.sha256, "0") for one in images)
    expected = [colours(prepare(one.path.read_bytes(), PREPARATION)) for one in images]
    assert np.array_equal(kept, np.stack(expected))


def test_the_place_depends_on_pixels_and_version_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    place = colour_store(PREPARATION).folder
    assert colour_store(replace(PREPARATION, max_megapixels=1)).folder == place
    assert colour_store(replace(PREPARATION, size=17)).folder != place
    assert colour_store(replace(PREPARATION, resize="pad")).folder != place
    monkeypatch.setattr(module, "COLOURS_VERSION", 99)
    assert colour_store(PREPARATION).folder != place
