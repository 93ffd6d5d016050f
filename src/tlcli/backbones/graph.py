"""Backbones in OpenVINO's format: the files of a converted and of a quantised one, and what identifies them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tlcli.system.cache.folders import DIGESTS

NORMALIZATION_FILE = "normalization.json"
"""The layer normalisation behind the pooling (``gamma``, ``beta``, ``epsilon``), or null."""
GRAPH_FILES = ("model.xml", "model.bin", NORMALIZATION_FILE)
QUANTIZE_VERSION = 2
"""Increase it when the options in quantize_process change: new runs then ignore graphs made with older ones."""


@dataclass(frozen=True)
class ConvertedGraph:
    """A backbone in OpenVINO's format: uint8 [1, H, W, 3] -> float32 [1, width], one output for each block, by its name
    (:mod:`tlcli.backbones.blocks`)."""

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
        digests = json.loads((self.folder / DIGESTS).read_text())
        return hashlib.sha256("".join(digests[name] for name in GRAPH_FILES).encode()).hexdigest()


@dataclass(frozen=True)
class QuantizationInputs:
    """What a graph is quantised from, except for the images."""

    base: str
    """Folder name of the converted backbone, which contains the digest of everything that it depends on."""
    preparation: str
    """Digest of the image preparation."""
    wanted: int
    """QuantizationInputs images asked for; small data sets have fewer."""
    version: int = QUANTIZE_VERSION


@dataclass(frozen=True)
class QuantizedGraph:
    """A quantised backbone, with the same inputs and outputs."""

    graph: ConvertedGraph
    images: tuple[str, ...]
    """sha256 of the calibration images, sorted."""
    created: str
    """UTC time, ISO 8601."""
    calibration: QuantizationInputs

    @property
    def sha256(self) -> str:
        """Hex digest of the graph's files."""
        return self.graph.sha256
