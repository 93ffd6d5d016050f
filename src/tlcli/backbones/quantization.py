"""Quantised backbones: made once from a converted one and calibration images, kept with the list of these images.

A quantised graph is known by the digest of its own files, since NNCF does not promise the same graph twice. Running one
needs no NNCF.
"""

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.catalog import Backbone
from tlcli.backbones.conversion import GRAPH_FILES, Exported, is_whole, kept
from tlcli.backbones.own_process import run_module
from tlcli.errors import ModelError
from tlcli.progress import SILENT, Progress
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.files import cache_folder, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTIZE_VERSION = 1
"""Raise it when the options in quantize_process change: graphs made with others are then not taken for new runs."""

_RECORD = "calibration.json"
QUANTIZED_FILES = (*GRAPH_FILES, _RECORD)


@dataclass(frozen=True)
class Source:
    """What a graph is quantised from, the images aside."""

    base: str
    """Name of the converted backbone's folder: the digest of all that it depends on."""
    preparation: str
    """Digest of how an image becomes an array."""
    wanted: int
    """Calibration images asked for; small data sets have fewer."""
    version: int = QUANTIZE_VERSION


@dataclass(frozen=True)
class Quantized:
    """A quantised backbone: uint8 [1, S, S, 3] in, float32 [1, D] out."""

    graph: Exported
    images: tuple[str, ...]
    """sha256 of the calibration images, sorted."""
    made: str
    source: Source

    @property
    def sha256(self) -> str:
        """Of the graph's files."""
        return self.graph.sha256


def quantized(
    row: Backbone, source: Source, base: Exported, images: "Mapping[str, NDArray[np.uint8]]",
    progress: Progress = SILENT,
) -> Quantized:  # fmt: skip
    """Quantises (10 s to some minutes) and keeps the result.

    Args:
        row: the backbone.
        source: what is recorded beside the images.
        base: the converted backbone.
        images: prepared arrays, uint8 [S, S, 3], by sha256.
        progress: told that it is done.

    Raises:
        ModelError: NNCF is not installed, or failed.
    """
    if not importlib.util.find_spec("nncf"):
        raise ModelError(
            "backbone.precision is int8, and quantising needs NNCF, which is not installed; "
            "run: pip install 'tlcli[int8]', or --set backbone.precision=auto."
        )
    digests = sorted(images)

    def write(staging: Path) -> None:
        np.save(staging / "images.npy", np.stack([images[digest] for digest in digests]))
        request = {"graph": str(base.xml), "images": str(staging / "images.npy"), "out": str(staging)}
        # NNCF sends usage statistics unless it is told that it runs as a test.
        run_module("tlcli.backbones.quantize_process", request, {"NNCF_CI": "1"}, f"Quantising {row.name}")
        (staging / "images.npy").unlink()
        record = {"made": datetime.now(UTC).isoformat(), "source": asdict(source), "images": digests}
        write_text(staging / _RECORD, json.dumps(record))

    versions = [metadata.version(name) for name in ("nncf", "openvino")]
    depends = hashlib.sha256(json.dumps([versions, asdict(source), digests]).encode()).hexdigest()
    with progress.stage(f"Quantising {row.name} with {len(digests)} images (once)"):
        graph = kept(_folder() / f"{row.name}-int8-{depends[:16]}", write, QUANTIZED_FILES, progress)
    made = _read(graph.folder)
    if made is None:
        raise ModelError(f"The quantised {row.name} in {_folder()} was removed while it was made; try again.")
    return made


def find_quantized(row: Backbone, source: Source, present: AbstractSet[str]) -> Quantized | None:
    """The oldest quantised backbone of this source whose calibration images are all among those present.

    They must be at least half as many as could be had: one made of ten images is not kept for five thousand.
    """
    enough = min(source.wanted, len(present)) / 2
    found = [
        one for one in _all(row)
        if one.source == source and set(one.images) <= present and len(one.images) >= enough
    ]  # fmt: skip
    oldest = min(found, key=lambda one: (one.made, one.graph.folder.name), default=None)
    if oldest:
        mark_in_use(oldest.graph.folder)
    return oldest


def find_quantized_graph(row: Backbone, sha256: str) -> Quantized | None:
    """The quantised backbone with this digest."""
    folders = sorted(_folder().glob(f"{row.name}-int8-*"))
    named = (folder for folder in folders if _recorded_digest(folder) == sha256)
    found = next((found for folder in named if (found := _read(folder))), None)
    if found:
        mark_in_use(found.graph.folder)
    return found


def _recorded_digest(folder: Path) -> str:
    try:
        return Exported(folder).sha256
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _folder() -> Path:
    return cache_folder() / "backbones"


def _all(row: Backbone) -> Iterator[Quantized]:
    for folder in sorted(_folder().glob(f"{row.name}-int8-*")):
        if found := _read(folder):
            yield found


def _read(folder: Path) -> Quantized | None:
    """What the folder holds, if that is whole."""
    mark_in_use(folder, used=False)
    if not is_whole(folder, QUANTIZED_FILES):
        return None
    try:
        record = json.loads((folder / _RECORD).read_text())
        return Quantized(Exported(folder), tuple(record["images"]), record["made"], Source(**record["source"]))
    except (KeyError, TypeError, ValueError, RecursionError):  # of another version of tlcli
        return None
