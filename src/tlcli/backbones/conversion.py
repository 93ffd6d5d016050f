"""Converts a backbone to OpenVINO's format once, and caches it under a digest of everything it depends on."""

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.backbones import keras_process
from tlcli.errors import ModelError, ResourceError
from tlcli.progress import SILENT, Progress
from tlcli.system.cache.entries import staging_path
from tlcli.system.cache.fallback import actual_path, create_in_cache
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.files import cache_folder, disk_problem, sha256_file, sync_folder, write_text

if TYPE_CHECKING:
    from tlcli.backbones.spec import BackboneSpec

CONVERSION_VERSION = 3
"""Part of the digest: increase it when the files that a conversion writes change."""

NORMALIZATION_FILE = "normalization.json"
"""The layer normalisation behind the pooling (``gamma``, ``beta``, ``epsilon``), or null."""
GRAPH_FILES = ("model.xml", "model.bin", NORMALIZATION_FILE)
_DIGESTS = "digests.json"


@dataclass(frozen=True)
class ConvertedGraph:
    """A backbone in OpenVINO's format: uint8 [1, S, S, 3] -> float32 [1, D]."""

    folder: Path

    @property
    def xml(self) -> Path:
        """The graph; its weights are beside it in ``model.bin``."""
        return self.folder / "model.xml"

    @property
    def sha256(self) -> str:
        """Hex digest of the graph's files as they were written.

        Raises:
            OSError, ValueError, KeyError, TypeError: the recorded digests are unreadable.
        """
        digests = json.loads((self.folder / _DIGESTS).read_text())
        return hashlib.sha256("".join(digests[name] for name in GRAPH_FILES).encode()).hexdigest()


def convert(spec: "BackboneSpec", progress: Progress = SILENT) -> ConvertedGraph:
    """The converted backbone, from the cache or converted now (2 to 20 s).

    Raises:
        ModelError: the weights do not fit the network, or the conversion failed.
        ResourceError: the weights file disappeared, or the disk is full.
    """
    if found := cached_graph(spec):
        return found
    row, weights = spec.row, spec.weights.file
    request = {"job": "convert", "name": row.name, "size": spec.size, "pooling": spec.pooling, "weights": str(weights)}

    def write(staging: Path) -> None:
        try:
            keras_process.run_job({**request, "out": str(staging)}, row.name)
        except ModelError as error:
            if weights.is_file():
                raise
            raise ResourceError(
                "resource.file_disappeared", f"{weights} disappeared during the conversion.", "Run the command again."
            ) from error

    with progress.stage(f"Converting {row.name} for OpenVINO (once)"):
        return ConvertedGraph(kept(graph_folder(spec), write, progress=progress))


def kept(
    folder: Path, write: Callable[[Path], None], files: Sequence[str] = GRAPH_FILES, progress: Progress = SILENT
) -> Path:
    """Writes a folder of the cache atomically; several processes may write the same one.

    Args:
        folder: its path in the cache; if the cache is not writable, a temporary folder of this process replaces it.
        write: writes the files into the folder that it receives.
        files: their names.
        progress: receives a note if the folder is temporary.

    Returns:
        The folder where it is.

    Raises:
        ResourceError: the disk is full, broken or gone.
    """
    mark_in_use(folder)
    return create_in_cache(folder, lambda path: _write_folder(path, write, files), progress)


def _write_folder(folder: Path, write: Callable[[Path], None], files: Sequence[str]) -> None:
    staging = staging_path(folder)
    try:
        staging.mkdir(parents=True)
        write(staging)
        digests = {name: sha256_file(staging / name) for name in files}
        write_text(staging / _DIGESTS, json.dumps(digests))
        _publish(staging, folder, files)
        sync_folder(folder.parent)
    except OSError as error:
        if problem := disk_problem(error, folder):
            raise problem from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(staging: Path, folder: Path, files: Sequence[str]) -> None:
    """Renames the staging folder; an existing folder stays if it is intact, and is replaced if it is damaged."""
    while True:
        try:
            staging.replace(folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if is_whole(folder, files):  # another process was first
            return
        damaged = staging_path(folder)
        with suppress(FileNotFoundError):  # another process removed it
            folder.replace(damaged)  # one step, so that no process sees half of it
        shutil.rmtree(damaged, ignore_errors=True)


def cached_graph(spec: "BackboneSpec") -> ConvertedGraph | None:
    """The converted backbone if it is intact in the cache; the weights file is not needed for it."""
    folder = actual_path(graph_folder(spec))
    mark_in_use(folder)
    return ConvertedGraph(folder) if is_whole(folder) else None


def conversion_versions() -> dict[str, str]:
    """Versions of everything that builds and writes the graph; another version may write another graph."""
    return {"conversion": str(CONVERSION_VERSION), **{name: metadata.version(name) for name in ("keras", "openvino")}}


def graph_folder(spec: "BackboneSpec") -> Path:
    """The folder of the converted backbone in the cache, named by everything that the graph depends on."""
    row = spec.row
    network = [row.name, row.builder, asdict(row.scaling), spec.size, spec.pooling, spec.weights.sha256]
    digest = hashlib.sha256(json.dumps([conversion_versions(), *network]).encode()).hexdigest()
    return cache_folder() / "backbones" / f"{row.name}-{digest[:16]}"


def is_whole(folder: Path, files: Sequence[str] = GRAPH_FILES) -> bool:
    """Whether all files of a folder of the cache are present and match their recorded digests."""
    try:
        digests = json.loads((folder / _DIGESTS).read_text())
        return all(sha256_file(folder / name) == digests[name] for name in files)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
