"""images.csv: the images of a run as they were when it was trained, and how the images found now differ from them."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tlcli.datasets.index import Index, LabelledImage, content_digest
from tlcli.errors import ModelError
from tlcli.runs.files import read_csv, write_csv

_COLUMNS = ("path", "sha256", "split", "label", "given_label", "is_set_aside")
_OLDER = _COLUMNS[:4]
"""Of runs that were trained before the others were recorded."""


class RecordedImage(NamedTuple):
    """One line of images.csv."""

    path: str
    """Relative to the data folder."""
    sha256: str
    split: str
    label: str
    given: str
    """The label that the data gave."""
    is_set_aside: bool = False
    """Measured on, but not fitted on."""

    @property
    def is_fitted(self) -> bool:
        """The head was fitted on it."""
        return self.split == "train" and not self.is_set_aside


def write_images(run: Path, index: Index) -> None:
    """Writes images.csv: the images of all splits, those of test included."""
    rows = map(_recorded, (*index.images, *index.set_aside))
    write_csv(run / "images.csv", _COLUMNS, ((*row[:5], "yes" if row.is_set_aside else "no") for row in rows))


def read_images(run: Path, digest: str) -> list[RecordedImage]:
    """The images of a run, as they were when it was trained.

    Args:
        run: the run's directory.
        digest: that they must have, as run.json records it.

    Raises:
        ModelError: the file is missing, malformed or not the run's.
    """
    table = run / "images.csv"
    try:
        header, *rows = read_csv(table)
        images = [_parsed(*row) for row in rows]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise ModelError("model.run_unreadable", f"{table} cannot be read ({error}).", "Train again.") from error
    if tuple(header) not in (_COLUMNS, _OLDER) or content_digest(images) != digest:
        raise ModelError(
            "model.run_malformed", f"{table} is malformed: its images are not those that run.json records.",
            "Train again.",
        )  # fmt: skip
    return images


@dataclass(frozen=True)
class Difference:
    """How the images of a data set differ from those that a run was trained with; each a list of examples' texts."""

    renamed: tuple[str, ...]
    """Same content, class and split under another name: no change of the data."""
    added: tuple[str, ...]
    removed: tuple[str, ...]
    edited: tuple[str, ...]
    """Other content under the same name."""
    relabelled: tuple[str, ...]
    """In another class."""
    moved: tuple[str, ...]
    """In another split."""

    def __str__(self) -> str:
        """What changed, for a sentence: ``2 added (cat/7.jpg, ...)``."""
        kinds = {
            "added": self.added, "removed": self.removed, "with other content": self.edited,
            "with another class": self.relabelled, "in another split": self.moved,
        }  # fmt: skip
        return ", ".join(
            f"{len(found):,} {kind} ({found[0]}{', ...' if len(found) > 1 else ''})"
            for kind, found in kinds.items()
            if found
        )

    def counts(self) -> dict[str, int]:
        """The number of images of each kind that occurs."""
        return {kind: len(found) for kind, found in vars(self).items() if found}


def difference(before: Iterable[RecordedImage], now: Iterable[LabelledImage]) -> Difference:
    """Compares images by content, class and split; names only tell copies apart."""
    old, new = set(before), {_recorded(image) for image in now}
    left, right = _by_content(old - new), _by_content(new - old)
    found: dict[str, list[str]] = defaultdict(list)
    added: list[RecordedImage] = []
    removed: list[RecordedImage] = []
    for content in sorted(left.keys() | right.keys()):
        ours, theirs = left[content], right[content]
        for a, b in _paired(ours, theirs, lambda image: (image.label, image.split)):
            found["renamed"].append(f"{a.path}, now {b.path}")
        for a, b in _paired(ours, theirs, lambda image: image.label):
            found["moved"].append(f"{b.path}: {a.split}, now {b.split}")
        for a, b in _paired(ours, theirs, lambda image: ""):  # noqa: ARG005
            found["relabelled"].append(f"{b.path}: {a.label}, now {b.label}")
        removed += ours
        added += theirs
    edited = {image.path for image in added} & {image.path for image in removed}
    return Difference(
        renamed=tuple(sorted(found["renamed"])),
        added=tuple(sorted(image.path for image in added if image.path not in edited)),
        removed=tuple(sorted(image.path for image in removed if image.path not in edited)),
        edited=tuple(sorted(edited)),
        relabelled=tuple(sorted(found["relabelled"])),
        moved=tuple(sorted(found["moved"])),
    )


def _recorded(image: LabelledImage) -> RecordedImage:
    """As the file has it: bytes of a name that are not UTF-8 are escapes."""
    name = image.name.encode(errors="backslashreplace").decode()
    return RecordedImage(name, image.sha256, image.split, image.label, image.given, image.is_set_aside)


def _parsed(path: str, sha256: str, split: str, label: str, *others: str) -> RecordedImage:
    given, is_set_aside = others or (label, "no")
    return RecordedImage(path, sha256, split, label, given, is_set_aside == "yes")


def _by_content(images: Iterable[RecordedImage]) -> "defaultdict[str, list[RecordedImage]]":
    found: defaultdict[str, list[RecordedImage]] = defaultdict(list)
    for image in sorted(images):
        found[image.sha256].append(image)
    return found


def _paired(
    ours: list[RecordedImage], theirs: list[RecordedImage], key: Callable[[RecordedImage], object]
) -> list[tuple[RecordedImage, RecordedImage]]:
    """Takes pairs of one key out of both lists."""
    pairs = []
    for a in list(ours):
        b = next((image for image in theirs if key(image) == key(a)), None)
        if b is not None:
            ours.remove(a)
            theirs.remove(b)
            pairs.append((a, b))
    return pairs
