"""Converts a backbone to OpenVINO's IR once, and keeps it by the digest of all that it depends on."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from tlcli.backbones import keras_process
from tlcli.backbones.catalog import Backbone
from tlcli.backbones.weights import Weights
from tlcli.disk import cache_folder, sha256_file, sync_folder, write_text
from tlcli.progress import SILENT, Progress

EXPORT_VERSION = 2
"""Part of the digest: raise it when the graph that is written changes."""

_FILES = ("model.xml", "model.bin")


@dataclass(frozen=True)
class Exported:
    """A backbone in OpenVINO's format: uint8 [1, S, S, 3] in, float32 [1, D] out."""

    folder: Path

    @property
    def xml(self) -> Path:
        """The graph; the weights lie beside it."""
        return self.folder / "model.xml"


def exported(row: Backbone, size: int, pooling: str, weights: Weights, progress: Progress = SILENT) -> Exported:
    """The converted backbone, from the cache or made now (2 to 20 s).

    Raises:
        ModelError: the weights do not fit, or the conversion failed.
    """
    if found := cached_export(row, size, pooling, weights.sha256):
        return found
    folder = _folder(row, size, pooling, weights.sha256)
    with progress.stage(f"Converting {row.name} for OpenVINO (once)"):
        staging = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        try:
            request = {"job": "export", "name": row.name, "size": size, "pooling": pooling}
            keras_process.run_job({**request, "weights": str(weights.path), "out": str(staging)}, row.name)
            digests = {name: sha256_file(staging / name) for name in _FILES}
            write_text(staging / "digests.json", json.dumps(digests))
            if folder.exists():  # damaged
                shutil.rmtree(folder)
            try:
                staging.replace(folder)
            except OSError:  # another process was first
                if not _is_whole(folder):
                    raise
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return Exported(folder)


def cached_export(row: Backbone, size: int, pooling: str, weights_sha256: str) -> Exported | None:
    """The converted backbone if it lies whole in the cache; the weights' own file is not needed for it."""
    folder = _folder(row, size, pooling, weights_sha256)
    return Exported(folder) if _is_whole(folder) else None


def conversion_versions() -> dict[str, str]:
    """Versions of what builds and writes the graph; another one may write another graph."""
    return {"export": str(EXPORT_VERSION), **{name: metadata.version(name) for name in ("keras", "openvino")}}


def _folder(row: Backbone, size: int, pooling: str, weights_sha256: str) -> Path:
    """Its place in the cache, named by all that the converted graph depends on."""
    depends = [conversion_versions(), row.name, row.builder, asdict(row.scaling), size, pooling, weights_sha256]
    digest = hashlib.sha256(json.dumps(depends).encode()).hexdigest()
    return cache_folder() / "backbones" / f"{row.name}-{digest[:16]}"


def _is_whole(folder: Path) -> bool:
    try:
        digests = json.loads((folder / "digests.json").read_text())
        return all(sha256_file(folder / name) == digests[name] for name in _FILES)
    except (OSError, ValueError, KeyError, TypeError):
        return False
