"""Scanning a data directory: every image is checked once, and the result is recorded in the manifest."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import tlcli
from tlcli.datasets.acquire.manifest import DatasetManifest, SourceRecord, tree_of
from tlcli.datasets.index import Index
from tlcli.datasets.walk import is_image, relative_name, walk
from tlcli.errors import DataError
from tlcli.progress import Progress
from tlcli.system.prefetch import ahead

if TYPE_CHECKING:
    from tlcli.images.preparation import Preparation


@dataclass(frozen=True)
class DirectoryScan:
    """What a data directory holds."""

    images: dict[str, dict[str, int]]
    """The number of readable images of each split and class."""
    unreadable: dict[str, str]
    """Unreadable images, each with the reason."""
    notes: tuple[str, ...]
    """How the directory was read and what was left out, one sentence each."""


@dataclass(frozen=True)
class DatasetReader:
    """How a data directory is read, and under what terms its images may be used."""

    scan: Callable[[Path, Mapping[str, str]], DirectoryScan]
    """Scans a directory; also takes the sha256 of files that are known, by path."""
    read_as: str
    """Digest of all settings that the result of ``scan`` depends on."""
    licence: str | None = None
    citation: str | None = None

    def describe(self, root: Path, source: SourceRecord, known: Mapping[str, str] = {}) -> DatasetManifest:
        """The manifest of the data set in ``root``, which came from ``source``.

        Raises:
            DataError: the directory does not hold what the config says, or no image in it is readable.
        """
        try:
            scan = self.scan(root, known)
        except DataError as error:
            raise _images_packed(root) or error from None
        manifest = DatasetManifest(
            source=source,
            licence=self.licence,
            citation=self.citation,
            fetched=datetime.now(UTC).isoformat(timespec="seconds"),
            tlcli=tlcli.__version__,
            read_as=self.read_as,
            **vars(scan),
            **vars(tree_of(root)),
        )
        if not manifest.readable:
            _check_unreadable(manifest)
        return manifest


def check_mostly_readable(manifest: DatasetManifest) -> None:
    """Checks that a data set that is to be installed is none of mostly unreadable images (pointers of Git LFS, pages).

    Raises:
        DataError: more than half of the images are unreadable.
    """
    if len(manifest.unreadable) > manifest.readable:
        _check_unreadable(manifest)


def _check_unreadable(manifest: DatasetManifest) -> None:
    for name, reason in manifest.unreadable.items():
        bad = len(manifest.unreadable)
        message = f"{bad:,} of {bad + manifest.readable:,} images are unreadable, for example {name}: {reason}."
        raise DataError("data.images_unreadable", message, "Do what the reason says, or replace the images.")


_UNPACKING = {
    ".zip": "unzip {0} -d {1}", ".rar": "unrar x {0} {1}/", ".7z": "7z x {0} -o{1}",
    **dict.fromkeys((".tar", ".tgz", ".gz", ".xz", ".bz2", ".zst"), "mkdir {1} && tar -xf {0} -C {1}"),
}  # fmt: skip
"""How archives are unpacked, by their suffix."""


def _images_packed(root: Path) -> DataError | None:
    """The error for a directory that holds archives instead of images; None for others."""
    if not root.is_dir():
        return None
    files = list(walk(root))
    packed = [path for path in files if path.suffix.lower() in _UNPACKING]
    if not packed or any(map(is_image, files)):
        return None
    names = [shlex.quote(relative_name(path, root)) for path in packed]
    first = names[0].partition(".")[0]
    command = _UNPACKING[packed[0].suffix.lower()].format(names[0], first)
    listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return DataError(
        "data.images_packed",
        f"{root} holds no image, but archives ({len(names):,}): {listed}.",
        f"Unpack each yourself, for example: {command}; then give the folder that holds {first}: --from FOLDER, or as "
        "dataset.path.",
    )


def scan_images(index: Index, preparation: "Preparation", progress: Progress) -> DirectoryScan:
    """Checks every image of an index without decoding all of it.

    Args:
        index: the images.
        preparation: formats that are accepted, and limits.
        progress: receives every image.
    """
    from tlcli.images.decode import BadImageError, quick_check  # noqa: PLC0415 - a second fetch must not pay for NumPy
    from tlcli.images.statistics import suggestions_from_sample  # noqa: PLC0415

    unreadable = dict(index.bad)
    with progress.stage("Checking images", len(index.images), "images"):
        for image, checked in ahead(lambda image: quick_check(image.path, preparation), index.images):
            try:
                checked.result()
            except BadImageError as error:
                unreadable[image.name] = error.reason
            progress.advance()
    readable = replace(index, images=tuple(image for image in index.images if image.name not in unreadable))
    counts: dict[str, dict[str, int]] = dict(readable.counts().items())
    suggested = suggestions_from_sample([image.path for image in readable.images], preparation)
    return DirectoryScan(counts, unreadable, (*index.notes, *suggested))
