"""Stable, stratified splits: which images are held out depends on their content and a seed, not on names or order.

Groups (:class:`SplitShares`) and exact copies form units, which are never divided.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tlcli.datasets.labelled_files import LabelledFile
from tlcli.datasets.split_names import SplitName
from tlcli.errors import DataError

MIN_TRAINING = 2
"""Images of each class that training needs."""


@dataclass(frozen=True)
class SplitShares:
    """How the splits that the data does not have are created."""

    validation: float
    """Share of all images; 0 creates no split."""
    test: float
    """Share of the data's validation images if it has any, else of all images; 0 creates no split."""
    seed: int = 0
    group_of: Callable[[str], str] | None = None
    """Maps an image's name to its group; see :func:`group_by_folder` and :func:`group_by_pattern`."""


def group_by_folder(name: str) -> str:
    """The folder of an image as its group."""
    return PurePosixPath(name).parent.as_posix()


def group_by_pattern(pattern: str, name: str) -> str:
    """The first group, or else the whole match, of a regular expression searched in an image's name.

    Raises:
        DataError: it does not match.
    """
    match = re.search(pattern, name)
    if match is None:
        raise DataError(
            "data.group_pattern_no_match",
            f"dataset.split.group_by.pattern {pattern!r} does not match '{name}'.",
            "Change the pattern so that it matches the name of every image.",
        )
    return match.group(1) if match.re.groups else match.group(0)


def units_of(groups: Sequence[str | None], digests: Sequence[str]) -> list[str]:
    """The unit of each image: images of one group, exact copies, and groups that share a copy stay together.

    Args:
        groups: the group of each image, or None.
        digests: sha256 of each image.
    """
    parents: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while (parent := parents.setdefault(node, node)) != node:
            node = parent
        return node

    for group, digest in zip(groups, digests, strict=True):
        if group is not None:
            parents[root(("copy", digest))] = root(("group", group))
    return [root(("copy", digest))[1] for digest in digests]


def assign_splits(files: Sequence[LabelledFile], units: Sequence[str], shares: SplitShares) -> list[SplitName]:
    """The split of each file. Splits that the data has are kept; missing ones are held out, test from the data's
    validation images if it has any, else from all, and validation from the training images. Classes may be too small
    for that: see :func:`check_enough`.
    """
    splits: list[SplitName] = [file.split or "train" for file in files]
    labels = [file.label for file in files]
    for target, (source, share) in _created(files, shares).items():
        members = [i for i, split in enumerate(splits) if split == source]
        of_members = [units[i] for i in members], [labels[i] for i in members]
        chosen = hold_out(*of_members, share, f"{target}:{shares.seed}")
        for i, is_chosen in zip(members, chosen, strict=True):
            if is_chosen:
                splits[i] = target
    return splits


def _created(files: Sequence[LabelledFile], shares: SplitShares) -> dict[SplitName, tuple[SplitName, float]]:
    """The splits that the data does not have: what each is taken from, and its share of that."""
    given = {file.split for file in files}
    created: dict[SplitName, tuple[SplitName, float]] = {}
    remaining = 1.0
    if "test" not in given and shares.test:
        created["test"] = ("validation" if "validation" in given else "train", shares.test)
        remaining = 1 - shares.test if created["test"][0] == "train" else 1.0
    if "validation" not in given and shares.validation:
        created["validation"] = ("train", shares.validation / remaining)
    return created


def check_enough(
    files: Sequence[LabelledFile], units: Sequence[str], labels: Sequence[str | None], shares: SplitShares
) -> None:
    """Refuses classes that are too small to draw the missing splits from.

    Args:
        files: all files.
        units: the unit of each.
        labels: the class of each; None where it is left out after the splits are drawn.
        shares: how missing splits are created.

    Raises:
        DataError: a class is too small for the splits.
    """
    created = _created(files, shares)
    for source, minimum in (("train", MIN_TRAINING), ("validation", 1)):
        targets = [target for target, (taken_from, _) in created.items() if taken_from == source]
        if targets:
            kept = [
                (unit, label)
                for file, unit, label in zip(files, units, labels, strict=True)
                if label is not None and (file.split or "train") == source
            ]
            _check_enough([unit for unit, _ in kept], [label for _, label in kept], minimum, targets)


def _check_enough(units: Sequence[str], labels: Sequence[str], minimum: int, targets: Sequence[SplitName]) -> None:
    """Refuses classes that are too small for the splits, all at once.

    Raises:
        DataError: a class has fewer images than ``minimum`` and one for each of ``targets``, or too few units.
    """
    needed, images = minimum + len(targets), Counter(labels)
    groups = Counter(label for _, label in set(zip(units, labels, strict=True)))
    small = sorted(label for label in images if images[label] < needed or groups[label] <= len(targets))
    if not small:
        return
    listed = ", ".join(f"'{label}' ({_counted(images[label], groups[label])})" for label in small)
    has_groups = any(groups[label] != images[label] for label in small)
    apart = f", in {len(targets) + 1} groups or more (exact copies are one group)" if has_groups else ""
    ways = ["Add images"]
    if len(images) - len(small) >= 2:  # else the advice would only lead to the next error
        can_count = all(images[label] < needed for label in small)
        setting = f"with --set dataset.min_images_per_class={needed}" if can_count else "by dataset.classes"
        ways.append(f"leave these classes out {setting}")
    if "test" in targets and all(images[label] >= needed - 1 and groups[label] >= len(targets) for label in small):
        ways.append("do without a test split: --set dataset.split.test=0, which needs one image less")
    raise DataError(
        "data.class_too_small",
        f"{len(small)} of {len(images)} classes are too small: {listed}. A class needs {needed} images{apart}: "
        f"{minimum} to keep and one each for {' and '.join(targets)}.",
        f"{'; or '.join(ways)}.",
    )


def _counted(images: int, units: int) -> str:
    return f"{images}" if units == images else f"{images} in {units} group{'' if units == 1 else 's'}"


def hold_out(units: Sequence[str], labels: Sequence[str], share: float, salt: str) -> list[bool]:
    """Chooses about ``share`` of the images of each class without dividing a unit.

    Args:
        units: the unit of each image: its sha256 (so that copies stay together), or its group.
        labels: the class of each image.
        share: between 0 and 1.
        salt: the name of the split and the seed; another salt gives another choice.

    Returns:
        For each image whether it is held out. The count in each class is ``share``, rounded, but at least 1, as closely
        as whole units allow. The only unit of a class stays.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, unit in enumerate(units):
        members[unit].append(index)
    chosen = [False] * len(units)
    for candidates in _strata(units, labels).values():
        candidates.sort(key=lambda unit: hashlib.sha256(f"{salt}:{unit}".encode()).digest())
        missing = round(share * sum(len(members[unit]) for unit in candidates))
        held_out: list[str] = []
        for unit in candidates:
            is_closer_with_it = len(members[unit]) / 2 <= missing
            if is_closer_with_it and len(held_out) < len(candidates) - 1:  # one unit always remains
                held_out.append(unit)
                missing -= len(members[unit])
        if not held_out and len(candidates) > 1:
            held_out = [min(candidates, key=lambda unit: len(members[unit]))]
        for unit in held_out:
            for index in members[unit]:
                chosen[index] = True
    return chosen


def _strata(units: Sequence[str], labels: Sequence[str]) -> dict[str, list[str]]:
    """The units of each class; one of several classes belongs to the most frequent of its images."""
    of_unit: dict[str, list[str]] = defaultdict(list)
    for unit, label in zip(units, labels, strict=True):
        of_unit[unit].append(label)
    strata: dict[str, list[str]] = defaultdict(list)
    for unit, names in of_unit.items():
        strata[max(sorted(set(names)), key=names.count)].append(unit)
    return strata
