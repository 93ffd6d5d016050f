"""From the config's dataset section to the index of its images."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from tlcli.config.dataset import Dataset, GroupBy, Labels, Split
from tlcli.config.sources import FolderSource, PackageSource, Source
from tlcli.datasets.acquire.sources import folder, package
from tlcli.datasets.corrections import read_corrections, resolve
from tlcli.datasets.decisions import Decisions, ExclusionReason
from tlcli.datasets.digests import Digests
from tlcli.datasets.exclusion import note_exclusions, read_exclusion, without_excluded
from tlcli.datasets.index import Index, build_index
from tlcli.datasets.label_pattern import scan_label_pattern
from tlcli.datasets.label_rules import matches
from tlcli.datasets.label_table import LabelTable, scan_label_table
from tlcli.datasets.labelled_files import Scan, as_test_set, normal_label, with_normal_labels, without_small_classes
from tlcli.datasets.layout import scan_folders, with_splits_by_folder
from tlcli.datasets.listing import list_below
from tlcli.datasets.manifest import is_manifest, scan_manifest
from tlcli.datasets.remote_digests import digests_of_objects
from tlcli.datasets.split_names import parse_split_name
from tlcli.datasets.splits import SplitShares, group_by_folder, group_by_pattern
from tlcli.errors import DataError
from tlcli.system.remote.path import RemotePath


def dataset_index(
    dataset: Dataset, options: Sequence[str], verify: bool = False, if_moved: str = "", drawn_late: bool = False,
    objects: Digests | None = None,
) -> Index:  # fmt: skip
    """The index of a config's data set, wherever it is.

    Args:
        dataset: the section.
        options: what gives this config to a command, for hints.
        verify: read every file, including those whose digest is recorded.
        if_moved: what to do where the data set is in another place now, for the hint, where the config cannot be
            changed.
        drawn_late: see :func:`read_index`.
        objects: digests of its remote images, where they were just read.

    Raises:
        DataError: the data set is missing, or does not hold what the config says.
        NetworkError: it is remote, and its store refuses access or does not answer.
    """
    root = _present_root(dataset, options, verify, if_moved)
    return read_index(root, dataset, verify=verify, drawn_late=drawn_late, objects=objects)


def dataset_scan(dataset: Dataset, options: Sequence[str], verify: bool = False) -> Scan:
    """The labelled files of a config's data set, none of which was read; classes that are too small are left out.

    Args:
        dataset: the section.
        options: what gives this config to a command, for hints.
        verify: list what is remote again.

    Raises:
        DataError: the data set is missing, or does not hold what the config says.
        NetworkError: it is remote, and its store refuses access or does not answer.
    """
    scan = _scan(_present_root(dataset, options, verify), dataset)
    return without_small_classes(scan, dataset.min_images_per_class) if dataset.min_images_per_class else scan


def _present_root(dataset: Dataset, options: Sequence[str], verify: bool, if_moved: str = "") -> Path:
    """The folder or manifest of the images.

    Raises:
        DataError: it is missing.
    """
    root, problems = dataset_folder(dataset, verify)
    if root is None:
        hint = problems or how_to_get_images(dataset, options, is_fixed=bool(if_moved))
        _raise_missing(dataset.path, f"{hint} {if_moved}".rstrip())
    return root


def read_index(
    root: Path, dataset: Dataset, known: Mapping[str, str] = {}, verify: bool = False, drawn_late: bool = False,
    objects: Digests | None = None,
) -> Index:  # fmt: skip
    """The index of the data set at ``root``, read as the config says; see :func:`tlcli.datasets.index.build_index`.

    Args:
        root: the folder.
        dataset: the section.
        known: digests by path, for files that were read a moment ago.
        verify: read every file, including those whose digest is recorded.
        drawn_late: draw the missing splits after images are excluded, as runs did that do not record
            ``RunRecord.filtered``; exclusions move images between splits then.
        objects: digests of its remote images, where they were just read.
    """
    labels, order = dataset.labels, dataset.classes
    if labels is not None:
        order = dataset.classes or tuple(map(normal_label, labels.classes)) or labels.class_columns
    scan = _scan(root, dataset)
    excluded: dict[str, ExclusionReason] = {}
    relabelled: dict[str, str] = {}
    if dataset.corrections is not None:
        classes = order or sorted({file.label for file in scan.files})
        found = resolve(dataset.corrections, read_corrections(dataset.corrections), scan, classes)
        relabelled, excluded = found.relabelled, dict.fromkeys(found.set_aside, "label")
        scan = replace(scan, notes=(*scan.notes, *found.notes))
    if dataset.exclude is not None:
        listed = read_exclusion(dataset.exclude)
        scan = note_exclusions(scan, listed)
        excluded |= {} if drawn_late else listed
        scan = without_excluded(scan, listed) if drawn_late else scan
    decisions = Decisions(excluded, relabelled)
    minimum = dataset.min_images_per_class or 0
    if minimum:
        scan = without_small_classes(scan, minimum)
        order = order and tuple(label for label in order if any(file.label == label for file in scan.files))
    split = dataset.split
    if note := _unused_fractions(scan, split):
        scan = replace(scan, notes=(*scan.notes, note))
    shares = SplitShares(split.validation, split.test, split.seed, _group_of(split.group_by))
    objects = objects or digests_of_objects(unknown_objects(scan), verify)
    return build_index(scan, shares, order, known, verify, False, decisions, minimum, objects)


def unknown_objects(scan: Scan) -> list[Path]:
    """The remote images of a scan whose digest the data do not say."""
    return [file.path for file in scan.files if isinstance(file.path, RemotePath) and file.path not in scan.digests]


def _unused_fractions(scan: Scan, split: Split) -> str:
    """That fractions were set for splits that the data set has itself."""
    given, defaults = {file.split for file in scan.files}, Split()
    names = [name for name in ("validation", "test") if name in given]
    unused = [f"dataset.split.{name}" for name in names if getattr(split, name) != getattr(defaults, name)]
    if len(names) == 2 and split.seed != defaults.seed:
        unused.append("dataset.split.seed")
    if not unused:
        return ""
    return f"Without effect: {', '.join(unused)}, as the data set has its own splits: {', '.join(names)}."


def _scan(root: Path, dataset: Dataset, is_test_set: bool = False) -> Scan:
    """The labelled files of the data set at ``root``; see :func:`~tlcli.datasets.layout.scan_folders`."""
    labels = dataset.labels
    if is_manifest(root):
        return with_normal_labels(scan_manifest(root, dataset.classes))
    listed = (list_below(root),) if isinstance(root, RemotePath) else ()
    if labels is None:
        scan = scan_folders(root, dataset.layout, dataset.classes, dataset.split_folders, is_test_set)
    else:
        rules = {name: partial(matches, **dict(rule)) for name, rule in labels.classes.items()}
        if labels.pattern is not None:
            scan = scan_label_pattern(root, labels.pattern, rules, dataset.classes)
        else:
            scan = scan_label_table(root, _label_table(labels, rules), dataset.classes)
        if dataset.layout == "auto" and all(file.split is None for file in scan.files):
            scan = with_splits_by_folder(scan, scan.root)
    return with_normal_labels(replace(scan, notes=(*listed, *scan.notes)))


def read_test_set(root: Path, dataset: Dataset, labels: Sequence[str], verify: bool = False) -> Index:
    """The index of another labelled folder, read as the config says, as a test set for a model with these classes.

    All images of all splits count; where the folder has a test split beside others, only that. Classes may be missing.
    What belongs to the config's own images is not applied: ``exclude``, ``corrections``, ``min_images_per_class``,
    drawn splits.

    Args:
        root: the folder.
        dataset: the section that the model was trained with.
        labels: classes of the model.
        verify: read every file, including those whose digest is recorded.

    Raises:
        DataError: the folder has no labelled images, or a class that the model does not know.
    """
    if not _is_there(root, verify):
        _raise_missing(root, "Give the folder of the labelled images; unpack an archive first.")
    layout = "auto" if dataset.layout == "split_folders" else dataset.layout
    own = {"exclude": None, "corrections": None, "min_images_per_class": None}
    dataset = dataset.model_copy(update={**own, "layout": layout})
    try:
        scan = _scan(root, dataset, is_test_set=True)
    except DataError as error:
        if error.code != "data.no_split_folders":
            raise
        scan = _scan(root, dataset.model_copy(update={"split_folders": None}), is_test_set=True)
    _refuse_unknown_classes(root, sorted({file.label for file in scan.files} - set(labels)), labels)
    scan = as_test_set(scan)
    shares = SplitShares(0, 0, group_of=_group_of(dataset.split.group_by))
    objects = digests_of_objects(unknown_objects(scan), verify)
    try:
        index = build_index(scan, shares, labels, verify=verify, is_test_set=True, objects=objects)
    except DataError as error:
        if error.code != "data.group_pattern_no_match":
            raise
        note = "dataset.split.group_by.pattern does not match all names: each image counts on its own."
        scan = replace(scan, notes=(*scan.notes, note))
        index = build_index(scan, SplitShares(0, 0), labels, verify=verify, is_test_set=True, objects=objects)
    found = {image.label for image in index.images}
    if missing := [label for label in labels if label not in found]:
        note = f"No images of {len(missing):,} of {len(labels):,} classes: {', '.join(missing[:10])}."
        index = replace(index, notes=(*index.notes, note))
    return index


def _refuse_unknown_classes(root: Path, unknown: Sequence[str], labels: Sequence[str]) -> None:
    if not unknown:
        return
    if splits := [label for label in unknown if parse_split_name(label)]:
        hint = f"If {splits[0]} is a split, give its folder: --data {shlex.quote(str(root / splits[0]))}"
    else:
        hint = "Name them as the run's classes are named, move them out of the folder, or train a run that has them."
    raise DataError(
        "data.unknown_classes",
        f"{root} has {len(unknown):,} classes that the run does not know: {', '.join(unknown[:10])}"
        f"{' ...' if len(unknown) > 10 else ''}. The run's classes: {', '.join(labels[:20])}"
        f"{' ...' if len(labels) > 20 else ''}.",
        hint,
    )


def dataset_folder(dataset: Dataset, verify: bool = False) -> tuple[Path | None, str]:
    """The folder or manifest of the images, or None if they must be fetched first; and why sources that are used
    without copying are unavailable. What is below an address is listed, once; with ``verify`` again."""
    if dataset.path is not None and _is_there(dataset.path, verify):
        return dataset.path, ""
    if isinstance(dataset.path, RemotePath):
        return None, "Check the address, dataset.path."
    problems = []
    for source in dataset.sources:
        try:
            if root := source_folder(source):
                return root, ""
        except DataError as error:
            problems.append(str(error))
    return None, " ".join(problems)


def _is_there(path: Path, verify: bool) -> bool:
    """Whether a path is that of a manifest, or of a folder that is not empty."""
    if is_manifest(path):
        return True
    if isinstance(path, RemotePath):
        list_below(path, verify)
    return path.is_dir() and any(path.iterdir())


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
    if isinstance(path, RemotePath):
        raise DataError("data.images_missing", f"There are no objects below {path}.", hint)
    if path.is_dir():
        raise DataError("data.folder_empty", f"The folder {path} is empty.", hint)
    if path.exists():
        raise not_a_folder(path, hint)
    raise DataError("data.images_missing", f"The images are missing: there is no folder {path}.", hint)


def how_to_get_images(
    dataset: Dataset, options: Sequence[str], origin: str | None = None, is_fixed: bool = False
) -> str:
    """What to do where the images are missing, as a hint.

    Args:
        dataset: the section.
        options: what gives this config to a command.
        origin: what ``--from`` names; by default the file at ``dataset.path``, if there is one.
        is_fixed: the config cannot be changed, as that of a run.
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
    if dataset.sources:
        return f"Fetch them again ({fetch})." if is_fixed else f"Run: {fetch}"
    return "Put the images there again." if is_fixed else "Put the images there, or set dataset.path to their folder."
