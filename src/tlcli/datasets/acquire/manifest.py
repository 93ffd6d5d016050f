"""What fetch installed in a directory, recorded in it: the file that makes the second fetch a matter of a moment."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from tlcli.system.files import write_text

NAME = ".tlcli-fetch.json"


def _as_utf8(value: object) -> object:
    """JSON has no names that are not UTF-8; their other bytes are written as ``\\udcff``."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_as_utf8)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class SourceRecord(_Record):
    """Which source a data set came from; holds no secret."""

    kind: str
    """The config's key: kaggle, competition, url, archive, folder, package."""
    name: Text
    """The value of this key: ``owner/name``, an address, a path."""
    subdir: Text = ""
    """The folder of it that is used; empty for all of it."""
    files: tuple[Text, ...] = ()
    """The files that are used; empty for all."""
    encoding: str | None = None
    """The encoding of names in its archives, where the config gives it."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class ArchiveRecord(_Record):
    """An archive that was unpacked."""

    name: Text
    sha256: str
    bytes: int


class DatasetManifest(_Record):
    """Where the files of a directory came from, and what they were found to be."""

    format: Literal[2] = 2
    source: SourceRecord
    version: str | None = None
    """As the source counts versions."""
    archives: tuple[ArchiveRecord, ...] = ()
    files: int
    bytes: int
    tree: str
    """Digest of every file's path, size and time of change: equal while nobody touches the directory."""
    contents: str = ""
    """The same without the paths: equal where files were only renamed or moved. Empty in older manifests."""
    licence: Text | None = None
    citation: Text | None = None
    fetched: str
    """When, in UTC, as ISO 8601."""
    tlcli: str
    """The version of tlcli that fetched."""
    read_as: str
    """Digest of how the config finds labels and splits."""
    images: dict[str, dict[Text, int]]
    """The number of images of each split and class."""
    unreadable: dict[Text, Text]
    """Unreadable images, each with the reason."""
    notes: tuple[Text, ...]
    """How the data set was read and what was left out, one sentence each."""
    by_hand: bool = False
    """Whether it came from a source that was named on the command line instead of the config's."""

    @property
    def readable(self) -> int:
        """The number of readable images."""
        return sum(sum(of_split.values()) for of_split in self.images.values())


def write_manifest(folder: Path, manifest: DatasetManifest) -> None:
    """Writes the manifest into the directory that it describes."""
    write_text(folder / NAME, manifest.model_dump_json(indent=2) + "\n")


def read_manifest(folder: Path) -> DatasetManifest | None:
    """The directory's manifest; None where it has none that this version can read."""
    try:
        return DatasetManifest.model_validate_json((folder / NAME).read_bytes())
    except (OSError, ValidationError):
        return None


@dataclass(frozen=True)
class Tree:
    """The files of a directory, without their content."""

    files: int
    bytes: int
    tree: str
    """See :attr:`DatasetManifest.tree`."""
    contents: str
    """See :attr:`DatasetManifest.contents`."""

    def change_since(self, manifest: DatasetManifest) -> str:
        """How this differs from what was fetched, in a few words."""
        if self.contents == manifest.contents:
            return "files were renamed or moved, their contents are the same"
        if self.files == manifest.files:
            return "files of other sizes or times"
        return f"{abs(self.files - manifest.files):,} files {'more' if self.files > manifest.files else 'fewer'}"


def tree_of(folder: Path) -> Tree:
    """Every file below the directory but the manifest itself."""
    total, hashing, contents = 0, hashlib.sha256(), []
    for name, path in sorted(_files(folder)):
        status = os.lstat(path)
        total += status.st_size
        contents.append((status.st_size, status.st_mtime_ns))
        hashing.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    without_paths = hashlib.sha256(repr(sorted(contents)).encode()).hexdigest()
    return Tree(len(contents), total, hashing.hexdigest(), without_paths)


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """The path below the directory, with ``/``, and the path of each file but the manifest; links are files."""
    pending = [""]
    while pending:
        below = pending.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{name}/")
                elif name != NAME:
                    yield name, entry.path
