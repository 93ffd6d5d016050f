"""What is better left out: never a validation or test image for what a classifier says of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from tlcli.datasets.index import LabelledImage
from tlcli.datasets.layout import SplitName
from tlcli.workflows.exclude import to_exclude
from tlcli.workflows.inspection import Copies, Inspection, Outlier, Suspect


def image(name: str, split: SplitName = "train") -> LabelledImage:
    return LabelledImage(Path(name), name, name, "cat", split, name)


def found(**parts: object) -> Inspection:
    """With these parts, and nothing else."""
    empty: dict[str, object] = {"unreadable": {}, "copies": (), "issues": [], "outliers": ()}
    return cast("Inspection", SimpleNamespace(**{**empty, **parts}))


def test_unreadable_images_are_left_out_with_the_reason() -> None:
    (one,) = to_exclude(found(unreadable={"a.jpg": "broken: truncated"}))
    assert (one.name, one.reason, one.active) == ("a.jpg", "cannot be read: broken: truncated", True)


def test_of_copies_the_one_that_is_not_measured_on_goes() -> None:
    leak = Copies(image("t.jpg", "test"), image("a.jpg"), "near", 0.93)
    exact = Copies(image("b.jpg"), image("c.jpg"), "exact", 1.0)
    near = Copies(image("d.jpg"), image("e.jpg"), "near", 0.9)
    listed = to_exclude(found(copies=(leak, exact, near)))
    assert [(one.name, one.active) for one in listed] == [("a.jpg", True), ("c.jpg", True), ("e.jpg", False)]
    assert listed[0].reason == "near copy (0.93) of t.jpg (test)"
    assert listed[1].reason == "the same bytes as b.jpg (same split, train)"


def test_suspicious_validation_labels_are_for_people_to_decide() -> None:
    issues = [
        Suspect(image("a.jpg"), "dog", 0.04, is_issue=True),
        Suspect(image("v.jpg", "validation"), "dog", 0.05, is_issue=True),
    ]
    listed = to_exclude(found(issues=issues))
    assert [(one.name, one.active) for one in listed] == [("a.jpg", True), ("v.jpg", False)]
    assert listed[0].reason == "train image labelled cat, and dog is likelier (label believed with 0.04)"


def test_each_image_stands_once_and_the_firm_reason_wins() -> None:
    outlier = Outlier(image("a.jpg"), 0.8)
    suspect = Suspect(image("a.jpg"), "dog", 0.04, is_issue=True)
    near = Copies(image("d.jpg"), image("a.jpg"), "near", 0.9)
    (one,) = to_exclude(found(copies=(near,), issues=[suspect], outliers=(outlier,)))
    assert one.active
    assert "dog is likelier" in one.reason
    (alone,) = to_exclude(found(outliers=(outlier,)))
    assert not alone.active
