"""Near duplicates are kept in the cache, and are one unit."""

from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.test_near_duplicates import scene

from tlcli.datasets.index import LabelledImage
from tlcli.evaluation import near_duplicates
from tlcli.evaluation.assessment import train_test_duplicates
from tlcli.evaluation.duplicate_pairs import joined_units, near_duplicate_pairs
from tlcli.features.rows import Rows
from tlcli.images.preparation import Preparation


def image(name: str, split: str = "train") -> LabelledImage:
    return LabelledImage(Path(name), name, name, "a", split, name)  # type: ignore[arg-type]


def test_units_of_near_duplicates_are_one() -> None:
    images = [image(name) for name in "abcde"]
    units = np.array([0, 0, 1, 2, 3])  # a and b are a group
    joined = joined_units(units, images, [("b", "d"), ("d", "e"), ("x", "a")])
    assert len(set(joined[[0, 1, 3, 4]].tolist())) == 1
    assert joined[2] not in joined[[0, 1, 3, 4]]
    assert joined_units(units, images, []).tolist() == units.tolist()


def scenes(folder: Path, splits: str = "aaaaaa") -> tuple[list[LabelledImage], Rows]:
    """Three pairs of near duplicates, of the splits test (t) and train (others), and their features."""
    images, features = [], []
    for number, split in enumerate(splits):
        path = folder / f"{number}.png"
        scene(number // 2).resize((96 + 8 * (number % 2),) * 2).save(path)
        named = "test" if split == "t" else "train"
        images.append(LabelledImage(path, path.name, f"{number:064x}", "a", named, str(number)))  # type: ignore[arg-type]
        features.append(np.random.default_rng(number // 2).normal(size=8))
    return images, Rows.of(np.array(features, np.float32), np.zeros(6, np.int64))


def test_pairs_are_searched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "cache"))
    images, rows = scenes(tmp_path)
    found = near_duplicate_pairs(images, rows, Preparation((64, 64), "squash"), "key")
    assert {frozenset(pair) for pair in found} == {
        frozenset((images[n].sha256, images[n + 1].sha256)) for n in (0, 2, 4)
    }
    monkeypatch.setattr(near_duplicates, "find_near_duplicates", None)
    assert near_duplicate_pairs(images, rows, Preparation((64, 64), "squash"), "key") == found


def test_duplicates_of_test_images_are_searched_once_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "cache"))
    images, rows = scenes(tmp_path, "taattt")  # two pairs across the splits, and one of test images
    preparation, correct = Preparation((64, 64), "squash"), np.ones(4, bool)
    every = near_duplicate_pairs(images, rows, preparation, "key")
    found = train_test_duplicates(images, rows, preparation, "key", correct)
    assert {(one.test, one.train) for one in found.pairs} == {("0.png", "1.png"), ("3.png", "2.png")}
    assert found.n_without == 2
    monkeypatch.setattr(near_duplicates, "find_near_duplicates", None)
    assert train_test_duplicates(images, rows, preparation, "key", correct) == found
    assert near_duplicate_pairs(images, rows, preparation, "key") == every
