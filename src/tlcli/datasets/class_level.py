"""At which depth of a tree its class folders are, and what only accompanies the images: annotations, masks."""

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tlcli.datasets.labelled_files import LeftOut, Scan
from tlcli.datasets.split_names import parse_split_name
from tlcli.datasets.walk import has_images, images_in, kinds_in, relative_name, subfolders, walk
from tlcli.errors import DataError

_ACCOMPANYING = re.compile(
    r"masks|trimaps?|annotations?|labels|segmentations?(class|object)?|ground[ _-]?truths?|gt", re.IGNORECASE
)
"""Folders beside those of the images that belong to the images."""
_IMAGES = frozenset({"images", "imgs", "jpegimages"})
_MASK = re.compile(r"(.+)_(?:mask|seg|segmentation|gt)(?:_\d+)?", re.IGNORECASE)
"""Stem of a mask that is beside its image, whose stem is the group: ``benign (1)_mask_1``."""
_PART = re.compile(r"(?<![^\W_])(images?|imgs?|parts?|batch|folds?|chunks?|shards?)(?![^\W_])", re.IGNORECASE)
_MAX_NAMED = 20
"""Classes of a suggested pattern, and tables of a hint."""
_TABLES = frozenset({".csv", ".tsv", ".txt", ".lst", ".json", ".jsonl", ".mat", ".xlsx", ".parquet"})
_NO_TABLES = re.compile(r"readme|licen[cs]e|classes|submission", re.IGNORECASE)


def is_accompanying(name: str) -> bool:
    """Whether a folder of this name, beside one of images, holds what belongs to them: masks, annotations."""
    return _ACCOMPANYING.fullmatch(name) is not None


def class_root(root: Path) -> Path:
    """Descends through folders that hold one folder of images, beside it at most what accompanies them."""
    while not images_in(root):
        folders = subfolders(root)
        has_name = any(folder.name.casefold() in _IMAGES for folder in folders)
        images = (folder for folder in folders if len(folders) == 1 or not _is_aside(folder, has_name))
        holding = list(itertools.islice(images, 2))  # of 1,000 class folders two say enough
        if len(holding) != 1 or not (subfolders(holding[0]) or (len(folders) > 1 and has_name)):
            break
        root = holding[0]
    return root


def _is_aside(folder: Path, beside_images: bool) -> bool:
    """Whether a folder accompanies the images; one that is empty may be a class, and so may one of DICOM files."""
    if is_accompanying(folder.name):
        return True
    return not has_images(folder) and any(walk(folder)) and (beside_images or not kinds_in(folder))


def check_level(top: Path, folders: Sequence[Path], root: Path) -> None:
    """Refuses class folders that may be something else: patients or variants that have the classes inside, parts, or
    a test set.

    Raises:
        DataError: most of the folders have the same folders inside, or their names are those of numbered parts, or of a
            validation or test split.
    """
    parsed = {folder.name: parse_split_name(folder.name) for folder in folders}
    if splits := [name for name, found in parsed.items() if found and found[0] != "train" and not found[1]]:
        raise DataError(
            "data.split_folders_unclear",
            f"{top} has {_some(splits)} beside class folders, and no train folder.",
            "Put the class folders into a folder train; or leave it out by naming the classes in dataset.classes; or, "
            "if it is a class, set dataset.layout to class_folders.",
        )
    inner = _inner(folders)
    shared = [name for name, found in sorted(inner.items()) if 2 * len(found) > len(folders)]
    names = _some([folder.name for folder in folders])
    as_classes = f"if {names} are the classes, set dataset.layout to class_folders"
    if len(shared) > 1 and not (_is_numbered(shared) and not _is_numbered([folder.name for folder in folders])):
        folder = inner[shared[0]][0]
        above, below = len(top.relative_to(root).parts), len(folder.relative_to(top).parts) - 2
        label = "|".join(map(re.escape, shared)) if len(shared) <= _MAX_NAMED else "[^/]+"
        pattern = f"^{'[^/]+/' * above}(?P<group>[^/]+)/{'[^/]+/' * below}(?P<label>{label})/"
        raise DataError(
            "data.class_folders_unclear",
            f"In {top} it is unclear which folders are the classes: {names} have the same folders inside, "
            f"{_some(shared)}.",
            f"If {_some(shared)} are the classes, set dataset.labels.pattern to '{pattern}', where the group keeps the "
            "images of one folder (a patient) in one split and may be left out, or dataset.path to one of the folders "
            "(a variant of the images); if they are splits, set dataset.split_folders, as in "
            f"{{train: {folders[0].name}, test: {folders[-1].name}}}; {as_classes}.",
        )
    if _is_numbered([folder.name for folder in folders]) and _PART.search(folders[0].name):
        raise DataError(
            "data.class_folders_unclear",
            f"The folders {names} in {top} look like parts of one data set, not like classes.",
            f"Say where the classes are{tables_in(root) or ': in a table (dataset.labels.file)'}, or in the names of "
            f"the images (dataset.labels.pattern); {as_classes}.",
        )


def _is_numbered(names: Sequence[str]) -> bool:
    """Whether names differ only in numbers, as those of patients, videos and parts do, and rarely those of classes."""
    return len({re.sub(r"\d+", "0", name).casefold() for name in names}) == 1 and len(names) > 1


def notes_on_level(top: Path, folders: Sequence[Path], root: Path) -> Iterator[str]:
    """Says that class folders have folders inside, which might be the classes."""
    for folder in folders:
        if len(inner := _inner([folder])) > 1:
            above = len(next(iter(inner.values()))[0].relative_to(root).parts) - 1
            yield (
                f"Class folders have folders inside, whose images count as the class: {relative_name(folder, top)} has "
                f"{_some(sorted(inner))}; if these are the classes, set dataset.labels.pattern to "
                f"'^{'[^/]+/' * above}(?P<label>[^/]+)/'."
            )
            return


def _inner(folders: Sequence[Path]) -> Mapping[str, Sequence[Path]]:
    """The folders with images inside these, by name."""
    found: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        inside = subfolders(folder)
        for child in subfolders(class_root(folder)) if len(inside) == 1 else inside:
            if not is_accompanying(child.name) and has_images(child):
                found[child.name].append(child)
    return found


def nested_copy(folders: Sequence[Path]) -> Path | None:
    """The one of these class folders that holds all others once more, as archives packed twice have it."""
    names = {folder.name for folder in folders}
    for folder in folders if len(names) > 2 else ():
        if subfolders(folder) and names - {folder.name} <= {child.name for child in subfolders(class_root(folder))}:
            return folder
    return None


def without_masks(scan: Scan) -> Scan:
    """The scan without the masks of its images, which are counted.

    They are in a folder of such a name beside other images of the class, or beside their image with ``_mask`` appended.
    All images of a class that is named masks are kept.
    """
    paths = [os.path.split(file.path) for file in scan.files]  # pathlib takes 10 times as long
    kind = type(scan.root)  # remote or not
    parents = {parent: relative_name(kind(parent), scan.root).split("/") for parent in {parent for parent, _ in paths}}
    aside = {parent for parent, parts in parents.items() if any(map(is_accompanying, parts))}
    beside = {path: found[1] for path in paths if (found := _MASK.fullmatch(os.path.splitext(path[1])[0]))}  # noqa: PTH122
    stems = {(parent, os.path.splitext(name)[0]) for parent, name in paths} if beside else set()  # noqa: PTH122
    is_mask = [path[0] in aside or (path in beside and (path[0], beside[path]) in stems) for path in paths]
    labels = {file.label for file, mask in zip(scan.files, is_mask, strict=True) if not mask}
    masks = [file for file, mask in zip(scan.files, is_mask, strict=True) if mask and file.label in labels]
    if not masks:
        return scan
    dropped = {file.path for file in masks}
    left_out = LeftOut(len(masks), "masks or annotations of images", relative_name(masks[0].path, scan.root))
    files = tuple(file for file in scan.files if file.path not in dropped)
    return replace(scan, files=files, left_out=(*scan.left_out, left_out))


def tables_in(root: Path) -> str:
    """The files in ``root`` or one folder below that may be label tables, for a hint; empty if there are none."""
    paths = [path for folder in (root, *subfolders(root)[:20]) for path in sorted(folder.iterdir())[:1000]]
    found = [path for path in paths if path.suffix.lower() in _TABLES and not _NO_TABLES.search(path.name)]
    if not 0 < len(found) <= _MAX_NAMED:
        return ""
    return f": in a table (dataset.labels.file; there is {_some([relative_name(path, root) for path in found])})"


def _some(names: Sequence[str], at_most: int = 4) -> str:
    return ", ".join(names[:at_most]) + (", ..." if len(names) > at_most else "")
