"""What inspect finds from digests and features alone."""

from pathlib import Path

import numpy as np

from tlcli.datasets.index import LabelledImage
from tlcli.datasets.split_names import SplitName
from tlcli.evaluation.inspection import exact_duplicates, find_outliers
from tlcli.features.rows import Rows


def image(name: str, split: SplitName, sha256: str) -> LabelledImage:
    return LabelledImage(Path(name), name, sha256, "cat", split, sha256)


def test_exact_duplicates_are_paired_with_the_one_that_is_measured_on() -> None:
    images = [
        image("a", "train", "1"),
        image("b", "test", "1"),
        image("c", "validation", "1"),
        image("d", "train", "2"),
    ]
    found = list(exact_duplicates(images))
    assert [(one.first.name, one.second.name, one.is_leak) for one in found] == [("b", "c", True), ("b", "a", True)]


def test_an_image_unlike_all_others_is_an_outlier() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 30))
    features[:199, 0] += 20 * np.where(np.arange(199) % 2, 1, -1)
    features[199] = 20 * np.eye(30)[1]
    rows = Rows.of(features.astype(np.float32), np.zeros(200, np.int64), np.arange(200))
    found = find_outliers([image(f"{number}", "train", f"{number}") for number in range(200)], rows)
    assert [one.image.name for one in found] == ["199"]
    assert found[0].distance > 0.5
