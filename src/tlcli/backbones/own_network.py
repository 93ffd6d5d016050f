"""A network that a user brings (``backbone.path``): from its files to the row that the catalog would have for it.

Importing this module imports neither NumPy nor OpenVINO; the file itself is read in a process of its own.
"""

import importlib.util
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.backbones.blocks import Block, Blocks
from tlcli.backbones.catalog import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Backbone,
    Channels,
    Interpolation,
    OwnNetwork,
    Resize,
    WeightsFile,
    normalized,
)
from tlcli.backbones.network_file import find_network
from tlcli.backbones.network_process import DESCRIPTION_FILE
from tlcli.backbones.own_process import run_module
from tlcli.backbones.weights import Weights
from tlcli.errors import ModelError

if TYPE_CHECKING:
    from tlcli.backbones.preparation_files import PublishedPreparation

_FEW = 32
"""Features of an output below which it likely is what a classifier answers; networks have 300 to 3,000."""
_PROCESS = "tlcli.backbones.network_process"


@dataclass(frozen=True)
class Wishes:
    """What a config says of an own network; None leaves it to the files."""

    output: str | None = None
    size: tuple[int, int] | None = None
    """Height and width of the images, pixels."""
    mean: Channels | None = None
    std: Channels | None = None
    """Of each channel, on a 0..1 scale."""


@dataclass(frozen=True)
class OwnBackbone:
    """An own network, read."""

    row: Backbone
    weights: Weights
    note: str
    """What was read, and from which file, as a text."""


def open_own(path: Path, wishes: Wishes) -> OwnBackbone:
    """Reads a network and the files beside it.

    Args:
        path: an .onnx or .xml file, or a folder with one.
        wishes: of the config.

    Raises:
        ModelError: it is missing, or cannot be used; see :mod:`tlcli.backbones.network_file` and
            :func:`tlcli.backbones.network_graph.read_graph`.
    """
    from tlcli.backbones.preparation_files import read_preparation  # noqa: PLC0415 - 6 ms of every predict

    if importlib.util.find_spec("openvino") is None:
        raise ModelError(
            "model.network_needs_openvino",
            "backbone.path needs OpenVINO, which is not installed.",
            "Run: pip install openvino, or set backbone.name.",
        )
    file = find_network(path)
    published, digest = read_preparation(file.path), file.sha256
    described = _described(file.path, digest, wishes.output, wishes.size or published.size)
    height, width = described["size"]
    if wishes.size is None and height != width:
        raise ModelError(
            "model.network_size",
            f"The network {file.path} takes images of {height} x {width} pixels, and a default size is square.",
            f"Set image.size: [{height}, {width}]",
        )
    own = OwnNetwork(
        described["output"], described["kind"], Blocks(tuple(Block(**one) for one in described["blocks"])),
        wishes.mean or published.mean or IMAGENET_MEAN, wishes.std or published.std or IMAGENET_STD,
    )  # fmt: skip
    row = own_row(
        file.name, own, height, published.resize, published.crop_fraction, published.interpolation
    )  # fmt: skip
    note = _note(file.path, row, own, wishes, published, described["advice"])
    return OwnBackbone(row, Weights(file.path, digest), note)


def own_weights(path: Path) -> Weights:
    """The files of an own network, by their digest.

    Raises:
        ModelError: they are missing or of no allowed kind.
    """
    file = find_network(path)
    return Weights(file.path, file.sha256)


def own_row(
    name: str, own: OwnNetwork, size: int, resize: Resize | None = None,
    crop_fraction: float | None = None, interpolation: Interpolation | None = None,
) -> Backbone:  # fmt: skip
    """The row of an own network.

    Args:
        name: what it is called.
        own: what it gives.
        size: side of its images, pixels, by default.
        resize: default resizing; None is that of networks whose files say nothing, as the catalog has it.
        crop_fraction: see :class:`~tlcli.backbones.catalog.Backbone`.
        interpolation: default resampling.
    """
    return Backbone(
        name=name,
        builder="",
        features=own.blocks.last.width,
        scaling=normalized(own.mean, own.std),
        weights=WeightsFile(""),
        size=size,
        min_size=1,
        resize=resize or "crop",
        crop_fraction=crop_fraction or (1.0 if resize == "crop" else 0.875),
        family="own",
        interpolation=interpolation or "bicubic",
        own=own,
    )


def write_own(row: Backbone, own: OwnNetwork, size: tuple[int, int], network: Path, out: Path) -> None:
    """Converts an own network into a folder, in a process of its own.

    Raises:
        ModelError: it cannot be read any more.
    """
    request = {
        "job": "convert", "network": str(network), "output": own.output, "size": size, "out": str(out),
        "scale": row.scaling.scale, "offset": row.scaling.offset,
    }  # fmt: skip
    _run(request, f"Converting {row.name}")


def _run(request: Mapping[str, object], doing: str) -> None:
    try:
        run_module(_PROCESS, request, {}, doing)
    except ModelError as error:
        if error.code != "model.process_failed":
            raise
        last = error.message.splitlines()[-1].rstrip(":")
        raise ModelError(
            "model.network_unsupported",
            f"{doing} ended OpenVINO: the network {request['network']} is damaged, or has operators that it does not "
            f"run ({last[:300]}).",
            "Export it again; docs/own_network.md has the commands.",
        ) from error


@lru_cache(maxsize=8)
def _described(
    path: Path,
    digest: str,  # noqa: ARG001
    output: str | None,
    size: tuple[int, int] | None,
) -> dict[str, Any]:
    """What the process tells of a network; asked once a command, as the digest stands for the file's content."""
    with tempfile.TemporaryDirectory() as folder:
        request = {
            "job": "describe",
            "network": str(path),
            "output": output,
            "size": size,
            "out": folder,
        }
        _run(request, f"Reading {path.name}")
        found: dict[str, Any] = json.loads((Path(folder) / DESCRIPTION_FILE).read_text())
        return found


def _note(
    file: Path, row: Backbone, own: OwnNetwork, wishes: Wishes, published: "PublishedPreparation", before: str
) -> str:  # fmt: skip
    """Where each value comes from, in one line."""
    poolings = ", ".join(dict.fromkeys(block.pooling for block in own.blocks.all))
    layers = f"layers {', '.join(own.blocks.layers)}" if len(own.blocks.layers) > 1 else "1 layer"
    said = "no file beside it says how images are prepared"
    if published.file:
        given = {
            "size": published.size and f"{published.size[0]} x {published.size[1]}",
            "resize": published.resize, "crop": published.crop_fraction and f"{published.crop_fraction:.3g}",
            "interpolation": published.interpolation,
        }  # fmt: skip
        said = f"{published.file} says {', '.join(f'{name} {value}' for name, value in given.items() if value)}"
    assumed = [
        name for name, wish, found in (("mean", wishes.mean, published.mean), ("std", wishes.std, published.std))
        if wish is None and found is None
    ]  # fmt: skip
    scale = f"mean {_shown(own.mean)}, std {_shown(own.std)}"
    scale += f" ({' and '.join(assumed)}: ImageNet's, as no file and no key says another)" if assumed else ""
    advice = ", few: the answers of a classifier?" if row.features < _FEW else ""
    if own.kind == "vector":
        advice += "; features without positions: no layers, no heat maps"
        advice += f" (set backbone.output to the last map, {before}, to have both)" if before else ""
    return (
        f"{file}, output {own.output} ({own.kind}, {row.features:,} features{advice}, {layers}, pooled by {poolings}); "
        f"{said}; {scale}"
    )


def _shown(values: Channels) -> str:
    return f"[{', '.join(f'{value:.4g}' for value in values)}]"
