"""Numbers -> the sentences of inspect's page."""

from dataclasses import dataclass

from tlcli.evaluation.class_balance import class_balance
from tlcli.evaluation.inspection import Inspection
from tlcli.reports.notes import unequal_classes

LEAKS, DUPLICATES, LABEL_ISSUES, OUTLIERS = 36, 24, 48, 24
"""Findings of each kind that the page shows at most; --json has all."""


@dataclass(frozen=True)
class InspectText:
    """The sentences, each a property."""

    found: Inspection
    is_weighted: bool = False
    """``head.class_weight`` is set."""

    @property
    def summary(self) -> str:
        """What was found, in numbers."""
        images, classes = len(self.found.index.images), len(self.found.index.labels)
        leaks, issues = len(self.found.leaks), len(self.found.label_issues)
        duplicates = len(self.found.within_splits)
        return (
            f"{images:,} images of {classes:,} classes: {_count(leaks, 'leak', 'leaks')} between splits, "
            f"{_count(issues, 'doubted label', 'doubted labels')} and {_count(duplicates, 'duplicate', 'duplicates')} "
            "within a split."
        )

    @property
    def leaks(self) -> str:
        """Duplicates across splits, counted by these."""
        by_splits = self.found.leaks_by_splits
        count = sum(by_splits.values())
        if not count:
            return "No image has an exact or near duplicate in another split."
        counted = ", ".join(f"{splits} {of_them:,}" for splits, of_them in by_splits.items())
        return (
            f"{_count(count, 'pair', 'pairs')} of duplicates across splits ({counted}). A model trained on one image "
            "of a pair has in effect seen the other, so metrics that include it are too optimistic."
            f"{_shown(count, LEAKS)}"
        )

    @property
    def label_issues(self) -> str:
        """Labels that are doubted, and what that means."""
        scope, count = "Labels of test images are not checked.", len(self.found.label_issues)
        if not count:
            return f"No label of a training or validation image is doubted. {scope}"
        if self.found.is_blind:
            return f"{blindness(self.found)} {scope}"
        return (
            f"{_count(count, 'label is', 'labels are')} contradicted by models trained without the image (confident "
            "learning, Northcutt et al. 2021). Some of these labels are wrong, many of the images are just hard to "
            f"classify: look at each, beside its nearest images. {scope}{_shown(count, LABEL_ISSUES)}"
        )

    @property
    def duplicates(self) -> str:
        """Duplicates within a split."""
        if not (count := len(self.found.within_splits)):
            return "There are none."
        counted = _count(count, "pair", "pairs")
        return f"{counted}. The same image counts twice in training and in metrics.{_shown(count, DUPLICATES)}"

    @property
    def several_labels(self) -> str:
        """Repeated images with more than one label."""
        count = len(self.found.several_labels)
        return (
            f"{_count(count, 'image stands', 'images stand')} under more than one label (exact or near duplicates), so "
            "that at least one label of each is wrong, or the image belongs to no class (a placeholder, for example)."
            f"{_shown(count, DUPLICATES)}"
        )

    @property
    def outliers(self) -> str:
        """Images that are far from all others."""
        if not (count := len(self.found.farthest)):
            return "Too few images, or images too alike, to say which are unlike the others."
        outliers = len(self.found.outliers)
        counted = f"{outliers:,} {'is an outlier' if outliers == 1 else 'are outliers'}"
        return (
            f"Of the training and validation images, {counted}: farther from all others than the limit, of another "
            "kind or rare of its kind. The farthest images follow, outliers or not: look at all of them, as images "
            "that do not belong here can be within the limit. Beside each are the nearest images of its class."
            f"{_shown(count, OUTLIERS)}"
        )

    @property
    def classes(self) -> str:
        """The smallest and the largest class, and what helps where they are unequal."""
        training = self.found.index.counts()["train"]
        found = class_balance(training)
        return unequal_classes(training, self.is_weighted) or (
            f"The smallest class is '{found.least}' with {found.least_images:,} training images, the largest is "
            f"'{found.most}' with {found.most_images:,}."
        )


def blindness(found: Inspection) -> str:
    """That so many labels are doubted because the network sees too little; empty where they are few."""
    if not found.is_blind:
        return ""
    return (
        f"{found.doubted_share:.0%} of the labels are doubted. That many are rarely wrong: this network probably "
        "distinguishes the classes too poorly to judge labels, so none is suggested to be an error. Try a larger "
        "backbone or image size first; if you suspect the labels, check some by eye (--write-labels lists them)."
    )


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}" if count else f"no {many}"


def _shown(count: int, most: int) -> str:
    return f" The first {most} are shown." if count > most else ""
