"""Exclusion lists: text files that name images to leave out of a data set, one name a line, relative to its folder.

A line that begins with ``#`` is a comment. A line that begins with ``"`` is a JSON string, for names that contain line
breaks, begin with ``#`` or are not UTF-8.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.datasets.index import LabelledImage
from tlcli.datasets.labelled_files import Scan
from tlcli.datasets.walk import relative_name
from tlcli.errors import DataError, UsageError
from tlcli.system.files import write_text

_HEADER = "# Images to exclude, written by tlcli inspect"


@dataclass(frozen=True)
class Exclusion:
    """One entry of a list."""

    name: str
    reason: str
    active: bool = True
    """An inactive entry is written as a comment, for people to decide."""


def propose_exclusions(
    unreadable: Mapping[str, str],
    duplicates: Iterable[tuple[LabelledImage, LabelledImage, float | None]],
    label_issues: Iterable[tuple[LabelledImage, str, float]],
    outliers: Iterable[tuple[LabelledImage, float]],
) -> list[Exclusion]:
    """The images that should be excluded, each once.

    Active are unreadable images, redundant exact copies within a split, images with a copy in a split that is measured
    on, and training images with label issues. Label issues of validation images are inactive: a classifier that selects
    what it is measured on flatters itself. So are near duplicates within a split, and outliers.

    Args:
        unreadable: name to reason.
        duplicates: the image to keep, its copy, and their similarity (0 to 1); None for exact copies.
        label_issues: the image, the label that is more likely, and the probability of its own label.
        outliers: the image, and its distance from the fifth nearest other image.
    """
    proposed = [Exclusion(name, f"cannot be read: {reason}") for name, reason in unreadable.items()]
    for kept, copy, similarity in duplicates:
        kind = "exact copy of" if similarity is None else f"near duplicate ({similarity:.2f}) of"
        is_leak = kept.split != copy.split
        split = kept.split if is_leak else f"same split, {kept.split}"
        proposed.append(Exclusion(copy.name, f"{kind} {kept.name} ({split})", is_leak or similarity is None))
    for image, likelier, probability in label_issues:
        reason = f"{_describe(image)}; {likelier} is more likely (probability of {image.label}: {probability:.2f})"
        proposed.append(Exclusion(image.name, reason, image.split == "train"))
    for image, distance in outliers:
        reason = f"{_describe(image)}; outlier (distance from the fifth nearest image: {distance:.2f})"
        proposed.append(Exclusion(image.name, reason, active=False))
    chosen: dict[str, Exclusion] = {}
    for one in proposed:
        if one.name not in chosen or (one.active and not chosen[one.name].active):
            chosen[one.name] = one
    return list(chosen.values())


def _describe(image: LabelledImage) -> str:
    return f"{image.split} image labelled {image.label}"


def read_exclusion(path: Path) -> tuple[str, ...]:
    """The active names of a list.

    Raises:
        DataError: the file is unreadable, or a line is malformed.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(
            "data.exclusion_list_unreadable",
            f"The exclusion list {path} cannot be read: {reason}.",
            "Correct dataset.exclude, or write a list with: tlcli inspect --write-exclude FILE.",
        ) from error
    return tuple(_names(path, lines))


def _names(path: Path, lines: Sequence[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not text.startswith('"'):
            yield text
            continue
        try:
            yield json.loads(text)
        except ValueError as error:
            raise DataError(
                "data.exclusion_list_malformed",
                f"{path}:{number}: a line that begins with a quote must be a JSON string: {error}.",
            ) from error


def exclude_images(scan: Scan, names: Sequence[str]) -> Scan:
    """The scan without these images; notes say how many were excluded, and which names match no image."""
    excluded = set(names)
    files = {relative_name(file.path, scan.root): file for file in scan.files}
    kept = tuple(file for name, file in files.items() if name not in excluded)
    notes = [f"{len(scan.files) - len(kept):,} images are excluded by dataset.exclude."]
    if unknown := [name for name in dict.fromkeys(names) if name not in files]:
        notes.append(f"{len(unknown):,} names in dataset.exclude match no image, for example {unknown[0]!r}.")
    return replace(scan, files=kept, notes=(*scan.notes, *notes))


def write_exclusion(path: Path, description: str, exclusions: Sequence[Exclusion]) -> None:
    """Writes a list, the reason above each name. Active entries of an older list at this path stay active: those images
    were not inspected again, and somebody may have decided on them.

    Args:
        path: a new file, or one that this function wrote.
        description: one line for the header.
        exclusions: the entries.

    Raises:
        UsageError: the path is taken by something else.
        DataError: the older list is malformed.
    """
    check_replaceable(path)
    older = read_exclusion(path) if path.exists() else ()
    names = {one.name for one in exclusions}
    entries = [Exclusion(name, "excluded before") for name in older if name not in names]
    entries += [replace(one, active=one.active or one.name in older) for one in exclusions]
    lines = [_HEADER, _comment(description), "# To exclude an image that is commented out, delete the # before it.", ""]
    for one in entries:
        lines += [_comment(one.reason), ("" if one.active else "# ") + _format(one.name)]
    write_text(path, "\n".join(lines) + "\n")


def check_replaceable(path: Path) -> None:
    """Refuses to replace a file that :func:`write_exclusion` has not written.

    Raises:
        UsageError: it is such a file.
    """
    if path.exists() and not (path.is_file() and path.read_bytes().startswith(_HEADER.encode())):
        raise UsageError(
            "usage.file_exists",
            f"{path} exists and was not written by tlcli inspect.",
            "Give another file to --write-exclude.",
        )


def _comment(text: str) -> str:
    """One line of UTF-8, whatever names are in the text."""
    return "# " + " ".join(text.split()).encode("utf-8", "backslashreplace").decode()


def _format(name: str) -> str:
    """The name itself if it can be read back, else a JSON string."""
    is_plain = name.isprintable() and name == name.strip() and not name.startswith(("#", '"'))
    return name if is_plain else json.dumps(name)
