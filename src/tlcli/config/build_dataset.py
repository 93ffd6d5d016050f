"""From the config's dataset section to the index of its images."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from tlcli.config.dataset import Dataset, GroupBy, Labels
from tlcli.config.sources import FolderSource, PackageSource, Source
from tlcli.datasets.acquire.sources import folder, package
from tlcli.datasets.exclusion import exclude_images, read_exclusion
from tlcli.datasets.index import Index, build_index
from tlcli.datasets.label_pattern import scan_label_pattern
from tlcli.datasets.label_rules import matches
from tlcli.datasets.label_table import LabelTable, scan_label_table
from tlcli.datasets.labelled_files import normal_label, with_normal_labels, without_small_classes
from tlcli.datasets.layout import scan_folders, with_splits_by_folder
from tlcli.datasets.splits import SplitShares, group_by_folder, group_by_pattern
from tlcli.errors import DataError


def dataset_index(dataset: Dataset, options: Sequence[str], verify: bool = False) -> Index:
    """The index of a config's data set, wherever it is.

    Args:
        dataset: the section.
        options: what gives this config to a command, for hints.
        verify: read every file, including those whose digest is recorded.

    Raises:
        DataError: the data set is missing, or does not hold what the config says.
    """
    root, problems = dataset_folder(dataset)
    if root is None:
        _raise_missing(dataset.path, problems or how_to_get_images(dataset, options))
    return read_index(root, dataset, verify=verify)


def read_index(root: Path, dataset: Dataset, known: Mapping[str, str] = {}, verify: bool = False) -> Index:
    """The index of the data set at ``root``, read as the config says; see :func:`tlcli.datasets.index.build_index`."""
    labels, order = dataset.labels, dataset.classes
    if labels is None:
        scan = scan_folders(root, dataset.layout, dataset.classes, dataset.split_folders)
    else:
        rules = {name: partial(matches, **dict(rule)) for name, rule in labels.classes.items()}
        order = dataset.classes or tuple(map(normal_label, labels.classes)) or labels.class_columns
        if labels.pattern is not None:
            scan = scan_label_pattern(root, labels.pattern, rules, dataset.classes)
        else:
            scan = scan_label_table(root, _label_table(labels, rules), dataset.classes)
        if dataset.layout == "auto" and all(file.split is None for file in scan.files):
            scan = with_splits_by_folder(scan, scan.root)
    scan = with_normal_labels(scan)
    if dataset.exclude is not None:
        scan = exclude_images(scan, read_exclusion(dataset.exclude))
    if dataset.min_images_per_class is not None:
        scan = without_small_classes(scan, dataset.min_images_per_class)
        order = order and tuple(label for label in order if any(file.label == label for file in scan.files))
    split = dataset.split
    shares = SplitShares(split.validation, split.test, split.seed, _group_of(split.group_by))
    return build_index(scan, shares, order, known, verify)


def dataset_folder(dataset: Dataset) -> tuple[Path | None, str]:
    """The folder of the images, or None if they must be fetched first; and why sources that are used without copying
    are unavailable."""
    if dataset.path is not None and dataset.path.is_dir() and any(dataset.path.iterdir()):
        return dataset.path, ""
    problems = []
    for source in dataset.sources:
        try:
            if root := source_folder(source):
                return root, ""
        except DataError as error:
            problems.append(str(error))
    return None, " ".join(problems)


def source_folder(source: Source) -> Path | None:
    """The folder of a source that is used without copying; None for other sources.

    Raises:
        DataError: it does not exist; the hint says what to do.
    """
    if isinstance(source, PackageSource):
        return package.locate(source.package, source.subdir)
    if isinstance(source, FolderSource) and not source.link:
        return folder.locate(source.folder, source.subdir)
    return None


def _label_table(labels: Labels, rules: Mapping[str, Callable[[str], bool]]) -> LabelTable:
    given = labels.model_dump(exclude={"pattern", "classes", "class_columns"})
    return LabelTable(**given, classes=rules, class_columns=labels.class_columns or ())


def _group_of(group_by: GroupBy | None) -> Callable[[str], str] | None:
    if group_by is None:
        return None
    return group_by_folder if group_by.pattern is None else partial(group_by_pattern, group_by.pattern)


def not_a_folder(path: Path, hint: str) -> DataError:
    """The error for a file in the place of the images' folder."""
    return DataError("data.not_a_folder", f"{path} is a file, and images are read from a folder.", hint)


def _raise_missing(path: Path | None, hint: str) -> NoReturn:
    if path is None:
        raise DataError("data.images_missing", "The images are missing.", hint)
    if path.is_dir():
        raise DataError("data.folder_empty", f"The folder {path} is empty.", hint)
    if path.exists():
        raise not_a_folder(path, hint)
    raise DataError("data.images_missing", f"The images are missing: there is no folder {path}.", hint)


def how_to_get_images(dataset: Dataset, options: Sequence[str], origin: str | None = None) -> str:
    """What to do where the images are missing, as a hint.

    Args:
        dataset: the section.
        options: what gives this config to a command.
        origin: what ``--from`` names; by default the file at ``dataset.path``, if there is one.
    """
    path = dataset.path
    if path is not None and path.is_file():
        stem = path.name.split(".")[0]
        target = path.with_name(stem if stem not in ("", path.name) else f"{stem}-images")
        pairs = zip(options[::2], options[1::2], strict=True)  # each option has a value
        kept = [word for pair in pairs if not pair[1].startswith("dataset.path=") for word in pair]
        words = [*kept, "--set", f"dataset.path={target}", "--from", origin or str(path)]
        return f"If it is an archive, run: tlcli fetch {shlex.join(words)}"
    fetch = f"tlcli fetch {shlex.join(options)}".rstrip()
    return f"Run: {fetch}" if dataset.sources else "Put them there, or set dataset.path to their folder."
