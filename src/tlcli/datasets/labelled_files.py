"""What reading a data folder gives, however its labels are written: labelled files, and what was left out."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tlcli.datasets.split_names import SplitName
from tlcli.datasets.walk import is_image, relative_name, walk
from tlcli.images.recognition import kind_of_suffix


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A labelled file that was not read yet."""

    path: Path
    label: str
    split: SplitName | None = None
    """The split that the data assigns it to; None if the data has no splits."""
    group: str | None = None
    """The group that the labels assign it to."""


@dataclass(frozen=True)
class LeftOut:
    """Files that are not used, for one reason."""

    count: int
    reason: str
    """What they are, for a sentence: ``images in no class folder``."""
    example: str = ""

    def __str__(self) -> str:
        return f"Left out: {self.count:,} {self.reason}{self.example and f', for example {self.example}'}."


@dataclass(frozen=True)
class Scan:
    """The labelled files of a data folder."""

    root: Path
    """The folder that names of images are relative to."""
    files: tuple[LabelledFile, ...]
    read_as: str = "class folders"
    """How the folder was read, for a sentence."""
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    """What else users should know about how the folder was read, one sentence each."""
    digests: Mapping[Path, str] = field(default_factory=dict)
    """Hex sha256 of files, where the data say it."""


def with_unused_files(scan: Scan, folder: Path, reason: str, ignored: Iterable[Path] = ()) -> Scan:
    """The scan, with every file in ``folder`` that it does not use counted.

    Args:
        scan: the labelled files.
        folder: it and its subfolders are searched.
        reason: why images are not used, for a sentence: ``outside class folders``.
        ignored: files and folders that are accounted for otherwise.
    """
    used, apart = {file.path for file in scan.files}, set(ignored)
    images: Counter[str] = Counter()
    others: Counter[str] = Counter()
    examples: dict[bool, str] = {}
    inside = os.path.join(scan.root, "")  # noqa: PTH118 - the folders beside the classes say more than those above
    for path in walk(folder):
        if path in used or path in apart or not apart.isdisjoint(path.parents):
            continue
        name = relative_name(path, folder)
        if is_image(path):
            below = relative_name(path, scan.root) if os.fspath(path).startswith(inside) else name
            images[f"in {below.partition('/')[0]}" if "/" in below else "directly in the data folder"] += 1
        else:
            kind = kind_of_suffix(path.name)
            others[f"{path.suffix or path.name}{f' ({kind.name})' if kind else ''}"] += 1
        examples.setdefault(is_image(path), name)
    left_out = []
    if images:
        left_out.append(LeftOut(images.total(), f"images {reason} ({listed_counts(images)})", examples[True]))
    if others:
        left_out.append(
            LeftOut(others.total(), f"files that are not read as images ({listed_counts(others)})", examples[False])
        )
    return replace(scan, left_out=(*scan.left_out, *left_out))


def listed_counts(counted: Counter[str], at_most: int = 5) -> str:
    """The most frequent first, for a sentence: ``7 in a, 2 in b, and more``."""
    more = len(counted) - at_most
    listed = ", ".join(f"{count:,} {what}" for what, count in counted.most_common(at_most))
    return f"{listed}, and more" if more > 0 else listed


def without_small_classes(scan: Scan, minimum: int) -> Scan:
    """The scan without classes of fewer than ``minimum`` images, which are listed."""
    counts = Counter(file.label for file in scan.files)
    small = Counter({label: count for label, count in sorted(counts.items()) if count < minimum})
    if not small:
        return scan
    reason = f"images of {len(small)} classes with fewer than {minimum} images ({listed_counts(small, 20)})"
    files = tuple(file for file in scan.files if file.label not in small)
    return replace(scan, files=files, left_out=(*scan.left_out, LeftOut(small.total(), reason)))


def as_test_set(scan: Scan) -> Scan:
    """The scan with all files in the split test: those that the data says are for test, else all; which is noted."""
    of_split = Counter(file.split or "train" for file in scan.files)
    others: Counter[str] = Counter({split: count for split, count in of_split.items() if split != "test"})
    given = any(file.split for file in scan.files)
    files, left_out, notes = scan.files, scan.left_out, scan.notes
    if given and "test" in of_split and others:
        files = tuple(file for file in files if file.split == "test")
        left_out = (*left_out, LeftOut(others.total(), f"images of other splits ({listed_counts(others)})"))
    elif given and others:
        notes = (*notes, f"There is no test split: all images count ({listed_counts(others)}).")
    return replace(scan, files=tuple(replace(file, split="test") for file in files), left_out=left_out, notes=notes)


def normal_label(label: str) -> str:
    """A class name in Unicode's composed form (NFC), which macOS decomposes."""
    return unicodedata.normalize("NFC", label)


def with_normal_labels(scan: Scan) -> Scan:
    """The scan with labels in composed form, see :func:`normal_label`.

    Notes say which labels were one name in two forms, and which differ only in case.
    """
    forms: dict[str, set[str]] = defaultdict(set)
    for label in {file.label for file in scan.files}:
        forms[normal_label(label)].add(label)
    normal = {label: normal_label(label) for written in forms.values() for label in written}
    files = tuple(
        file if normal[file.label] == file.label else replace(file, label=normal[file.label]) for file in scan.files
    )
    return replace(scan, files=files, notes=(*scan.notes, *_note_similar(forms)))


def _note_similar(forms: dict[str, set[str]]) -> Iterator[str]:
    for label, written in sorted(forms.items()):
        if len(written) > 1:
            yield f"The class '{label}' is written in {len(written)} Unicode forms, which are read as one class."
    by_case: dict[str, list[str]] = defaultdict(list)
    for label in sorted(forms):
        by_case[" ".join(label.casefold().split())].append(label)
    for labels in by_case.values():
        if len(labels) > 1:
            yield f"The classes {', '.join(map(repr, labels))} differ only in case or spaces; are they one class?"
