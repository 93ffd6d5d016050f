"""From the config's dataset section to an index of images."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from tlcli.config.dataset import Dataset, LabelRule
from tlcli.config.sources import FolderSource, PackageSource, Source
from tlcli.datasets.acquire.sources import folder, package
from tlcli.datasets.exclusion import leave_out, read_exclusion
from tlcli.datasets.index import Index, SplitShares, build_index
from tlcli.datasets.label_table import Rule, Table, find_in_table
from tlcli.datasets.layout import find_folders
from tlcli.errors import DataError


def located(dataset: Dataset) -> Path | None:
    """The folder of the images, or None where they have to be fetched first."""
    if dataset.path is not None and dataset.path.is_dir() and any(dataset.path.iterdir()):
        return dataset.path
    for source in dataset.sources:
        try:
            if place := in_place(source):
                return place
        except DataError:
            continue
    return None


def in_place(source: Source) -> Path | None:
    """The folder of a source that is used where it is; None for the others.

    Raises:
        DataError: it is not there; the message says what to do.
    """
    if isinstance(source, PackageSource):
        return package.locate(source.package, source.subdir)
    if isinstance(source, FolderSource) and not source.link:
        return folder.locate(source.folder, source.subdir)
    return None


def indexed(dataset: Dataset, options: Sequence[str], verify: bool = False) -> Index:
    """The index of the data set, wherever it lies; ``options`` give its config to a command, for hints.

    Raises:
        DataError: it is not there, or does not hold what the config says.
    """
    root = located(dataset)
    if root is None:
        problems = [problem for source in dataset.sources if (problem := _problem(source))]
        there = _lacking(dataset.path)
        if problems:
            raise DataError(f"{there}: {' '.join(problems)}")
        fetch = f"run: tlcli fetch {shlex.join(options)}"
        if dataset.path is not None and dataset.path.is_file():
            stem = dataset.path.name.split(".")[0]
            folder_of_it = dataset.path.with_name(stem if stem not in ("", dataset.path.name) else f"{stem}-images")
            words = ["--set", f"dataset.path={folder_of_it}", "--from", str(dataset.path)]
            raise DataError(f"{there}; where it is an archive, {fetch} {shlex.join(words)}")
        raise DataError(
            f"{there}; "
            + (fetch if dataset.sources else "put them there, or set dataset.path to the folder that has them.")
        )
    return index_at(root, dataset, verify=verify)


def _lacking(path: Path | None) -> str:
    if path is None:
        return "The images are not there"
    if path.is_dir():
        return f"The folder {path} is empty"
    if path.exists():
        return f"{path} is a file, and images are read from a folder"
    return f"The images are not there (looked in {path})"


def _problem(source: Source) -> str:
    try:
        in_place(source)
    except DataError as error:
        return str(error)
    return ""


def index_at(root: Path, dataset: Dataset, known: Mapping[str, str] = {}, verify: bool = False) -> Index:
    """The index of the data set at ``root``, read as the config says; see :func:`tlcli.datasets.index.build_index`."""
    if dataset.labels is not None:
        layout = find_in_table(root, _table(dataset), dataset.classes)
        order = dataset.classes or tuple(dataset.labels.classes) or None
    else:
        layout = find_folders(root, dataset.layout, dataset.classes)
        order = dataset.classes
    if dataset.exclude is not None:
        layout = leave_out(layout, read_exclusion(dataset.exclude))
    split = dataset.split
    shares = SplitShares(
        validation=split.validation,
        test=split.test,
        seed=split.seed,
        group_by_folder=split.group_by is not None and split.group_by.folder,
        group_pattern=split.group_by.pattern if split.group_by else None,
    )
    return build_index(layout, shares, order, known, verify)


def _table(dataset: Dataset) -> Table:
    labels = dataset.labels
    if labels is None:
        raise TypeError(dataset)
    return Table(
        file=labels.file,
        path_column=labels.path,
        label_column=labels.label,
        delimiter=labels.delimiter,
        columns=labels.columns,
        rules={name: _rule(rule) for name, rule in labels.classes.items()},
        split_column=labels.split,
        group_column=labels.group,
    )


def _rule(rule: LabelRule) -> Rule:
    return Rule(rule.below, rule.at_most, rule.above, rule.at_least, rule.values)
