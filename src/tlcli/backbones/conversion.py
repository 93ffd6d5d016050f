"""Converts a backbone to OpenVINO's IR once, and keeps it by the digest of all that it depends on."""

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from tlcli.backbones import keras_process
from tlcli.backbones.catalog import Backbone
from tlcli.backbones.weights import Weights
from tlcli.errors import ModelError, ResourceError
from tlcli.progress import SILENT, Progress
from tlcli.system.cache.entries import staging_path
from tlcli.system.cache.fallback import actual_path, create_in_cache, report_deletion
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.files import cache_folder, disk_problem, sha256_file, sync_folder, write_text

EXPORT_VERSION = 2
"""Part of the digest: raise it when the graph that is written changes."""

GRAPH_FILES = ("model.xml", "model.bin")
_DIGESTS = "digests.json"


@dataclass(frozen=True)
class Exported:
    """A backbone in OpenVINO's format: uint8 [1, S, S, 3] in, float32 [1, D] out."""

    folder: Path

    @property
    def xml(self) -> Path:
        """The graph; the weights lie beside it."""
        return self.folder / "model.xml"

    @property
    def sha256(self) -> str:
        """Of the files of the graph, as they were written."""
        digests = json.loads((self.folder / _DIGESTS).read_text())
        return hashlib.sha256("".join(digests[name] for name in GRAPH_FILES).encode()).hexdigest()


def exported(row: Backbone, size: int, pooling: str, weights: Weights, progress: Progress = SILENT) -> Exported:
    """The converted backbone, from the cache or made now (2 to 20 s).

    Raises:
        ModelError: the weights do not fit, or the conversion failed.
        ResourceError: their file went away.
    """
    if found := cached_export(row, size, pooling, weights.sha256):
        return found
    request = {"job": "export", "name": row.name, "size": size, "pooling": pooling, "weights": str(weights.path)}

    def write(staging: Path) -> None:
        try:
            keras_process.run_job({**request, "out": str(staging)}, row.name)
        except ModelError as error:
            if weights.path.is_file():
                raise
            raise ResourceError(f"{weights.path} went away while it was in use; run the command again.") from error

    with progress.stage(f"Converting {row.name} for OpenVINO (once)"):
        return kept(export_folder(row, size, pooling, weights.sha256), write, progress=progress)


def kept(
    folder: Path, write: Callable[[Path], None], files: Sequence[str] = GRAPH_FILES, progress: Progress = SILENT
) -> Exported:
    """Makes a folder of the cache, whole or not at all; another process that makes the same may be first.

    Args:
        folder: its place; where the cache cannot be written, it is made for this process alone.
        write: writes the files into the folder it is given.
        files: their names.
        progress: told where it is not kept.

    Raises:
        ResourceError: the disk is full, broken or gone.
    """
    mark_in_use(folder)
    return Exported(create_in_cache(folder, lambda place: _make(place, write, files), progress))


def _make(folder: Path, write: Callable[[Path], None], files: Sequence[str]) -> None:
    staging = staging_path(folder)
    try:
        staging.mkdir(parents=True)
        with report_deletion(staging):
            write(staging)
        digests = {name: sha256_file(staging / name) for name in files}
        write_text(staging / _DIGESTS, json.dumps(digests))
        _put(staging, folder, files)
        sync_folder(folder.parent)
    except OSError as error:
        if problem := disk_problem(error, folder):
            raise problem from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _put(staging: Path, folder: Path, files: Sequence[str]) -> None:
    """Gives the staging folder its name; what is there and damaged goes, and what is whole stays."""
    for _ in range(_TRIES):
        try:
            staging.replace(folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if is_whole(folder, files):  # another process was first
            return
        _put_away(folder, staging_path(folder))
    raise ResourceError(f"{folder} is damaged again and again while it is made; check its disk.")


def _put_away(folder: Path, damaged: Path) -> None:
    with suppress(FileNotFoundError):  # another process has moved it away
        folder.replace(damaged)  # in one step: nobody finds half of it
    shutil.rmtree(damaged, ignore_errors=True)


_TRIES = 20
"""Between moving a damaged folder away and taking its name another process may be faster, with a damaged one."""


def cached_export(row: Backbone, size: int, pooling: str, weights_sha256: str) -> Exported | None:
    """The converted backbone if it lies whole in the cache; the weights' own file is not needed for it."""
    folder = actual_path(export_folder(row, size, pooling, weights_sha256))
    mark_in_use(folder)
    return Exported(folder) if is_whole(folder) else None


def conversion_versions() -> dict[str, str]:
    """Versions of what builds and writes the graph; another one may write another graph."""
    return {"export": str(EXPORT_VERSION), **{name: metadata.version(name) for name in ("keras", "openvino")}}


def export_folder(row: Backbone, size: int, pooling: str, weights_sha256: str) -> Path:
    """Its place in the cache, named by all that the converted graph depends on."""
    depends = [conversion_versions(), row.name, row.builder, asdict(row.scaling), size, pooling, weights_sha256]
    digest = hashlib.sha256(json.dumps(depends).encode()).hexdigest()
    return cache_folder() / "backbones" / f"{row.name}-{digest[:16]}"


def is_whole(folder: Path, files: Sequence[str] = GRAPH_FILES) -> bool:
    """Whether the files of a folder of the cache are there, as they were written."""
    try:
        digests = json.loads((folder / _DIGESTS).read_text())
        return all(sha256_file(folder / name) == digests[name] for name in files)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
