"""export.json: what an export holds, how images must be prepared for it, and what it was checked with."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from tlcli.export.formats import InputKind, Wanted
from tlcli.export.heads import ExportedHead
from tlcli.export.parity import MAX_DIFFERENCE, Parity
from tlcli.export.runner import Latency
from tlcli.images.preparation import Preparation

FORMAT_VERSION = 1
_VERSIONS = ("openvino", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "ai-edge-litert", "nncf", "numpy")


@dataclass(frozen=True)
class Artefact:
    """An artefact that was written and checked."""

    wanted: Wanted
    files: dict[str, str]
    """sha256 of each file, by its path in the export."""
    size: int
    """Bytes."""
    parity: dict[str, Parity]
    """By the name of the head."""
    latency: dict[str, Latency]
    """By cores: ``1``, ``all``."""

    def document(self) -> dict[str, object]:
        """As export.json has it."""
        parity = {name: {**asdict(one), "agreement": one.agreement} for name, one in self.parity.items()}
        largest = max(max(one.max_difference, one.max_distance_difference) for one in self.parity.values())
        return {
            "format": self.wanted.format.name,
            "precision": self.wanted.precision,
            "folder": self.wanted.folder,
            "path": self.wanted.path,
            "runtime": self.wanted.format.runtime,
            "files": self.files,
            "bytes": self.size,
            # Other processors round otherwise; what was measured here stays the larger part of it.
            "tolerance": max(MAX_DIFFERENCE, 2 * largest),
            "parity": parity,
            "latency_ms": {cores: asdict(one) for cores, one in self.latency.items()},
        }


@dataclass(frozen=True)
class PreparationCheck:
    """How check.prepare, which needs Pillow only, agrees with the decoder of training."""

    images: int
    equal: int
    """Images whose pixels are equal."""
    max_levels: int
    """Largest difference of a pixel, 0 to 255, of those that it reads."""
    unreadable: int
    """Images that only tlcli reads."""


@dataclass(frozen=True)
class Sample:
    """The image that comes with an export."""

    name: str
    """In the data folder."""
    label: str
    """Its ground truth."""
    expected: tuple[Mapping[str, object], ...]
    """Of each head: ``answer``, ``probabilities`` [L], ``distance``."""


def files_below(folder: Path, root: Path) -> dict[str, str]:
    """sha256 of all files in a folder, by their paths in ``root``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def preparation_document(preparation: Preparation, input_kind: InputKind) -> dict[str, object]:
    """How an image becomes what an artefact takes; ``check.prepare`` does it."""
    return {
        "input": input_kind,
        "colour": "RGB",
        "dtype": "uint8",
        "layout": "NHWC",
        "size": list(preparation.size),
        "resize": preparation.resize,
        "crop_fraction": preparation.crop_fraction,
        "interpolation": preparation.interpolation,
        "antialias": preparation.interpolation != "nearest",
        "background": list(preparation.background),
        "levels": list(preparation.levels) if preparation.levels else None,
        "bands": list(preparation.bands) if preparation.bands else None,
    }


def head_document(head: ExportedHead, about: Mapping[str, object]) -> dict[str, object]:
    """A head as export.json has it.

    Args:
        head: the head.
        about: more of its run.
    """
    return {
        "name": head.name,
        "labels": list(head.labels),
        "probabilities": head.output("probabilities"),
        "distance": head.output("distance"),
        "distance_limit": head.limit,
        "thresholds": list(head.thresholds) if head.thresholds else None,
        **about,
    }


def versions() -> dict[str, str]:
    """Of the packages that wrote and ran the artefacts, where they are installed."""
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def export_document(
    artefacts: Sequence[Artefact], heads: Sequence[Mapping[str, object]], preparation: Mapping[str, object],
    sample: Sample, prepared: PreparationCheck, about: Mapping[str, object],
) -> dict[str, object]:  # fmt: skip
    """All of export.json.

    Args:
        artefacts: what was written.
        heads: see :func:`head_document`.
        preparation: see :func:`preparation_document`.
        sample: the image that comes with it.
        prepared: how check.prepare agrees.
        about: tlcli's version, the time, the backbone and its licence.
    """
    return {
        "format_version": FORMAT_VERSION,
        **about,
        "versions": versions(),
        "preparation": preparation,
        "preparation_check": asdict(prepared),
        "heads": list(heads),
        "sample": asdict(sample),
        "artefacts": [one.document() for one in artefacts],
    }
