"""The index: which images there are, their content's digest, their class and their split."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.datasets.digests import digests_of
from tlcli.datasets.layout import SPLITS, Found, Layout, SplitName, name_below
from tlcli.datasets.splits import set_aside
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
    split: SplitName
    group: str
    """What must stay together in any split: images with the same value (of one group, or copies of one another)."""


@dataclass(frozen=True)
class Index:
    """All images of a data set."""

    root: Path
    labels: tuple[str, ...]
    """Class names; a label's number is its place here. With two classes the second is the positive one."""
    images: tuple[LabelledImage, ...]
    bad: Mapping[str, str]
    """Files that could not be read: name to reason."""
    notes: tuple[str, ...]

    def of(self, split: SplitName) -> list[LabelledImage]:
        """The images of one split, in the index's order."""
        return [image for image in self.images if image.split == split]

    def counts(self) -> dict[SplitName, dict[str, int]]:
        """Images for each split and class."""
        counted = Counter((image.split, image.label) for image in self.images)
        return {split: {label: counted[split, label] for label in self.labels} for split in SPLITS}

    def digest(self) -> str:
        """Hex sha256 over every image's name, content, class and split: equal if and only if the data is."""
        rows = sorted(f"{p.name}\0{p.sha256}\0{p.label}\0{p.split}" for p in self.images)
        return hashlib.sha256("\n".join(rows).encode(errors="surrogateescape")).hexdigest()


@dataclass(frozen=True)
class SplitShares:
    """How the splits that the data does not have are cut."""

    validation: float
    test: float
    seed: int = 0
    group_by_folder: bool = False
    group_pattern: str | None = None
    """Regular expression searched in an image's name; its first group (or the whole match) is the group."""


def build_index(
    layout: Layout,
    shares: SplitShares,
    classes: Sequence[str] | None = None,
    known: Mapping[str, str] = {},
    verify: bool = False,
) -> Index:
    """Finds every file's digest, then divides the images into splits.

    Args:
        layout: what was found.
        shares: how missing splits are cut.
        classes: order of the labels; sorted by name where None.
        known: digests by path, of files that were read a moment ago.
        verify: read every file, also those whose digest is remembered.

    Raises:
        DataError: too few images for the splits, or a class that has none in training.
        ResourceError: their disk fails, or is gone.
    """
    digests = {path: known[name] for item in layout.found if (name := os.fspath(path := item.path)) in known}
    read = digests_of(dict.fromkeys(item.path for item in layout.found if item.path not in digests), anew=verify)
    digests |= read.of
    bad = {name_below(path, layout.root): reason for path, reason in read.errors.items()}
    found = [item for item in layout.found if item.path in digests]
    check_disk(bad, len(layout.found), layout.root)
    if not found:
        first = "".join(f"; the first, {name}, {reason}" for name, reason in list(bad.items())[:1])
        raise DataError(f"None of the {len(bad)} images in {layout.root} can be used{first}.")
    groups = [_group(item, layout.root, shares) for item in found]
    units = _units(groups, [digests[item.path] for item in found])
    splits = _divide(found, units, shares)
    images = tuple(
        LabelledImage(item.path, name_below(item.path, layout.root), digests[item.path], item.label, split, unit)
        for item, unit, split in zip(found, units, splits, strict=True)
    )
    labels = tuple(classes) if classes is not None else tuple(sorted({item.label for item in found}))
    notes = (*layout.notes, *_changed(read.changed), *_torn_groups(groups, splits), *_copies(images))
    index = Index(layout.root, labels, images, bad, notes)
    _check(index)
    return index


def _units(groups: Sequence[str | None], digests: Sequence[str]) -> list[str]:
    """What must stay together: images of one group, copies (equal bytes), and groups that share a copy."""
    above: dict[tuple[str, str], tuple[str, str]] = {}

    def top(name: tuple[str, str]) -> tuple[str, str]:
        while (parent := above.setdefault(name, name)) != name:
            name = parent
        return name

    for group, digest in zip(groups, digests, strict=True):
        if group is not None:
            above[top(("copy", digest))] = top(("group", group))
    return [top(("copy", digest))[1] for digest in digests]


def _changed(paths: Sequence[Path]) -> Iterator[str]:
    if paths:
        yield (
            f"{len(paths)} files have other bytes than when they were last read, though size and time are the same, "
            f"for example {paths[0]}."
        )


def _torn_groups(groups: Sequence[str | None], splits: Sequence[SplitName]) -> Iterator[str]:
    """Groups that the data's own splits divide; splits that are cut here never do."""
    of_group: dict[str, set[SplitName]] = {}
    for group, split in zip(groups, splits, strict=True):
        if group is not None:
            of_group.setdefault(group, set()).add(split)
    if torn := [group for group, found in of_group.items() if len(found) > 1]:
        yield f"{len(torn)} of {len(of_group)} groups lie in several splits of the data, for example '{torn[0]}'."


def _copies(images: Sequence[LabelledImage]) -> Iterator[str]:
    """What identical files do to honesty: between splits the data brings along, and between classes."""
    of_training = {p.sha256 for p in images if p.split == "train"}
    for split in ("validation", "test"):
        members = [p for p in images if p.split == split]
        if count := sum(p.sha256 in of_training for p in members):
            yield f"{count} of {len(members)} {split} images are exact copies of training images."
    labels: dict[str, set[str]] = {}
    for p in images:
        labels.setdefault(p.sha256, set()).add(p.label)
    if count := sum(len(of_content) > 1 for of_content in labels.values()):
        yield f"{count} images lie in more than one class with the same bytes; at least one label of each is wrong."


def without(index: Index, bad: Mapping[str, str]) -> Index:
    """The index less the images (by sha256) that turned out to be broken; splits of the others do not move."""
    if not bad:
        return index
    kept = tuple(p for p in index.images if p.sha256 not in bad)
    reasons = {p.name: bad[p.sha256] for p in index.images if p.sha256 in bad}
    index = replace(index, images=kept, bad={**index.bad, **reasons})
    _check(index)
    return index


def _group(item: Found, root: Path, shares: SplitShares) -> str | None:
    if item.group is not None:
        return item.group
    if shares.group_by_folder:
        return Path(name_below(item.path, root)).parent.as_posix()
    if shares.group_pattern is None:
        return None
    name = name_below(item.path, root)
    match = re.search(shares.group_pattern, name)
    if match is None:
        raise DataError(f"dataset.split.group_by.pattern {shares.group_pattern!r} finds nothing in '{name}'.")
    return match.group(1) if match.re.groups else match.group(0)


def _divide(found: Sequence[Found], units: Sequence[str], shares: SplitShares) -> list[SplitName]:
    """Keeps the splits that the data has; cuts the others: test from validation where there is one, else from all."""
    given = {item.split for item in found}
    splits: list[SplitName] = [item.split or "train" for item in found]
    if "test" not in given and shares.test:
        source: SplitName = "validation" if "validation" in given else "train"
        _move(found, units, splits, source, "test", shares.test, shares.seed)
        remaining = 1 - shares.test if source == "train" else 1.0
    else:
        remaining = 1.0
    if "validation" not in given and shares.validation:
        share = shares.validation if "test" in given else shares.validation / remaining
        _move(found, units, splits, "train", "validation", share, shares.seed)
    return splits


def _move(
    found: Sequence[Found], units: Sequence[str], splits: list[SplitName],
    source: SplitName, target: SplitName, share: float, seed: int,
) -> None:  # fmt: skip
    places = [i for i, split in enumerate(splits) if split == source]
    chosen = set_aside([units[i] for i in places], [found[i].label for i in places], share, f"{target}:{seed}")
    for place, moved in zip(places, chosen, strict=True):
        if moved:
            splits[place] = target


def _check(index: Index) -> None:
    counts = index.counts()
    for label in index.labels:
        if counts["train"][label] < 2:
            raise DataError(
                f"Class '{label}' has {counts['train'][label]} usable image(s) for training, and 2 is the least: "
                f"add images of it, or leave the class out with dataset.classes. Data folder: {index.root}."
            )
    if len(index.labels) < 2:
        raise DataError(f"There is one class only ('{index.labels[0]}'), and 2 is the least. Folder: {index.root}.")
    if not index.of("validation"):
        raise DataError("No image is left for validation: set dataset.split.validation above 0, or add a folder.")
