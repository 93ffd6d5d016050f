"""Near duplicates of a whole data set: from files and features to pairs."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from tlcli.datasets.index import LabelledImage
from tlcli.datasets.split_names import SplitName
from tlcli.evaluation import near_duplicates
from tlcli.evaluation.image_similarity import SIDE
from tlcli.evaluation.near_duplicates import find_near_duplicates
from tlcli.features.rows import Rows
from tlcli.images.preparation import Preparation
from tlcli.images.statistics import image_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 300
PREPARATION = Preparation((224, 224), "crop")
Data = tuple[list[LabelledImage], Rows]


@functools.cache
def scene(seed: int) -> Image.Image:
    """Large shapes and fine details."""
    random = np.random.default_rng(seed)
    coarse, fine = (gaussian_filter(random.normal(size=(200, 240, 3)), (s, s, 0)) for s in (25, 4))
    levels = 128 + 60 * coarse / coarse.std() + 35 * fine / fine.std()
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def rows_of(features: "list[NDArray[np.float32]]") -> Rows:
    return Rows.of(np.stack(features), np.zeros(len(features), np.int64))


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """40 scenes in training; in the test one of them cut, one mirrored, one with other features, and five new ones."""
    random = np.random.default_rng(0)
    features: dict[str, NDArray[np.float32]] = {}
    images: list[LabelledImage] = []

    def add(name: str, split: SplitName, image: Image.Image, feature: "NDArray[np.float32]") -> None:
        image.save(tmp_path / name, quality=90)
        sha256 = f"{len(images):064x}"
        features[sha256] = feature
        images.append(LabelledImage(tmp_path / name, name, sha256, "a", split, name))

    of_scene = random.normal(size=(60, WIDTH)).astype(np.float32)
    noise = 0.3 * random.normal(size=(60, WIDTH)).astype(np.float32)
    for number in range(40):
        add(f"{number}.jpg", "train", scene(number), of_scene[number])
    add("cut.jpg", "test", scene(3).crop((10, 8, 225, 190)), of_scene[3] + noise[3])
    add("mirrored.jpg", "test", scene(5).transpose(Image.Transpose.FLIP_LEFT_RIGHT), of_scene[5] + noise[5])
    add("like in features alone.jpg", "test", scene(50), of_scene[7] + noise[7])
    for number in range(51, 56):
        add(f"{number}.jpg", "test", scene(number), of_scene[number])
    return images, rows_of([features[one.sha256] for one in images])


def test_changed_copies_are_found_across_splits(data: Data) -> None:
    images, rows = data
    found = find_near_duplicates(images, rows, PREPARATION, ("test", "train"))
    pairs = {frozenset((one.first.name, one.second.name)) for one in found}
    assert pairs == {frozenset(("cut.jpg", "3.jpg")), frozenset(("mirrored.jpg", "5.jpg"))}
    assert [one.similarity for one in found] == sorted((one.similarity for one in found), reverse=True)
    assert find_near_duplicates(images, rows, PREPARATION, ("train", "train")) == []


def test_a_burst_within_one_split_does_not_hide_its_copies_in_another(data: Data, tmp_path: Path) -> None:
    images, rows = data
    random = np.random.default_rng(1)
    burst: list[LabelledImage] = []
    features = []
    middle, apart = random.normal(size=WIDTH), random.normal(size=WIDTH)
    splits: tuple[SplitName, ...] = ("train", "validation")
    for split in splits:
        for number in range(6):
            name = f"burst {split} {number}.jpg"
            scene(3).crop((2 * number, number, 225 + number, 190 + number)).save(tmp_path / name, quality=90)
            sha256 = f"{len(images) + len(burst):064x}"
            burst.append(LabelledImage(tmp_path / name, name, sha256, "a", split, name))
            # those of one's own split are the nearest
            features.append(middle + (0.2 if split == "train" else -0.2) * apart + 0.01 * random.normal(size=WIDTH))
    everything = rows_of([*rows.features(), *np.array(features, np.float32)])
    found = find_near_duplicates([*images, *burst], everything, PREPARATION)
    assert any({one.first.split, one.second.split} == {"train", "validation"} for one in found)


def test_an_image_that_was_deleted_is_left_out(data: Data) -> None:
    images, rows = data
    images[3].path.unlink()
    found = find_near_duplicates(images, rows, PREPARATION)
    assert [{one.first.name, one.second.name} for one in found] == [{"5.jpg", "mirrored.jpg"}]


def test_small_versions_that_are_known_are_not_decoded_again(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    images, rows = data
    known = {one.sha256: image_statistics(one.path, PREPARATION, SIDE)[1] for one in images}
    monkeypatch.setattr(near_duplicates, "image_statistics", lambda *_: pytest.fail("decoded"))
    assert len(find_near_duplicates(images, rows, PREPARATION, known=known)) == 2
