"""Outliers by features, and images under several labels."""

from pathlib import Path

import numpy as np
import pytest

from tlcli.datasets.index import LabelledImage
from tlcli.evaluation.outliers import find_outliers, under_several_labels
from tlcli.features.rows import Rows


def image(name: str, label: str = "cat") -> LabelledImage:
    return LabelledImage(Path(name), name, name, label, "train", name)


def clouds(strangers: int) -> tuple[list[LabelledImage], Rows]:
    """Two classes that share most of their direction, as the images of one data set do, and strangers that lack it."""
    random = np.random.default_rng(0)
    labels = np.arange(400) % 2
    features = random.normal(size=(400, 60))
    features[:, 0] += 12
    features[:, 1] += np.where(labels == 1, 3, -3)
    features[400 - strangers :] = 8 * random.normal(size=(strangers, 60))
    if strangers > 1:
        features[-1] = features[-2]
    units = np.arange(400)
    return [image(f"{number}", "ab"[label]) for number, label in enumerate(labels)], Rows.of(
        features.astype(np.float32), labels.astype(np.int64), units
    )


@pytest.mark.parametrize("strangers", [1, 10, 40])
def test_strangers_of_either_label_are_outliers(strangers: int) -> None:
    images, rows = clouds(strangers)
    farthest = find_outliers(images, rows)
    assert len(farthest) >= 15
    found = [int(one.image.name) for one in farthest if one.is_outlier]
    assert len([number for number in found[: max(15, strangers)] if number >= 400 - strangers]) >= 0.8 * strangers
    assert len([number for number in found if number < 400 - strangers]) <= 4


def test_the_farthest_are_ranked_where_few_or_none_are_outliers() -> None:
    farthest = find_outliers(*clouds(0))
    assert len(farthest) == 15
    assert sum(one.is_outlier for one in farthest) <= 4
    assert sorted(farthest, key=lambda one: -one.distance) == list(farthest)


def test_an_outlier_has_neighbours_of_its_class() -> None:
    one = find_outliers(*clouds(1))[0]
    assert one.image.name == "399"
    assert one.score > 1
    assert [near.label for near in one.neighbours] == [one.image.label] * 3


def test_a_class_of_one_image_and_equal_images_are_no_error() -> None:
    rows = Rows.of(np.ones((30, 4), np.float32), np.array([1, *[0] * 29]))
    assert find_outliers([image(str(number)) for number in range(30)], rows) == ()
    assert find_outliers([image("a")], rows) == ()


def test_copies_under_several_labels_are_one_group() -> None:
    a, b, c, d, e = image("a", "x"), image("b", "y"), image("c", "x"), image("d", "x"), image("e", "x")
    assert under_several_labels([(b, a), (c, b), (d, e)]) == ((a, b, c),)
    assert under_several_labels([(a, c)]) == ()
