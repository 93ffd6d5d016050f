"""OpenVINO's cache of compiled graphs, and whether it is as it was written; OpenVINO takes a flipped byte for a weight.

Importing this module does not import OpenVINO, so that predict can check while it is imported.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tlcli.backbones.conversion import Exported
from tlcli.errors import ResourceError
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.files import cache_folder, sha256_file, write_text

_RECORD = "digests.json"


@dataclass(frozen=True)
class Compiled:
    """The place of a graph compiled in one way."""

    graph: Exported
    precision: str
    few: bool

    @property
    def folder(self) -> Path:
        """Where OpenVINO keeps it."""
        return cache_folder() / "compiled" / f"{self.graph.folder.name}-{self.precision}{'-few' if self.few else ''}"

    @cached_property
    def is_as_written(self) -> bool:
        """Whether it is there, byte for byte; read once. The graph's own files are not needed then."""
        mark_in_use(self.folder)
        mark_in_use(self.graph.folder)
        return as_written(self.folder)

    @contextmanager
    def kept(self) -> Iterator[Path | None]:
        """Where the body is to keep what it compiles, what is not as it was written removed before; None where nothing
        can be kept. At the end the digests of what it wrote are kept, too."""
        if self.is_as_written:
            before = _blobs(self.folder)
            yield self.folder
            if before != _blobs(self.folder):  # another OpenVINO, or the graph was converted anew: of no use to it
                self._record(before)
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in _blobs(self.folder):
                path.unlink(missing_ok=True)
            writable = os.access(self.folder, os.W_OK)
        except OSError:
            writable = False
        if not writable:
            yield None
            return
        yield self.folder
        self._record([])

    def _record(self, outdated: list[Path]) -> None:
        with suppress(OSError, ResourceError):  # a full disk: it saves half a second, and is no reason to end
            for path in outdated:
                path.unlink(missing_ok=True)
            if digests := _digests(self.folder):
                write_text(self.folder / _RECORD, json.dumps(digests))


def as_written(folder: Path) -> bool:
    """Whether the compiled graph in a folder is as it was written, byte for byte."""
    try:
        record = json.loads((folder / _RECORD).read_text())
        return bool(record) and record == _digests(folder)
    except (OSError, ValueError, RecursionError):
        return False


def _digests(folder: Path) -> dict[str, str]:
    digests = {}
    for path in _blobs(folder):
        with suppress(FileNotFoundError):  # another process removed it
            digests[path.name] = sha256_file(path)
    return digests


def _blobs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.blob"))
