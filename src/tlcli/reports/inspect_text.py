"""Numbers -> the sentences of inspect's page."""

from collections.abc import Mapping
from dataclasses import dataclass

from tlcli.evaluation.inspection import Inspection

_IMBALANCED = 3
"""Largest class by smallest above which class weights are suggested."""


@dataclass(frozen=True)
class InspectText:
    """The sentences."""

    summary: str
    leaks: str
    label_issues: str
    duplicates: str
    outliers: str
    classes: str
    next: str


def inspect_text(
    found: Inspection, most_leaks: int, most_duplicates: int, most_issues: int, most_outliers: int
) -> InspectText:
    """All sentences of a page; ``most`` of each finding are shown on it."""
    issues, within = len(found.label_issues), len(found.within_splits)
    return InspectText(
        summary=summary(len(found.index.images), len(found.index.labels), len(found.leaks), issues, within),
        leaks=leaks(found.leaks_by_splits, most_leaks),
        label_issues=label_issues(issues, most_issues),
        duplicates=duplicates(within, most_duplicates),
        outliers=outliers(len(found.outliers), most_outliers),
        classes=classes(found.index.counts()["train"]),
        next=next_steps(),
    )


def summary(images: int, classes: int, leaks: int, issues: int, duplicates: int) -> str:
    """The first sentence."""
    return (
        f"{images:,} images of {classes:,} classes: {_count(leaks, 'leak', 'leaks')} between splits, "
        f"{_count(issues, 'label issue', 'label issues')} and {_count(duplicates, 'duplicate', 'duplicates')} "
        "within a split."
    )


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}" if count else f"no {many}"


def _shown(count: int, most: int) -> str:
    return f" The first {most} are shown." if count > most else ""


def leaks(by_splits: Mapping[str, int], most: int) -> str:
    """Duplicates across splits, counted by these."""
    count = sum(by_splits.values())
    if not count:
        return "No image has an exact or near duplicate in another split."
    counted = ", ".join(f"{splits} {of_them:,}" for splits, of_them in by_splits.items())
    return (
        f"{_count(count, 'pair', 'pairs')} of duplicates across splits ({counted}). A model trained on one image of a "
        f"pair has in effect seen the other, so metrics that include it are too optimistic.{_shown(count, most)}"
    )


def label_issues(count: int, most: int) -> str:
    """Labels that are probably wrong."""
    scope = "Labels of test images are not checked."
    if not count:
        return f"No label of a training or validation image looks wrong. {scope}"
    return (
        f"{_count(count, 'label is', 'labels are')} contradicted by models trained without the image (confident "
        "learning, Northcutt et al. 2021). Some of these labels are wrong, some of the images are just hard to "
        f"classify: check them. {scope}{_shown(count, most)}"
    )


def duplicates(count: int, most: int) -> str:
    """Duplicates within a split."""
    if not count:
        return "There are none."
    counted = _count(count, "pair", "pairs")
    return f"{counted}. They do not bias the metrics, but the same image counts twice.{_shown(count, most)}"


def outliers(count: int, most: int) -> str:
    """Images that are far from all others."""
    if not count:
        return "No image is far from all others."
    counted = _count(count, "image is", "images are")
    return f"{counted} far from all others: of another kind, or the only one of its kind.{_shown(count, most)}"


def classes(training: Mapping[str, int]) -> str:
    """The smallest and the largest class."""
    least, most = (choose(training, key=lambda name: training[name]) for choose in (min, max))
    advice = (
        " Consider head.class_weight: balanced." if training[most] > _IMBALANCED * training[least] else ""
    )  # fmt: skip
    return (
        f"The smallest class is {least} with {training[least]:,} training images, the largest is {most} with "
        f"{training[most]:,}.{advice}"
    )


def next_steps() -> str:
    """What can be done about the findings."""
    return (
        "Nothing was changed or deleted. --write-exclude writes a list of images to leave out, each with its reason; "
        "read it, edit it, and set dataset.exclude to it."
    )
