"""The index of a data set: its images, with the digest of their content, their class and their split."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tlcli.datasets.decisions import Decisions, ExclusionReason
from tlcli.datasets.digests import Digests, digests_of
from tlcli.datasets.labelled_files import LeftOut, Scan, listed_counts
from tlcli.datasets.split_names import SPLITS, SplitName
from tlcli.datasets.splits import MIN_TRAINING, SplitShares, assign_splits, check_enough, units_of
from tlcli.datasets.walk import relative_name
from tlcli.errors import DataError
from tlcli.system.files import check_disk


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One labelled image."""

    path: Path
    name: str
    """Path relative to the data folder, with ``/``."""
    sha256: str
    """Hex digest of the file's bytes."""
    label: str
    """The class that is learned."""
    split: SplitName
    group: str
    """Images with the same value (of one group, or copies of one another) must stay together in any split."""
    given: str = ""
    """The label that the data gives, which is measured by: :attr:`label` unless a correction changed that."""
    is_set_aside: bool = False
    """See :attr:`Index.set_aside`."""

    def __post_init__(self) -> None:
        if not self.given:
            object.__setattr__(self, "given", self.label)

    @property
    def is_relabelled(self) -> bool:
        """A correction gave it another class than the data."""
        return self.label != self.given


@dataclass(frozen=True)
class ExcludedImage:
    """An image that is left out by a decision."""

    name: str
    reason: ExclusionReason
    split: SplitName | None
    """The split it was drawn for; None where its file could not be read."""


@dataclass(frozen=True)
class Index:
    """All images of a data set."""

    root: Path
    labels: tuple[str, ...]
    """Class names; the integer label of a class is its index here. With two classes, the second is the positive one."""
    images: tuple[LabelledImage, ...]
    bad: Mapping[str, str]
    """Unreadable images: name to reason."""
    notes: tuple[str, ...]
    """How the data set was read, what was left out, and what else users should know, one sentence each."""
    left_out: tuple[LeftOut, ...] = ()
    """Files of the data folder that are not used, by reason; unreadable images are in ``bad``."""
    is_test_set: bool = False
    """All images are test images, and a class may have none: the index is of an external test set."""
    set_aside: tuple[LabelledImage, ...] = ()
    """Images that are left out because a classifier doubts their label. Nothing is fitted on them, but they are
    measured on: figures of the others only would flatter, since a classifier chose them."""
    excluded: tuple[ExcludedImage, ...] = ()
    """All that decisions leave out, those of :attr:`set_aside` among them."""

    def of(self, split: SplitName) -> list[LabelledImage]:
        """The images of one split, in the index's order."""
        return [image for image in self.images if image.split == split]

    def counts(self) -> dict[SplitName, dict[str, int]]:
        """The number of images of each split and class."""
        counted = Counter((image.split, image.label) for image in self.images)
        return {split: {label: counted[split, label] for label in self.labels} for split in SPLITS}

    def digest(self) -> str:
        """See :func:`content_digest`; of the images that are learned from or measured on."""
        return content_digest((*self.images, *self.set_aside))

    def as_given(self) -> "Index":
        """The images that are measured on, with the labels that the data gives: those set aside are among them."""
        if not self.set_aside and not any(image.is_relabelled for image in self.images):
            return self
        images = tuple(replace(image, label=image.given) for image in (*self.images, *self.set_aside))
        return replace(self, images=images, set_aside=())


class _Content(Protocol):
    """What counts of an image."""

    @property
    def sha256(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def given(self) -> str: ...
    @property
    def is_set_aside(self) -> bool: ...


def content_digest(images: Iterable[_Content]) -> str:
    """Hex sha256 over every image's content, class and split, the class that the data gives where it is another, and
    whether it is set aside: equal if and only if these are, whatever the names."""
    rows = sorted(
        f"{image.sha256}\0{image.label}\0{image.split}"
        f"{f'{chr(0)}{image.given}' if image.given != image.label else ''}{chr(0) * 3 if image.is_set_aside else ''}"
        for image in images
    )
    return hashlib.sha256("\n".join(rows).encode(errors="surrogateescape")).hexdigest()


def build_index(
    scan: Scan,
    shares: SplitShares,
    classes: Sequence[str] | None = None,
    known: Mapping[str, str] = {},
    verify: bool = False,
    is_test_set: bool = False,
    decisions: Decisions = Decisions(),  # noqa: B008 - frozen
    min_images_per_class: int = 0,
    objects: Digests = Digests(),  # noqa: B008 - never changed
) -> Index:
    """Computes the digest of every file, divides the images into splits, then applies the decisions on single images,
    which therefore never move another image, or the image itself, to another split.

    Args:
        scan: the labelled files.
        shares: how missing splits are created.
        classes: the order of the labels; None sorts them by name.
        known: digests by path, for files that were read a moment ago.
        verify: read every file, including those whose digest is recorded.
        is_test_set: see :class:`Index`.
        decisions: which images are left out or have another class; names without an image are ignored.
        min_images_per_class: classes of which fewer remain after the decisions are left out.
        objects: digests of remote images, and why others are unreadable; see
            :func:`tlcli.datasets.remote_digests.digests_of_objects`.

    Raises:
        DataError: too few images for the splits, or a class that has none in training.
        ResourceError: the disk fails, or is gone.
    """
    digests = {path: known[name] for file in scan.files if (name := os.fspath(path := file.path)) in known}
    digests |= {**scan.digests, **objects.of}
    unknown = dict.fromkeys(
        file.path for file in scan.files if file.path not in digests and file.path not in objects.errors
    )
    read = digests_of(unknown, recompute=verify)
    digests |= read.of
    unread = {relative_name(path, scan.root): why for path, why in (*objects.errors.items(), *read.errors.items())}
    check_disk(unread, len(scan.files), scan.root)
    bad = {name: reason for name, reason in unread.items() if name not in decisions.excluded}
    files = [file for file in scan.files if file.path in digests]
    names = [relative_name(file.path, scan.root) for file in files]
    if all(name in decisions.excluded for name in names):
        raise no_usable_images(scan.root, len(scan.files), *next(iter(bad.items()), ("", "")))
    groups = [
        file.group if file.group is not None or shares.group_of is None else shares.group_of(name)
        for file, name in zip(files, names, strict=True)
    ]
    units = units_of(groups, [digests[file.path] for file in files])
    splits = assign_splits(files, units, shares)
    drawn = [
        LabelledImage(file.path, name, digests[file.path], file.label, split, unit)
        for file, name, unit, split in zip(files, names, units, splits, strict=True)
    ]
    images, set_aside, excluded = _apply(drawn, decisions)
    excluded = (*(ExcludedImage(name, decisions.excluded[name], None) for name in unread if name not in bad), *excluded)
    images, set_aside, too_small = _without_small_classes(images, set_aside, min_images_per_class)
    remaining = {image.name: image.label for image in images}
    check_enough(files, units, [remaining.get(name) for name in names], shares)
    used = {label for image in (*images, *set_aside) for label in (image.label, image.given)}
    if classes is None:
        labels = tuple(sorted(used))
    else:
        labels = tuple(label for label in classes if label in used or not min_images_per_class)
    notes = (
        f"Read as {scan.read_as}; {len(labels):,} classes.",
        *map(str, (*scan.left_out, *too_small)),
        *scan.notes,
        *_note_test_corrections(drawn, decisions),
        *_note_changed(read.changed),
        *_note_divided_groups(groups, splits),
        *_note_copies(images),
    )
    index = Index(
        scan.root, labels, images, bad, notes, (*scan.left_out, *too_small), is_test_set, set_aside, excluded
    )  # fmt: skip
    _check(index, trained={image.label for image in drawn if image.split == "train"})
    return index


def _apply(
    drawn: Sequence[LabelledImage], decisions: Decisions
) -> tuple[tuple[LabelledImage, ...], tuple[LabelledImage, ...], tuple[ExcludedImage, ...]]:
    """The images that are used, those set aside, and all that are left out."""
    images, set_aside, excluded = [], [], []
    for image in drawn:
        reason = decisions.excluded.get(image.name)
        if reason is None:
            label = decisions.relabelled.get(image.name, image.label)
            images.append(image if image.split == "test" else replace(image, label=label))
            continue
        excluded.append(ExcludedImage(image.name, reason, image.split))
        if reason == "label":
            set_aside.append(replace(image, is_set_aside=True))
    return tuple(images), tuple(set_aside), tuple(excluded)


def _without_small_classes(
    images: tuple[LabelledImage, ...], set_aside: tuple[LabelledImage, ...], minimum: int
) -> tuple[tuple[LabelledImage, ...], tuple[LabelledImage, ...], tuple[LeftOut, ...]]:
    """Without classes of which the decisions left fewer images than ``minimum``."""
    remaining = Counter(image.label for image in images)
    present = {label for image in (*images, *set_aside) for label in (image.label, image.given)}
    small = Counter({label: remaining[label] for label in sorted(present) if remaining[label] < minimum})
    if not small:
        return images, set_aside, ()
    kept = [tuple(image for image in some if not {image.label, image.given} & small.keys())
            for some in (images, set_aside)]  # fmt: skip
    reason = f"images of {len(small)} classes with fewer than {minimum} images left ({listed_counts(small, 20)})"
    return kept[0], kept[1], (LeftOut(len(images) - len(kept[0]), reason),)


def no_usable_images(root: Path, count: int, name: str, reason: str) -> DataError:
    """The error of a data set without any readable image; ``name`` and ``reason`` are of the first."""
    first = f" The first, {name}: {reason}." if name else ""
    message = f"None of the {count} images read in {root} is usable.{first}"
    hint = "Do what the reason says; or check the files, their paths and their permissions."
    return DataError("data.no_usable_images", message, hint)


def without(index: Index, bad: Mapping[str, str]) -> Index:
    """The index without unreadable images; the splits of the others do not change.

    Args:
        index: all images.
        bad: sha256 of unreadable images, and the reason.

    Raises:
        DataError: too few images remain; with the first reason.
    """
    if not bad:
        return index
    kept = tuple(image for image in index.images if image.sha256 not in bad)
    set_aside = tuple(image for image in index.set_aside if image.sha256 not in bad)
    reasons = {
        image.name: bad[image.sha256] for image in (*index.images, *index.set_aside) if image.sha256 in bad
    }  # fmt: skip
    first = next(iter(reasons.items()), ("", ""))
    if not kept:
        raise no_usable_images(index.root, len(index.images), *first)
    index = replace(index, images=kept, set_aside=set_aside, bad={**index.bad, **reasons})
    _check(index, f" Unreadable: {len(index.bad):,} images, for example {first[0]}: {first[1]}.")
    return index


def _note_test_corrections(drawn: Sequence[LabelledImage], decisions: Decisions) -> Iterator[str]:
    if count := sum(image.split == "test" and image.name in decisions.relabelled for image in drawn):
        yield (
            f"{count:,} corrections are of test images and are not applied: a test label counts as the data gives it. "
            "Where all test labels were checked, not only those doubted, correct them in the data."
        )


def _note_changed(paths: Sequence[Path]) -> Iterator[str]:
    if paths:
        yield (
            f"{len(paths)} files have changed since they were last read, although their size and time are the same, "
            f"for example {paths[0]}."
        )


def _note_divided_groups(groups: Sequence[str | None], splits: Sequence[SplitName]) -> Iterator[str]:
    """Reports groups that the data's own splits divide; splits created here never do."""
    of_group: dict[str, set[SplitName]] = {}
    for group, split in zip(groups, splits, strict=True):
        if group is not None:
            of_group.setdefault(group, set()).add(split)
    if divided := [group for group, found in of_group.items() if len(found) > 1]:
        yield f"{len(divided)} of {len(of_group)} groups are in several splits of the data, for example '{divided[0]}'."


def _note_copies(images: Sequence[LabelledImage]) -> Iterator[str]:
    """Reports copies across the data's own splits, which leak, and across classes, which are label errors."""
    of_training = {image.sha256 for image in images if image.split == "train"}
    for split in ("validation", "test"):
        members = [image for image in images if image.split == split]
        if count := sum(image.sha256 in of_training for image in members):
            yield f"{count} of {len(members)} {split} images are exact copies of training images."
    labels: dict[str, set[str]] = {}
    for image in images:
        labels.setdefault(image.sha256, set()).add(image.label)
    if count := sum(len(of_content) > 1 for of_content in labels.values()):
        yield f"{count} images are in more than one class with the same bytes; at least one label of each is wrong."


def _check(index: Index, unreadable: str = "", trained: Iterable[str] = ()) -> None:
    """Refuses an index without enough images to train; ``unreadable`` is a sentence on those that were left out, and
    ``trained`` are classes that had training images before decisions left them out."""
    if index.is_test_set:
        return
    counts, left = index.counts()["train"], set(trained)
    if absent := sorted({image.label for image in index.images if not counts[image.label]} - left):
        known = ", ".join(label for label, count in counts.items() if count) or "none"
        raise DataError(
            "data.class_not_in_training",
            f"{len(absent)} of {len(counts)} classes have images for validation or test and none for training: "
            f"{', '.join(absent)}. Classes with training images: {known}. Data folder: {index.root}.",
            "Give a class the same name in all splits: rename its folders, or set dataset.labels.pattern with groups, "
            "as in '(?P<split>train|test)/(?P<label>cat|dog)'. Or name the classes to use in dataset.classes.",
        )
    if small := {label: count for label, count in counts.items() if count < MIN_TRAINING}:
        listed = ", ".join(f"'{label}' ({count})" for label, count in small.items())
        raise DataError(
            "data.class_too_small",
            f"{len(small)} of {len(counts)} classes have fewer than {MIN_TRAINING} usable images for training: "
            f"{listed}. Data folder: {index.root}.{unreadable}",
            "Add images of them, or leave them out: name the other classes in dataset.classes, or set "
            "dataset.min_images_per_class."
            if len(counts) - len(small) >= 2
            else "Add images of them.",
        )
    if len(index.labels) < 2:
        raise DataError(
            "data.too_few_classes",
            f"There is only one class ('{index.labels[0]}'); at least 2 are needed. Data folder: {index.root}.",
            "Add the images of another class.",
        )
    if not index.of("validation"):
        raise DataError(
            "data.no_validation_images",
            f"No images are left for validation.{unreadable}",
            "Set dataset.split.validation above 0, or add a validation folder.",
        )
