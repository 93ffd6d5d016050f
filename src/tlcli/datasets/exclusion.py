"""Exclusion lists: text files that name images to leave out of a data set, one name a line, relative to its folder.

A line that begins with ``#`` is a comment. A line that begins with ``"`` is a JSON string, for names that contain line
breaks, begin with ``#`` or are not UTF-8. The comment directly above a name may begin with the reason in brackets, as
``# [outlier] ...``; names without one are excluded by hand.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.datasets.decisions import EXCLUDED_AS, EXCLUSION_REASONS, ExclusionReason
from tlcli.datasets.index import LabelledImage
from tlcli.datasets.labelled_files import Scan, listed_counts
from tlcli.datasets.walk import relative_name
from tlcli.errors import DataError, UsageError
from tlcli.system.files import write_text

_HEADER = "# Images to exclude, written by tlcli inspect"
_REASON = re.compile(rf"#\s*\[({'|'.join(EXCLUSION_REASONS)})\]")


@dataclass(frozen=True)
class Exclusion:
    """One entry of a list."""

    name: str
    reason: ExclusionReason
    explanation: str
    active: bool = True
    """An inactive entry is written as a comment, for people to decide."""


def propose_exclusions(
    unreadable: Mapping[str, str],
    duplicates: Iterable[tuple[LabelledImage, LabelledImage, float | None]],
    label_issues: Iterable[tuple[LabelledImage, str, float, float]],
    outliers: Iterable[tuple[LabelledImage, float]],
) -> list[Exclusion]:
    """The images that should be excluded, each once.

    Active are unreadable images, redundant exact copies within a split, and images with a copy in a split that is
    measured on. Inactive, for people to look at, are copies with different labels, near duplicates within a split,
    doubted labels (most are hard images with true labels where the network sees the classes poorly), and outliers.

    Args:
        unreadable: name to reason.
        duplicates: the image to keep, its copy, and their similarity (0 to 1); None for exact copies.
        label_issues: the image, the label that is more likely, and the probabilities of its own label and of that one.
        outliers: the image, and its distance from the fifth nearest other image.
    """
    proposed = [Exclusion(name, "unreadable", f"cannot be read: {reason}") for name, reason in unreadable.items()]
    for kept, copy, similarity in duplicates:
        kind = "exact copy of" if similarity is None else f"near duplicate ({similarity:.2f}) of"
        is_leak = kept.split != copy.split
        split = kept.split if is_leak else f"same split, {kept.split}"
        reason: ExclusionReason = "duplicate" if similarity is None else "near_duplicate"
        explanation = f"{kind} {kept.name} ({split})"
        if kept.label != copy.label:  # which of the labels is wrong is for people to say
            explanation += f"; labelled {copy.label} here and {kept.label} there: decide which to keep"
            proposed += [
                Exclusion(one.name, reason, explanation, active=False) for one in (copy, kept) if one.split != "test"
            ]
            continue
        proposed.append(Exclusion(copy.name, reason, explanation, is_leak or similarity is None))
    for image, likelier, own, other in label_issues:
        explanation = f"{_describe(image)} (probability {own:.2f}), perhaps {likelier} ({other:.2f})"
        proposed.append(Exclusion(image.name, "label", explanation, active=False))
    for image, distance in outliers:
        explanation = f"{_describe(image)}; outlier (distance from the fifth nearest image: {distance:.2f})"
        proposed.append(Exclusion(image.name, "outlier", explanation, active=False))
    chosen: dict[str, Exclusion] = {}
    for one in proposed:
        if one.name not in chosen or (one.active and not chosen[one.name].active):
            chosen[one.name] = one
    return list(chosen.values())


def _describe(image: LabelledImage) -> str:
    return f"{image.split} image labelled {image.label}"


def read_exclusion(path: Path) -> dict[str, ExclusionReason]:
    """The active names of a list, in its order, and the reason of each.

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
    reasons: dict[str, ExclusionReason] = {}
    for name, reason in _entries(path, lines):
        reasons.setdefault(name, reason)
    return reasons


def _entries(path: Path, lines: Sequence[str]) -> Iterator[tuple[str, ExclusionReason]]:
    reason: ExclusionReason = "by_hand"
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            found = _REASON.match(text)
            reason = next((one for one in EXCLUSION_REASONS if found and one == found[1]), "by_hand")
            continue
        yield _name(path, number, text), reason
        reason = "by_hand"


def _name(path: Path, number: int, text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError as error:
        raise DataError(
            "data.exclusion_list_malformed",
            f"{path}:{number}: a line that begins with a quote must be a JSON string: {error}.",
        ) from error


def note_exclusions(scan: Scan, excluded: Mapping[str, ExclusionReason]) -> Scan:
    """The scan with notes that say how many of its images are excluded and why, and which names match no image."""
    names = {relative_name(file.path, scan.root) for file in scan.files}
    reasons = [reason for name, reason in excluded.items() if name in names]
    counts = Counter(EXCLUDED_AS[reason] for reason in reasons)
    why = f" ({listed_counts(counts, len(counts))})" if counts else ""
    notes = [f"{len(reasons):,} images are excluded by dataset.exclude{why}."]
    if unknown := [name for name in excluded if name not in names]:
        notes.append(f"{len(unknown):,} names in dataset.exclude match no image, for example {unknown[0]!r}.")
    return replace(scan, notes=(*scan.notes, *notes))


def without_excluded(scan: Scan, excluded: Mapping[str, ExclusionReason]) -> Scan:
    """The scan without these images. Splits that are drawn from it are those of runs that were trained before splits
    were drawn from all images."""
    files = tuple(file for file in scan.files if relative_name(file.path, scan.root) not in excluded)
    return replace(scan, files=files)


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
    older = read_exclusion(path) if path.exists() else {}
    names = {one.name for one in exclusions}
    entries = [Exclusion(name, reason, "excluded before") for name, reason in older.items() if name not in names]
    entries += [replace(one, active=one.active or one.name in older) for one in exclusions]
    lines = [_HEADER, _comment(description), "# To exclude an image that is commented out, delete the # before it.", ""]
    for one in entries:
        reason = "" if one.reason == "by_hand" else f"[{one.reason}] "
        lines += [_comment(f"{reason}{one.explanation}"), ("" if one.active else "# ") + _format(one.name)]
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
