"""Quantised backbones: computed once from a converted one and calibration images, cached with the images' digests.

A quantised graph is identified by the digest of its own files, since NNCF does not promise the same graph twice.
Running one does not need NNCF.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.catalog import Backbone
from tlcli.backbones.graph import (
    GRAPH_FILES,
    NORMALIZATION_FILE,
    ConvertedGraph,
    QuantizationInputs,
    QuantizedGraph,
)
from tlcli.backbones.own_process import disk_needed, run_module
from tlcli.errors import ModelError
from tlcli.progress import SILENT, Progress
from tlcli.system.cache.folders import is_whole, kept
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.extras import require
from tlcli.system.files import cache_folder, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RECORD = "calibration.json"
QUANTIZED_FILES = (*GRAPH_FILES, _RECORD)


def quantize(
    row: Backbone, calibration: QuantizationInputs, base: ConvertedGraph, images: "Mapping[str, NDArray[np.uint8]]",
    progress: Progress = SILENT,
) -> QuantizedGraph:  # fmt: skip
    """Quantises a backbone (10 s to some minutes) and caches the result.

    Args:
        row: the backbone.
        calibration: recorded with the digests of the images.
        base: the converted backbone.
        images: prepared images, uint8 [H, W, 3], by sha256.
        progress: receives the stage.

    Raises:
        UsageError: NNCF is not installed.
        ModelError: it failed.
    """
    require("int8", "Quantising to int8", ("nncf",))
    digests = sorted(images)

    def write(staging: Path) -> None:
        np.save(staging / "images.npy", np.stack([images[digest] for digest in digests]))
        request = {"graph": str(base.xml), "images": str(staging / "images.npy"), "out": str(staging)}
        # NNCF sends usage statistics unless it is told that it runs as a test.
        environment, enough = {"NNCF_CI": "1"}, disk_needed(row.name)
        run_module("tlcli.backbones.quantize_process", request, environment, f"Quantising {row.name}", enough)
        (staging / "images.npy").unlink()
        shutil.copyfile(base.folder / NORMALIZATION_FILE, staging / NORMALIZATION_FILE)
        record = {"created": datetime.now(UTC).isoformat(), "calibration": asdict(calibration), "images": digests}
        write_text(staging / _RECORD, json.dumps(record))

    versions = [metadata.version(name) for name in ("nncf", "openvino")]
    depends = hashlib.sha256(json.dumps([versions, asdict(calibration), digests]).encode()).hexdigest()
    with progress.stage(f"Quantising {row.name} with {len(digests)} images (once)"):
        folder = kept(_folder() / f"{row.name}-int8-{depends[:16]}", write, QUANTIZED_FILES, progress)
    quantized = _read(folder)
    if quantized is None:
        raise ModelError(
            "model.cache_removed", f"The quantised {row.name} in {_folder()} was removed while it was written.",
            "Run the command again.",
        )  # fmt: skip
    return quantized


def find_quantized(row: Backbone, calibration: QuantizationInputs, present: AbstractSet[str]) -> QuantizedGraph | None:
    """The oldest quantised backbone of this calibration whose images are all among those present (sha256).

    It must have at least half as many images as are available: one made of ten images is not reused for five thousand.
    """
    enough = min(calibration.wanted, len(present)) / 2
    found = [
        one for one in _all(row)
        if one.calibration == calibration and set(one.images) <= present and len(one.images) >= enough
    ]  # fmt: skip
    oldest = min(found, key=lambda one: (one.created, one.graph.folder.name), default=None)
    if oldest:
        mark_in_use(oldest.graph.folder)
    return oldest


def find_quantized_graph(row: Backbone, sha256: str) -> QuantizedGraph | None:
    """The quantised backbone with this digest, if it is intact in the cache."""
    found = next((one for one in _all(row) if one.sha256 == sha256), None)
    if found:
        mark_in_use(found.graph.folder)
    return found


def _folder() -> Path:
    return cache_folder() / "backbones"


def _all(row: Backbone) -> Iterator[QuantizedGraph]:
    for folder in sorted(_folder().glob(f"{row.name}-int8-*")):
        if found := _read(folder):
            yield found


def _read(folder: Path) -> QuantizedGraph | None:
    """The quantised backbone in a folder, if it is intact."""
    mark_in_use(folder, used=False)
    if not is_whole(folder, QUANTIZED_FILES):
        return None
    try:
        record = json.loads((folder / _RECORD).read_text())
        calibration = QuantizationInputs(**record["calibration"])
        return QuantizedGraph(ConvertedGraph(folder), tuple(record["images"]), record["created"], calibration)
    except (KeyError, TypeError, ValueError, RecursionError):  # written by another version of tlcli
        return None
