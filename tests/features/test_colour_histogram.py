"""The colour histogram: compared with a count pixel by pixel, and stored under its own key."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcli.datasets.index import LabelledImage
from tlcli.features.colour_histogram import BLOCKS, COLOURS, colour_histogram
from tlcli.features.pipeline import Extraction
from tlcli.features.store import row_key
from tlcli.images.decode import prepare
from tlcli.images.preparation import Preparation

PREPARATION = Preparation((16, 16), "squash")


def test_every_pixel_is_counted_in_its_bins() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    pixels[0, 0], pixels[8, 8] = 0, 255
    expected = np.zeros(BLOCKS.width)
    for red, green, blue in pixels.reshape(-1, 3).tolist():
        expected[red // 32 * 64 + green // 32 * 8 + blue // 32] += 1 / 81
        expected[512 + (77 * red + 150 * green + 29 * blue) // 1024] += 1 / 81
    found = colour_histogram(pixels)
    assert found.dtype == np.float32
    assert found.shape == (BLOCKS.width,)
    assert found**2 == pytest.approx(expected, abs=1e-6)


def test_the_position_of_a_colour_does_not_matter() -> None:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (12, 12, 3)).astype(np.uint8)
    moved = random.permutation(pixels.reshape(-1, 3)).reshape(12, 12, 3)
    assert np.array_equal(colour_histogram(pixels), colour_histogram(moved))
    assert np.array_equal(colour_histogram(pixels), colour_histogram(pixels[:, ::-1]))  # a view with strides of its own


def test_both_histograms_have_norm_1_at_every_size() -> None:
    for side in (1, 7, 32):
        found = colour_histogram(np.random.default_rng(side).integers(0, 256, (side, side, 3)).astype(np.uint8))
        assert np.linalg.norm(found[:512]) == pytest.approx(1)
        assert np.linalg.norm(found[512:]) == pytest.approx(1)


def test_similar_greys_of_one_colour_bin_differ_in_brightness() -> None:
    dark, light = (colour_histogram(np.full((4, 4, 3), level, np.uint8)) for level in (32, 36))
    assert np.array_equal(dark[:512], light[:512])
    assert dark[512:] @ light[512:] == 0


def test_histograms_are_computed_once_and_stored(tmp_path: Path) -> None:
    images = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 30, 3)).astype(np.uint8)).save(path)
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        images.append(LabelledImage(path, path.name, sha, "label", "train", sha))
    assert COLOURS.extract(images, PREPARATION, COLOURS.store(PREPARATION)) == Extraction(6, 0, {})
    again = COLOURS.store(PREPARATION)
    assert COLOURS.extract(images, PREPARATION, again) == Extraction(0, 6, {})
    kept = again.read(row_key(one.sha256, "0") for one in images)
    expected = [colour_histogram(prepare(one.path.read_bytes(), PREPARATION)) for one in images]
    assert np.array_equal(kept, np.stack(expected))


def test_the_store_depends_on_pixels_and_version_alone() -> None:
    place = COLOURS.store(PREPARATION).folder
    assert COLOURS.store(replace(PREPARATION, max_megapixels=1)).folder == place
    assert COLOURS.store(replace(PREPARATION, size=(17, 17))).folder != place
    assert COLOURS.store(replace(PREPARATION, resize="pad")).folder != place
    assert replace(COLOURS, version=99).store(PREPARATION).folder != place
    assert replace(COLOURS, name="other").store(PREPARATION).folder != place
