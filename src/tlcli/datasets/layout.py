"""Folders as labels: class folders, train, validation and test folders above them, or such folders in each of them."""

import itertools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tlcli.datasets.class_level import (
    check_level,
    class_root,
    nested_copy,
    notes_on_level,
    tables_in,
    without_masks,
)
from tlcli.datasets.digests import digests_of
from tlcli.datasets.labelled_files import LabelledFile, Scan, with_unused_files
from tlcli.datasets.split_names import SPLITS, SplitName, parse_split_name, split_folder_names
from tlcli.datasets.walk import find_images, has_images, images_in, kinds_in, relative_name, subfolders, walk
from tlcli.errors import DataError
from tlcli.images.formats import DEFAULT_FORMATS
from tlcli.images.recognition import advice_for

Layout = Literal["auto", "class_folders", "split_folders"]
_MAX_LABELS = 20
"""Of a suggested pattern."""
_MAX_DEPTH = 5
"""How many levels below the data folder are searched for split folders."""


@dataclass(frozen=True)
class SplitTree:
    """A folder whose images are divided into splits by folders."""

    top: Path
    splits: Mapping[Path, SplitName]
    """The split folders: in ``top``, or in each class folder in it."""
    in_classes: bool = False


def scan_folders(
    root: Path,
    layout: Layout,
    classes: Sequence[str] | None,
    split_folders: Mapping[SplitName, Sequence[str]] | None = None,
    is_test_set: bool = False,
) -> Scan:
    """Finds the class folders below ``root``, at whatever depth the archive put them.

    Args:
        root: the data folder.
        layout: ``split_folders`` requires train and validation or test folders, with class folders inside or inside
            each class folder; ``class_folders`` expects class folders only; ``auto`` uses split folders if there are
            any.
        classes: use only these class folders; None uses all.
        split_folders: names of the split folders; None recognises the usual names.
        is_test_set: of an external test set, which may lack classes, and have a single one.

    Raises:
        DataError: there are no class folders, several different trees, or a class folder without images.
    """
    outside = "outside class folders" if classes is None else "outside the folders of dataset.classes"
    may_be_unclear = layout == "auto" and classes is None and not is_test_set
    trees = [] if layout == "class_folders" else list(_split_trees(root, split_folders))
    if trees:
        tree, notes = _only_tree(trees)
        files = tuple(
            _files_of_classes(tree, classes, is_test_set)
            if tree.in_classes
            else _files_of_splits(tree, root, classes, is_test_set, may_be_unclear)
        )
        scan = Scan(tree.top, files, _read_as(tree), notes=notes)
        return without_masks(
            with_unused_files(scan, root, outside, [other.top for other in trees if other is not tree])
        )
    if layout == "split_folders" or split_folders:
        missing = ", ".join(name for names in (split_folders or {}).values() for name in names)
        raise DataError(
            "data.no_split_folders",
            f"{root} has no folder with the split folders {missing}."
            if missing
            else f"{root} has no train folder beside a validation or test folder.",
            "Correct dataset.split_folders."
            if missing
            else "Put the class folders into such folders, name other "
            "folders with dataset.split_folders, or set dataset.layout to class_folders.",
        )
    top = class_root(root)
    if layout == "auto" and (names := split_folder_names([folder.name for folder in subfolders(top)], str(top))):
        training = [top / name for name, split in names.items() if split == "train"]
        raise DataError(
            "data.split_folders_without_classes",
            f"{top} has {' and '.join(names)} folders without class folders in them.",
            "Put the images of each class into its own folder there, or say where the classes are"
            f"{tables_in(root) or ': in a table (dataset.labels.file)'} or in the names of the images "
            f"(dataset.labels.pattern{_pattern_for(top, root, training)}).",
        )
    folders = _class_folders(top, root, classes, is_test_set)
    notes = ()
    if may_be_unclear:
        folders, notes = _without_copy(folders)
        check_level(top, folders, root)
        notes = (*notes, *notes_on_level(top, folders, root))
    files = tuple(LabelledFile(path, folder.name) for folder in folders for path in find_images(folder))
    return without_masks(with_unused_files(Scan(top, files, "class folders", notes=notes), root, outside))


def with_splits_by_folder(scan: Scan, folder: Path) -> Scan:
    """The scan of labels that say no splits, with those of the split folders in ``folder`` that all its files are in.

    Raises:
        DataError: which folders are splits is unclear.
    """
    names = split_folder_names([child.name for child in subfolders(folder)], str(folder))
    of_file = [names.get(relative_name(file.path, folder).partition("/")[0]) for file in scan.files]
    if not of_file or None in of_file:
        return scan
    files = tuple(replace(file, split=split) for file, split in zip(scan.files, of_file, strict=True))
    used = {folder / name: split for name, split in names.items() if split in of_file}
    return replace(scan, files=files, read_as=f"{scan.read_as}, in {_read_as(SplitTree(folder, used))}")


def _split_trees(root: Path, named: Mapping[SplitName, Sequence[str]] | None, depth: int = 0) -> Iterator[SplitTree]:
    """Every folder at or below ``root`` that is divided into splits, only the topmost of each branch."""
    if splits := _split_folders(root, named):
        yield SplitTree(root, splits)
    elif splits := _splits_in_classes(root, named):
        yield SplitTree(root, splits, in_classes=True)
    elif depth < _MAX_DEPTH:
        for child in subfolders(root):
            yield from _split_trees(child, named, depth + 1)


def _split_folders(folder: Path, named: Mapping[SplitName, Sequence[str]] | None) -> dict[Path, SplitName]:
    """The split folders directly in ``folder`` that hold class folders; empty unless one is for training.

    Beside it there must be another split folder, with class folders or (as test folders often are) without.
    """
    names = _names_of_splits(folder, named)
    splits = {child: split for name, split in names.items() if subfolders(child := folder / name)}
    if not named:
        of_training = {name for child, split in splits.items() if split == "train" for name in _names_in(child)}
        splits = {
            child: split
            for child, split in splits.items()
            if split == "train" or len(found := _names_in(child)) > 1 or found & of_training
        }  # others hold unlabelled images, as test/images/1.jpg
    kinds = list(splits.values())
    if "train" not in kinds or (len(names) < 2 and not named):
        return {}
    if not named and (duplicates := [split for split in SPLITS if kinds.count(split) > 1]):
        listed = ", ".join(child.name for child, split in splits.items() if split == duplicates[0])
        raise DataError(
            "data.duplicate_split_folders",
            f"{folder} has several folders for {duplicates[0]}: {listed}.",
            "Merge them into one, rename the others, or name all with dataset.split_folders.",
        )
    return splits


def _names_in(split_folder: Path) -> set[str]:
    return {child.name for child in subfolders(class_root(split_folder))}


def _splits_in_classes(folder: Path, named: Mapping[SplitName, Sequence[str]] | None) -> dict[Path, SplitName]:
    """The split folders inside the class folders in ``folder``; empty unless all classes have them."""
    classes = [child for child in subfolders(folder) if not parse_split_name(child.name)]
    of_class = {
        child: {child / name: split for name, split in _names_of_splits(child, named).items()} for child in classes
    }
    divided = [child for child, splits in of_class.items() if any(images_in(path) for path in splits)]
    undivided = [child.name for child in classes if child not in divided and has_images(child)] if divided else []
    if len(divided) + len(undivided) < 2:
        return {}
    if undivided:
        raise DataError(
            "data.mixed_layout",
            f"In {folder}, {divided[0].name} has split folders inside and {', '.join(undivided)} has none.",
            "Divide every class in the same way, or set dataset.layout to class_folders to read all as undivided.",
        )
    return {path: split for child in divided for path, split in of_class[child].items()}


def _names_of_splits(folder: Path, named: Mapping[SplitName, Sequence[str]] | None) -> Mapping[str, SplitName]:
    names = [child.name for child in subfolders(folder)]
    if named is None:
        return split_folder_names(names, str(folder))
    wanted = {name: split for split, of_split in named.items() for name in of_split}
    return {name: wanted[name] for name in names if name in wanted} if wanted.keys() <= set(names) else {}


def _files_of_splits(
    tree: SplitTree, root: Path, classes: Sequence[str] | None, is_test_set: bool, may_be_unclear: bool
) -> Iterator[LabelledFile]:
    for split_folder, split in tree.splits.items():
        folders = _class_folders(top := class_root(split_folder), root, classes, is_test_set)
        if may_be_unclear:
            check_level(top, folders, root)
        for folder in folders:
            for path in find_images(folder):
                yield LabelledFile(path, folder.name, split)


def _files_of_classes(
    tree: SplitTree, classes: Sequence[str] | None, is_test_set: bool = False
) -> Iterator[LabelledFile]:  # fmt: skip
    used = set(_class_folders(tree.top, tree.top, classes, is_test_set))
    for split_folder, split in tree.splits.items():
        if split_folder.parent in used:
            for path in find_images(split_folder):
                yield LabelledFile(path, split_folder.parent.name, split)


def _read_as(tree: SplitTree) -> str:
    names = {split: sorted({path.name for path, of in tree.splits.items() if of == split}) for split in SPLITS}
    listed = "; ".join(f"{split}: {', '.join(found)}" for split, found in names.items() if found)
    return f"split folders {'inside class folders ' if tree.in_classes else ''}({listed})"


def _only_tree(trees: list[SplitTree]) -> tuple[SplitTree, tuple[str, ...]]:
    """The topmost of several trees, which must be identical, as some archives hold their tree twice; and a note."""
    first, *others = sorted(trees, key=lambda tree: (len(tree.top.parts), str(tree.top)))
    if not others:
        return first, ()
    digests = _tree_digests(first.top)
    for other in others:
        if _tree_digests(other.top) != digests:
            raise _several(first.top, other.top)
    return first, (f"The same tree exists {len(trees)} times; each image is used once, from {first.top}.",)


def _tree_digests(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): digest for path, digest in digests_of(walk(root)).of.items()}


def _without_copy(folders: list[Path]) -> tuple[list[Path], tuple[str, ...]]:
    """The class folders without one that holds the others once more, which must be identical; and a note."""
    copy = nested_copy(folders)
    if copy is None:
        return folders, ()
    others = [folder for folder in folders if folder != copy]
    for folder in others:
        if _tree_digests(folder) != _tree_digests(class_root(copy) / folder.name):
            raise _several(folder.parent, class_root(copy))
    return others, (f"The same class folders exist once more in {copy}, which is left out.",)


def _several(first: Path, other: Path) -> DataError:
    return DataError(
        "data.several_datasets",
        f"There are two different data sets: {first} and {other}.",
        f"Set dataset.path (or the source's subdir) to {other}, or move it elsewhere."
        if first in other.parents
        else "Set dataset.path (or the source's subdir) to one of them.",
    )


def _class_folders(
    top: Path, root: Path, classes: Sequence[str] | None, is_test_set: bool = False
) -> list[Path]:  # fmt: skip
    folders = subfolders(top)
    if classes is not None:
        wanted = {unicodedata.normalize("NFC", name): name for name in classes}
        found = {unicodedata.normalize("NFC", folder.name) for folder in folders}
        if (missing := sorted(wanted.keys() - found)) and not is_test_set:
            listed = ", ".join(folder.name for folder in folders) or "none"
            raise DataError(
                "data.class_folder_missing",
                f"{top} has no folder for dataset.classes {', '.join(missing)}; folders found: {listed}.",
                "Correct dataset.classes, or add the folder.",
            )
        folders = [folder for folder in folders if unicodedata.normalize("NFC", folder.name) in wanted]
    if is_test_set:  # an empty folder is a class that it lacks
        folders = [folder for folder in folders if has_images(folder)]
    if len(folders) < (least := 1 if is_test_set else 2):
        raise _too_few(top, root, folders, least)
    for folder in folders:
        if not folder.name.isascii() and os.fsencode(folder.name).decode(errors="replace") != folder.name:
            raise DataError(
                "data.class_name_not_utf8",
                f"The name of the class folder {folder} is not UTF-8, and models store class names.",
                "Rename the folder.",
            )
    if empty := [folder for folder in folders if not has_images(folder)]:
        kinds = {folder.name: kinds_in(folder).most_common(1) for folder in empty}
        if unread := [kind for listed in kinds.values() for kind, _ in listed]:
            names = ", ".join(f"{name} ({listed[0][0].name})" for name, listed in kinds.items() if listed)
            raise DataError(
                "data.unsupported_images",
                f"{len(empty)} of {len(folders)} class folders in {top} have no images that are read: {names}.",
                f"For {unread[0].name}: {advice_for(unread[0], DEFAULT_FORMATS)}.",
            )
        names = ", ".join(folder.name for folder in empty)
        raise DataError(
            "data.empty_class_folder",
            f"{len(empty)} of {len(folders)} class folders in {top} have no images: {names}.",
            "Add images, remove the folder, or list the other classes in dataset.classes.",
        )
    return folders


def _too_few(top: Path, root: Path, folders: Sequence[Path], least: int = 2) -> DataError:
    count = len(folders)
    needed = f"at least {least} {'is' if least == 1 else 'are'} needed"
    found = f"{top} has {count} class folder{'' if count == 1 else 's'}; {needed}."
    if not has_images(top):
        suffixes = Counter(path.suffix or path.name for path in itertools.islice(walk(root), 1000))
        listed = ", ".join(f"{number} {suffix}" for suffix, number in suffixes.most_common(5)) or "no files"
        return DataError(
            "data.too_few_classes",
            f"{found} There are no image files in it; found: {listed}.",
            "Put the images of each class into their own folder, named after the class. Images that are stored in "
            "tables, arrays or records (CSV, NPY, Parquet, TFRecord, pickle) have to be written as PNG files first, as "
            "with Pillow: Image.fromarray(array).save(...).",
        )
    pattern, table = _pattern_for(top, root), tables_in(root)
    hint = "Put the images of each class into their own folder, named after the class"
    if table:
        hint += f"; or say where the classes are{table}"
    if pattern:
        hint += f"; or, if the classes are in the names of the images, set dataset.labels.pattern{pattern}"
    return DataError("data.too_few_classes", found, f"{hint}.")


def _pattern_for(top: Path, root: Path, folders: Sequence[Path] = ()) -> str:
    """A pattern that finds classes in the names of images in ``top`` (or only in ``folders``), for a hint; empty where
    they have none.

    The class is the letters before a number: cat.0.jpg and great_dane_12.jpg.
    """
    images = [path for folder in folders or [top] for path in find_images(folder)]
    stems = [re.match(r"[^\W\d]+?(?=[ ._-]*\d)", path.stem) for path in images[:10_000]]
    labels = sorted({found.group() for found in stems if found})
    if not all(stems) or not 2 <= len(labels) <= len(stems) / 3 or all(map(parse_split_name, labels)):
        return ""
    inside = "" if top == root else f"(?:^|/){re.escape(top.name)}/.*?"
    return f" to '{inside}(?P<label>{'|'.join(labels) if len(labels) <= _MAX_LABELS else '[^/0-9]+?'})[ ._-]*\\d'"
