"""Finds labelled images in folders: one folder a class, with or without train, validation and test folders above."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlcli.datasets.digests import digests_of
from tlcli.errors import DataError

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
"""The usual names of split folders (and of splits in tables), in lower case."""
_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".avif", ".heic", ".heif", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".tga", ".ico",
})  # fmt: skip
_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"})
_MAX_DEPTH = 5
"""How far below the data folder split folders are looked for."""


@dataclass(frozen=True, slots=True)
class Found:
    """A labelled file, not yet read."""

    path: Path
    label: str
    split: SplitName | None = None
    """The split the data puts it in, None where the data has no splits."""
    group: str | None = None
    """The group a labels table puts it in."""


@dataclass(frozen=True)
class Layout:
    """What was found, and where."""

    root: Path
    found: tuple[Found, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Passed:
    """What was passed over, to be told in one line."""

    counts: Counter[str] = field(default_factory=Counter)

    def notes(self) -> Iterator[str]:
        if self.counts:
            listed = ", ".join(f"{count} {kind}" for kind, count in self.counts.most_common(6))
            yield f"Passed over: {listed}."


def find_folders(
    root: Path, kind: Literal["auto", "class_folders", "split_folders"], classes: tuple[str, ...] | None
) -> Layout:
    """Finds the class folders below ``root``, however deep the archive put them.

    Args:
        root: the data folder.
        kind: ``split_folders`` wants train and validation folders with class folders in them, ``class_folders`` wants
            class folders only, ``auto`` takes split folders where there are some.
        classes: only these class folders, where given.

    Raises:
        DataError: nothing that looks like labelled images, several different trees, or an empty class folder.
    """
    passed = _Passed()
    split_roots = [] if kind == "class_folders" else list(_split_roots(root))
    if split_roots:
        chosen, notes = _the_one(split_roots)
        return Layout(chosen, tuple(_in_splits(chosen, classes, passed)), (*notes, *_left_out(chosen), *passed.notes()))
    if kind == "split_folders":
        raise DataError(
            f"{root} holds no train folder beside a validation or test folder; "
            "put the class folders into such folders, or set dataset.layout to class_folders."
        )
    top = _class_root(root)
    folders = _class_folders(top, classes)
    if kind == "auto" and all(folder.name.casefold() in SPLIT_NAMES for folder in folders):
        raise DataError(
            f"{top} holds {' and '.join(folder.name for folder in folders)} without class folders in them: put the "
            "images of each class into a folder of its own there, or set dataset.labels to a table of classes."
        )
    found = tuple(Found(path, folder.name) for folder in folders for path in _images(folder, passed))
    return Layout(top, found, tuple(passed.notes()))


def name_below(path: Path, root: Path) -> str:
    """The path relative to the data folder, with ``/``: an image's name."""
    whole, above = os.fspath(path), f"{root}{os.sep}"
    if whole.startswith(above):  # pathlib and relpath take 20 times as long
        return whole[len(above) :].replace(os.sep, "/")
    return Path(os.path.relpath(path, root)).as_posix()


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def _folders(folder: Path) -> list[Path]:
    return sorted((Path(e.path) for e in os.scandir(folder) if e.is_dir() and not _is_hidden(e.name)), key=str)


def _split_folders(folder: Path) -> list[tuple[SplitName, Path]]:
    """The split folders directly in ``folder`` that hold class folders; empty unless one is for training.

    Beside it there must be another split folder, with class folders or (as test folders often are) without.
    """
    named = [(SPLIT_NAMES[c.name.casefold()], c) for c in _folders(folder) if c.name.casefold() in SPLIT_NAMES]
    splits = [(split, child) for split, child in named if _folders(child)]
    kinds = [split for split, _ in splits]
    if "train" not in kinds or len(named) < 2:
        return []
    if doubled := [split for split in SPLITS if kinds.count(split) > 1]:
        names = ", ".join(child.name for split, child in splits if split == doubled[0])
        raise DataError(f"{folder} holds several folders for {doubled[0]}: {names}; keep one of them.")
    return splits


def _split_roots(root: Path, depth: int = 0) -> Iterator[Path]:
    """Every folder at or below ``root`` that holds split folders, the shallowest first at each branch."""
    if _split_folders(root):
        yield root
    elif depth < _MAX_DEPTH:
        for child in _folders(root):
            yield from _split_roots(child, depth + 1)


def _the_one(roots: list[Path]) -> tuple[Path, list[str]]:
    """The shallowest of several trees, which must all hold the same files: some archives hold their tree twice."""
    roots = sorted(roots, key=lambda path: (len(path.parts), str(path)))
    first, *others = roots
    if not others:
        return first, []
    files = _digests(first)
    for other in others:
        if _digests(other) != files:
            raise DataError(
                f"Two different data sets lie here: {first} and {other}; "
                "set dataset.path (or the source's subdir) to one."
            )
    return first, [f"The same tree lies here {len(roots)} times; each image is counted once, in {first}."]


def _digests(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): digest for path, digest in digests_of(_walk(root)).of.items()}


def _left_out(root: Path) -> Iterator[str]:
    used = [folder for _, folder in _split_folders(root)]
    if others := [folder.name for folder in _folders(root) if folder not in used]:
        yield f"Left out of {root}, since they are no splits with class folders: {', '.join(others)}."


def _in_splits(root: Path, classes: tuple[str, ...] | None, passed: _Passed) -> Iterator[Found]:
    for split, folder in _split_folders(root):
        for class_folder in _class_folders(folder, classes):
            for path in _images(class_folder, passed):
                yield Found(path, class_folder.name, split)


def _class_root(root: Path) -> Path:
    """Goes down through folders that hold one folder and nothing else, as archives often have them."""
    while True:
        folders = _folders(root)
        only_one = len(folders) == 1 and not any(path.suffix and _is_image(path) for path in root.iterdir())
        if not only_one or not _folders(folders[0]):
            return root
        root = folders[0]


def _class_folders(top: Path, classes: tuple[str, ...] | None) -> list[Path]:
    folders = _folders(top)
    if classes is not None:
        if missing := sorted(set(classes) - {folder.name for folder in folders}):
            there = ", ".join(folder.name for folder in folders) or "none"
            raise DataError(f"{top} has no folder for dataset.classes {', '.join(missing)}; folders there: {there}.")
        folders = [folder for folder in folders if folder.name in classes]
    if len(folders) < 2:
        raise DataError(
            f"{top} holds {len(folders)} class folder{'' if len(folders) == 1 else 's'}, and 2 is the least: "
            "put the images of each class into a folder of its own, named after the class."
        )
    for folder in folders:
        if not folder.name.isascii() and os.fsencode(folder.name).decode(errors="replace") != folder.name:
            raise DataError(f"The name of the class folder {folder} is not UTF-8, and models keep it: rename it.")
        if not any(_is_image(path) for path in _walk(folder)):
            raise DataError(
                f"The class folder {folder} holds no image: "
                "put some there, remove it, or list the others in dataset.classes."
            )
    return folders


def _walk(folder: Path) -> Iterator[Path]:
    """Regular files at any depth, hidden ones left out, in sorted order; linked folders are followed once."""
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
    """By name only; the decoder looks at the content."""
    return (path.suffix.lower() in _SUFFIXES or not path.suffix) and path.is_file() and not _is_hidden(path.name)


def _images(folder: Path, passed: _Passed) -> Iterator[Path]:
    for path in _walk(folder):
        if _is_image(path):
            yield path
        else:
            passed.counts[f"'{path.suffix or path.name}' files"] += 1


def images_below(folder: Path) -> list[Path]:
    """Every image file in a folder and its sub-folders, for predict."""
    return [path for path in _walk(folder) if _is_image(path)]
