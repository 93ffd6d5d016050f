"""What inspect finds from digests and features alone."""

from pathlib import Path

from tlcli.datasets.index import LabelledImage
from tlcli.datasets.split_names import SplitName
from tlcli.evaluation.inspection import exact_duplicates


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
