"""What is better left out: never a validation or test image for what a classifier says of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from tlcli.datasets.index import LabelledImage
from tlcli.datasets.layout import SplitName
from tlcli.evaluation.exclusion import to_exclude
from tlcli.evaluation.inspection import Duplicate, Inspection, LabelIssue, Outlier


def image(name: str, split: SplitName = "train") -> LabelledImage:
    return LabelledImage(Path(name), name, name, "cat", split, name)


def found(**parts: object) -> Inspection:
    """With these parts, and nothing else."""
    empty: dict[str, object] = {"unreadable": {}, "duplicates": (), "label_issues": [], "outliers": ()}
    return cast("Inspection", SimpleNamespace(**{**empty, **parts}))


def test_unreadable_images_are_left_out_with_the_reason() -> None:
    (one,) = to_exclude(found(unreadable={"a.jpg": "broken: truncated"}))
    assert (one.name, one.active) == ("a.jpg", True)
    assert "broken: truncated" in one.reason


def test_of_copies_the_one_that_is_not_measured_on_goes() -> None:
    leak = Duplicate(image("t.jpg", "test"), image("a.jpg"), "near", 0.93)
    exact = Duplicate(image("b.jpg"), image("c.jpg"), "exact", 1.0)
    near = Duplicate(image("d.jpg"), image("e.jpg"), "near", 0.9)
    listed = to_exclude(found(duplicates=(leak, exact, near)))
    assert [(one.name, one.active) for one in listed] == [("a.jpg", True), ("c.jpg", True), ("e.jpg", False)]
    assert "0.93" in listed[0].reason
    assert "t.jpg" in listed[0].reason
    assert "b.jpg" in listed[1].reason


def test_suspicious_validation_labels_are_for_people_to_decide() -> None:
    issues = [
        LabelIssue(image("a.jpg"), "dog", 0.04, is_issue=True),
        LabelIssue(image("v.jpg", "validation"), "dog", 0.05, is_issue=True),
    ]
    listed = to_exclude(found(label_issues=issues))
    assert [(one.name, one.active) for one in listed] == [("a.jpg", True), ("v.jpg", False)]
    assert "cat" in listed[0].reason
    assert "dog" in listed[0].reason
    assert "0.04" in listed[0].reason


def test_each_image_stands_once_and_the_firm_reason_wins() -> None:
    outlier = Outlier(image("a.jpg"), 0.8)
    suspect = LabelIssue(image("a.jpg"), "dog", 0.04, is_issue=True)
    near = Duplicate(image("d.jpg"), image("a.jpg"), "near", 0.9)
    (one,) = to_exclude(found(duplicates=(near,), label_issues=[suspect], outliers=(outlier,)))
    assert one.active
    assert "dog" in one.reason
    (alone,) = to_exclude(found(outliers=(outlier,)))
    assert not alone.active
