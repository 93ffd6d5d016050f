"""OpenVINO's cache of compiled graphs, with digests: OpenVINO itself would take a flipped byte for a weight.

Importing this module does not import OpenVINO, so that predict can check the cache during that import.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tlcli.backbones.graph import ConvertedGraph
from tlcli.errors import ResourceError
from tlcli.system.cache.locks import alone, mark_in_use
from tlcli.system.cpu import threads
from tlcli.system.files import cache_folder, sha256_file, write_text

_RECORD = "digests.json"


@dataclass(frozen=True)
class CompiledGraph:
    """A graph as compiled in one way, and its folder in the cache."""

    graph: ConvertedGraph
    precision: str
    low_latency: bool = False
    """Compiled for a few images instead of for throughput; a tenth of a second faster to load."""

    @property
    def folder(self) -> Path:
        """The folder that OpenVINO writes to. A graph is compiled for a number of threads."""
        suffix = "-latency" if self.low_latency else ""
        return cache_folder() / "compiled" / f"{self.graph.folder.name}-{self.precision}-{threads()}t{suffix}"

    @cached_property
    def is_cached(self) -> bool:
        """Whether the compiled graph is intact in the cache; read once. The graph's own files are not needed then."""
        mark_in_use(self.folder)
        mark_in_use(self.graph.folder)
        return is_intact(self.folder)

    @contextmanager
    def cache(self) -> Iterator[Path | None]:
        """The folder for what the body compiles, without damaged files; None if nothing can be cached. The digests of
        what the body wrote are recorded at the end. Where several processes would compile, one does, and the others
        wait and load it: OpenVINO fails where two write the same file."""
        if self.is_cached:
            before = _blobs(self.folder)
            yield self.folder
            if before != _blobs(self.folder):  # another OpenVINO, or the graph was converted again: of no use to it
                self._record(before)
            return
        with alone(self.folder):
            if is_intact(self.folder):  # compiled meanwhile
                yield self.folder
            elif not self._is_emptied():
                yield None
            else:
                yield self.folder
                self._record([])

    def _is_emptied(self) -> bool:
        """Whether the folder can be written, which has no files of earlier compilations then."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in _blobs(self.folder):
                path.unlink(missing_ok=True)
        except OSError:
            return False
        return os.access(self.folder, os.W_OK)

    def _record(self, outdated: list[Path]) -> None:
        with suppress(OSError, ResourceError):  # a full disk: the cache saves half a second, and is no reason to fail
            for path in outdated:
                path.unlink(missing_ok=True)
            if digests := _digests(self.folder):
                write_text(self.folder / _RECORD, json.dumps(digests))


def is_intact(folder: Path) -> bool:
    """Whether the compiled graph in a folder matches its recorded digests."""
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
