"""Directory scan: finds labelled images in class folders, with or without train, validation and test folders above."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tlcli.datasets.digests import digests_of
from tlcli.errors import DataError
from tlcli.images.formats import IMAGE_SUFFIXES

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

SPLIT_ALIASES: dict[str, SplitName] = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Usual names of split folders, and of splits in label tables, in lower case."""
_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"})
_MAX_DEPTH = 5
"""How many levels below the data folder are searched for split folders."""


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A labelled file that was not read yet."""

    path: Path
    label: str
    split: SplitName | None = None
    """The split that the data assigns it to; None if the data has no splits."""
    group: str | None = None
    """The group that a label table assigns it to."""


@dataclass(frozen=True)
class Scan:
    """The labelled files of a data folder."""

    root: Path
    """The folder that names of images are relative to."""
    files: tuple[LabelledFile, ...]
    notes: tuple[str, ...] = ()
    """How the folder was read and what was left out, one sentence each."""


def scan_folders(
    root: Path, layout: Literal["auto", "class_folders", "split_folders"], classes: tuple[str, ...] | None
) -> Scan:
    """Finds the class folders below ``root``, at whatever depth the archive put them.

    Args:
        root: the data folder.
        layout: ``split_folders`` requires train and validation folders that hold class folders, ``class_folders``
            expects class folders only, ``auto`` uses split folders if there are any.
        classes: use only these class folders; None uses all.

    Raises:
        DataError: there are no class folders, several different trees, or a class folder without images.
    """
    skipped: Counter[str] = Counter()
    split_roots = [] if layout == "class_folders" else list(_split_roots(root))
    if split_roots:
        top, notes = _only_tree(split_roots)
        files = tuple(
            LabelledFile(path, folder.name, split)
            for split, split_folder in _split_folders(top)
            for folder in _class_folders(split_folder, classes)
            for path in _images(folder, skipped)
        )
        return Scan(top, files, (*notes, *_note_other_folders(top), *_note_skipped(skipped)))
    if layout == "split_folders":
        raise DataError(
            "data.no_split_folders",
            f"{root} has no train folder beside a validation or test folder.",
            "Put the class folders into such folders, or set dataset.layout to class_folders.",
        )
    top = _class_root(root)
    folders = _class_folders(top, classes)
    if layout == "auto" and all(folder.name.casefold() in SPLIT_ALIASES for folder in folders):
        raise DataError(
            "data.split_folders_without_classes",
            f"{top} has {' and '.join(folder.name for folder in folders)} folders without class folders in them.",
            "Put the images of each class into its own folder there, or set dataset.labels to a label table.",
        )
    files = tuple(LabelledFile(path, folder.name) for folder in folders for path in _images(folder, skipped))
    return Scan(top, files, tuple(_note_skipped(skipped)))


def find_images(folder: Path) -> list[Path]:
    """Every image file in a folder and its subfolders, in sorted order."""
    return [path for path in _walk(folder) if _is_image(path)]


def relative_name(path: Path, root: Path) -> str:
    """The name of an image: its path relative to the data folder, with ``/``."""
    absolute, prefix = os.fspath(path), f"{root}{os.sep}"
    if absolute.startswith(prefix):  # pathlib and relpath take 20 times as long
        return absolute[len(prefix) :].replace(os.sep, "/")
    return Path(os.path.relpath(path, root)).as_posix()


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def _subfolders(folder: Path) -> list[Path]:
    return sorted((Path(e.path) for e in os.scandir(folder) if e.is_dir() and not _is_hidden(e.name)), key=str)


def _split_folders(folder: Path) -> list[tuple[SplitName, Path]]:
    """The split folders directly in ``folder`` that hold class folders; empty unless one is for training.

    Beside it there must be another split folder, with class folders or (as test folders often are) without.
    """
    named = [(SPLIT_ALIASES[c.name.casefold()], c) for c in _subfolders(folder) if c.name.casefold() in SPLIT_ALIASES]
    splits = [(split, child) for split, child in named if _subfolders(child)]
    kinds = [split for split, _ in splits]
    if "train" not in kinds or len(named) < 2:
        return []
    if duplicates := [split for split in SPLITS if kinds.count(split) > 1]:
        names = ", ".join(child.name for split, child in splits if split == duplicates[0])
        raise DataError(
            "data.duplicate_split_folders",
            f"{folder} has several folders for {duplicates[0]}: {names}.",
            "Merge them into one, or rename the others.",
        )
    return splits


def _split_roots(root: Path, depth: int = 0) -> Iterator[Path]:
    """Every folder at or below ``root`` that holds split folders, only the topmost of each branch."""
    if _split_folders(root):
        yield root
    elif depth < _MAX_DEPTH:
        for child in _subfolders(root):
            yield from _split_roots(child, depth + 1)


def _only_tree(roots: list[Path]) -> tuple[Path, list[str]]:
    """The topmost of several trees, which must be identical, as some archives hold their tree twice; and a note."""
    roots = sorted(roots, key=lambda path: (len(path.parts), str(path)))
    first, *others = roots
    if not others:
        return first, []
    digests = _tree_digests(first)
    for other in others:
        if _tree_digests(other) != digests:
            raise DataError(
                "data.several_datasets",
                f"There are two different data sets: {first} and {other}.",
                "Set dataset.path (or the source's subdir) to one of them.",
            )
    return first, [f"The same tree exists {len(roots)} times; each image is used once, from {first}."]


def _tree_digests(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): digest for path, digest in digests_of(_walk(root)).of.items()}


def _note_other_folders(root: Path) -> Iterator[str]:
    used = [folder for _, folder in _split_folders(root)]
    if others := [folder.name for folder in _subfolders(root) if folder not in used]:
        yield f"Skipped in {root}, as they are not splits with class folders: {', '.join(others)}."


def _note_skipped(skipped: Counter[str]) -> Iterator[str]:
    if skipped:
        yield f"Skipped: {', '.join(f'{count} {kind}' for kind, count in skipped.most_common(6))}."


def _class_root(root: Path) -> Path:
    """Descends through folders that hold one folder and no images, as archives often have them."""
    while True:
        folders = _subfolders(root)
        only_one = len(folders) == 1 and not any(path.suffix and _is_image(path) for path in root.iterdir())
        if not only_one or not _subfolders(folders[0]):
            return root
        root = folders[0]


def _class_folders(top: Path, classes: tuple[str, ...] | None) -> list[Path]:
    folders = _subfolders(top)
    if classes is not None:
        if missing := sorted(set(classes) - {folder.name for folder in folders}):
            found = ", ".join(folder.name for folder in folders) or "none"
            raise DataError(
                "data.class_folder_missing",
                f"{top} has no folder for dataset.classes {', '.join(missing)}; folders found: {found}.",
                "Correct dataset.classes, or add the folder.",
            )
        folders = [folder for folder in folders if folder.name in classes]
    if len(folders) < 2:
        raise DataError(
            "data.too_few_classes",
            f"{top} has {len(folders)} class folder{'' if len(folders) == 1 else 's'}; at least 2 are needed.",
            "Put the images of each class into their own folder, named after the class.",
        )
    for folder in folders:
        if not folder.name.isascii() and os.fsencode(folder.name).decode(errors="replace") != folder.name:
            raise DataError(
                "data.class_name_not_utf8",
                f"The name of the class folder {folder} is not UTF-8, and models store class names.",
                "Rename the folder.",
            )
        if not any(_is_image(path) for path in _walk(folder)):
            raise DataError(
                "data.empty_class_folder",
                f"The class folder {folder} has no images.",
                "Add images, remove the folder, or list the other classes in dataset.classes.",
            )
    return folders


def _walk(folder: Path) -> Iterator[Path]:
    """Files at any depth except hidden ones, in sorted order; symbolic links to folders are followed once."""
    seen = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in sorted(files):
            if not _is_hidden(name):
                yield Path(parent, name)


def _is_image(path: Path) -> bool:
    """Decides by name only; the decoder decides by content."""
    return (path.suffix.lower() in IMAGE_SUFFIXES or not path.suffix) and path.is_file() and not _is_hidden(path.name)


def _images(folder: Path, skipped: Counter[str]) -> Iterator[Path]:
    for path in _walk(folder):
        if _is_image(path):
            yield path
        else:
            skipped[f"'{path.suffix or path.name}' files"] += 1
