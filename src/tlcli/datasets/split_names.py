"""Names of splits, as folders and cells of label tables have them: train, val, seg_test, training_set, test1, ..."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from tlcli.errors import DataError

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

SPLIT_ALIASES: dict[str, SplitName] = {
    "train": "train", "training": "train", "trn": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip
"""Usual words for splits, in lower case."""
_NEUTRAL = frozenset({
    "data", "dataset", "datasets", "set", "sets", "split", "image", "images", "img", "imgs", "folder", "files",
    "sample", "samples", "new", "final", "labeled", "labelled", "cropped", "resized", "raw", "original", "and",
})  # fmt: skip
"""Words beside the split in a folder's name that say nothing about its images."""
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_WORD = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_GLUED = re.compile(r"(set|data|dataset|images|imgs)$")


def split_of_word(word: str) -> SplitName | None:
    """The split that a word stands for: ``train``, ``Testing``, ``valset``."""
    word = word.casefold()
    return SPLIT_ALIASES.get(word) or SPLIT_ALIASES.get(_GLUED.sub("", word))


def parse_split_name(name: str) -> tuple[SplitName, str] | None:
    """The split in a folder's name, and its other tokens: ``seg_train`` is (train, seg), ``Test set 1`` (test, "").

    Returns:
        None for a name without a split, and one with several, except ``train_val``, which is for training.
    """
    tokens = [token for token in _WORD.findall(_CAMEL.sub(" ", name)) if token.casefold() not in _NEUTRAL]
    found = {split for token in tokens if (split := split_of_word(token))}
    others = " ".join(token.casefold() for token in tokens if not split_of_word(token))
    if found == {"train", "validation"}:
        return "train", others
    return (found.pop(), others) if len(found) == 1 else None


def split_folder_names(names: Iterable[str], where: str) -> Mapping[str, SplitName]:
    """The split of each name, if these names of neighbouring folders are a data set in splits.

    They are if one is for training and another is not, and both have the same other words: ``seg_train`` and
    ``seg_test``.

    Args:
        names: of all folders in one folder.
        where: that folder, for the error.

    Returns:
        the names that are splits; empty if the folders are something else.

    Raises:
        DataError: it cannot be told: the other words differ, or there are several such sets.
    """
    parsed = {name: found for name in names if (found := parse_split_name(name))}
    by_others: dict[str, dict[str, SplitName]] = {}
    for name, (split, others) in parsed.items():
        by_others.setdefault(others, {})[name] = split
    sets = [of_names for of_names in by_others.values() if _is_set(of_names.values())]
    if len(sets) == 1:
        return sets[0]
    if sets or _is_set(split for split, _ in parsed.values()):
        raise DataError(
            "data.split_folders_unclear",
            f"{where} has folders whose names contain splits, but which belong together is unclear: "
            f"{', '.join(sorted(parsed))}.",
            "Name them with dataset.split_folders, as in {train: NAME, test: NAME}; or, if they are classes, set "
            "dataset.layout to class_folders.",
        )
    return {}


def _is_set(splits: Iterable[SplitName]) -> bool:
    found = set(splits)
    return "train" in found and len(found) > 1


def split_of_cell(cell: str, where: str, column: str = "") -> SplitName:
    """The split that a cell of a table names.

    Args:
        cell: a split; or true or false (1 or 0) in a column that names one, as ``is_valid``.
        where: its place, for the error.
        column: the name of its column.

    Raises:
        DataError: it names none.
    """
    of_column = parse_split_name(column)
    if of_column is not None and cell.casefold() in _TRUTH:
        other: SplitName = "train" if of_column[0] != "train" else "test"
        return of_column[0] if _TRUTH[cell.casefold()] else other
    parsed = parse_split_name(cell)
    if parsed is None:
        raise DataError(
            "data.unknown_split",
            f"{where}: '{cell}' is not a split; allowed: {', '.join(SPLITS)}.",
            "Correct the cell, or the column in dataset.labels.split.",
        )
    return parsed[0]
