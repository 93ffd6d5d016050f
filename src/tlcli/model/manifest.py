"""The manifest of a bundle: its schema, and the checks made when it is read.

Importing this module imports neither NumPy nor Pillow, so that predict knows early which network to load.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import tlcli
from tlcli.backbones.blocks import Block, Blocks
from tlcli.backbones.catalog import (
    CATALOG,
    TORCH_ROWS,
    Backbone,
    EngineName,
    Interpolation,
    Layout,
    OwnNetwork,
    row_for,
)
from tlcli.backbones.own_network import own_row
from tlcli.backbones.weights import Weights
from tlcli.errors import ModelError
from tlcli.images.formats import Format
from tlcli.system.files import read_regular

FORMAT_VERSION = 4
TAIL_FILE = "tail.safetensors"
"""Of a fine-tuned network: its last blocks."""
_MAX_BYTES = 1 << 26
"""A million classes with names of 60 letters."""
_TRAIN_AGAIN = "Train again: tlcli train."
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Above0 = Annotated[float, Field(gt=0)]
_Level = Annotated[int, Field(ge=0, le=255)]
_Side = Annotated[int, Field(ge=1, le=4096)]
_Count = Annotated[int, Field(ge=1, le=64)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class QuantizedRecord(_Strict):
    """The quantised graph of precision int8."""

    graph_sha256: _Sha256
    calibration: Annotated[tuple[_Sha256, ...], Field(min_length=1, max_length=1000)]
    """sha256 of the images that calibrated it."""


class BlockRecord(_Strict):
    """A block of an own network's features."""

    layer: Annotated[str, Field(min_length=1)]
    pooling: Literal["avg", "max", "cls", "mean_tokens"]
    width: Annotated[int, Field(ge=1, le=1 << 20)]


class OwnRecord(_Strict):
    """A network that the user brought: what the catalog says of others."""

    output: str
    """Name of the tensor that is its last layer."""
    kind: Literal["map", "tokens", "vector"]
    blocks: Annotated[tuple[BlockRecord, ...], Field(min_length=1, max_length=64)]
    """All blocks of its features."""
    mean: tuple[float, float, float]
    std: tuple[_Above0, _Above0, _Above0]
    """Of the input's channels, on a 0..1 scale."""

    @model_validator(mode="after")
    def _has_a_last_layer(self) -> Self:
        if not any(block.layer == "last" and block.pooling != "max" for block in self.blocks):
            raise ValueError("blocks have no last layer")
        return self


class BackboneRecord(_Strict):
    """The frozen backbone that the head was fitted on."""

    name: str
    weights: str
    """As in the config: imagenet, random or a path; of an own network the path of its file."""
    weights_sha256: _Sha256
    layout: Layout = "catalog"
    """Whose network the weights are for: that of the catalog, or PyTorch's."""
    inputs: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of the blocks of features that the head takes, in the order of its weights."""
    engine: EngineName
    precision: Literal["f32", "bf16", "int8"]
    quantized: QuantizedRecord | None = None
    """Present with precision int8, and with no other."""
    own: OwnRecord | None = None
    """Of a network that is not in the catalog."""
    tail_sha256: _Sha256 | None = None
    """Of a fine-tuned network: digest of tail.safetensors, its last blocks. ``weights_sha256`` is of the pretrained
    weights."""

    @model_validator(mode="after")
    def _quantized_if_int8(self) -> Self:
        if (self.precision == "int8") != (self.quantized is not None):
            raise ValueError("precision int8 and quantized belong together")
        return self

    @model_validator(mode="after")
    def _network_of_layout(self) -> Self:
        if self.layout == "torch" and self.name in CATALOG and self.name not in TORCH_ROWS:
            raise ValueError(f"there is no {self.name} of PyTorch's layout")
        return self


class PreparationRecord(_Strict):
    """How an image becomes an array."""

    decoder_version: int
    size: tuple[_Side, _Side]
    resize: Literal["crop", "pad", "squash"]
    crop_fraction: Annotated[float, Field(gt=0, le=1)]
    interpolation: Interpolation
    background: tuple[_Level, _Level, _Level]
    formats: Annotated[tuple[Format, ...], Field(min_length=1)]
    levels: tuple[float, float] | None = None
    bands: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=3)] | None = None
    tiles: tuple[_Count, _Count] | Literal["native"] | None = None
    max_megapixels: Annotated[float, Field(gt=0, le=1000)]
    max_side: Annotated[int, Field(gt=0)]
    max_file_mb: Annotated[float, Field(gt=0)]


class ReferenceRecord(_Strict):
    """The training images that predict compares new images with."""

    sha256: _Sha256
    """Digest of reference.safetensors."""
    limit: Annotated[float, Field(ge=0, le=2)]
    """Cosine distance to the nearest of them above which an image is out of distribution ("none of these")."""


class ThresholdsRecord(_Strict):
    """Thresholds that decide the answers, see :mod:`tlcli.evaluation.thresholds`."""

    objective: str
    """The metric that they were chosen for."""
    of_classes: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=2)]
    """In the order of the labels; they sum to 1."""


class BundleManifest(_Strict):
    """A bundle's ``manifest.json`` without its own digest."""

    format_version: int
    tlcli_version: str
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    backbone: BackboneRecord
    preparation: PreparationRecord
    head_sha256: _Sha256
    temperature: Annotated[float, Field(gt=0)]
    """Divides the head's logits, so that probabilities are calibrated."""
    gamma: Annotated[float, Field(gt=0)] | None = None
    """Of the RBF kernel of a kernel head; its arrays are in head.safetensors. None of a linear head."""
    reference: ReferenceRecord
    coverage_thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = None
    """Coverage (0.8, 0.9, 0.95, 0.99) to the least probability of a class in the prediction set of that coverage; None
    where there were too few images to choose them on."""
    thresholds: ThresholdsRecord | None = None
    """None where the answer is the most probable class."""

    @model_validator(mode="after")
    def _threshold_of_each_class(self) -> Self:
        if self.thresholds and len(self.thresholds.of_classes) != len(self.labels):
            raise ValueError("there is not one threshold for each class")
        return self

    @property
    def row(self) -> Backbone:
        """The row of its backbone."""
        record, own = self.backbone, self.backbone.own
        if own is not None:
            blocks = Blocks(tuple(Block(one.layer, one.pooling, one.width) for one in own.blocks))
            network = OwnNetwork(own.output, own.kind, blocks, own.mean, own.std)
            return own_row(record.name, network, self.preparation.size[0])
        return row_for(record.name, record.layout)

    def check_weights(self, weights: Weights) -> None:
        """Checks that the head was trained on features of these weights.

        Raises:
            ModelError: it was trained on other weights.
        """
        expected = self.backbone.weights_sha256
        if weights.pretrained_sha256 != expected:
            raise ModelError(
                "model.weights_changed",
                f"The weights in {weights.path} differ from those that this model was trained with (sha256 "
                f"{weights.pretrained_sha256[:12]}, expected {expected[:12]}).",
                "Put the original file there, or train again: tlcli train.",
            )


def sealed(fields: Mapping[str, object]) -> dict[str, object]:
    """Returns the fields of a manifest with their digest: the sha256 of their JSON, keys sorted."""
    others = {name: value for name, value in fields.items() if name != "sha256"}
    return {**others, "sha256": hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()}


def train_again(made_by: object = None) -> str:
    """Returns the hint for a bundle that this version cannot read; names the version that made it, if it is another."""
    is_other = isinstance(made_by, str) and made_by.isprintable() and made_by != tlcli.__version__
    other = f", or use tlcli {made_by:.20}" if is_other else ""
    return f"Train again (cached features are reused): tlcli train{other}."


def read_manifest(path: Path) -> BundleManifest:
    """Reads a manifest, and checks its schema and its digest.

    Raises:
        ModelError: it is missing, malformed or damaged.
    """
    try:
        fields = json.loads(read_regular(path, _MAX_BYTES).decode())
    except OSError as error:
        raise ModelError(
            "model.manifest_missing",
            f"There is no model here: {path} cannot be read ({error.strerror}).",
            _TRAIN_AGAIN,
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(
            "model.manifest_malformed", f"{path} is not a valid manifest: {error}.", _TRAIN_AGAIN
        ) from error
    if not isinstance(fields, dict):
        raise ModelError(
            "model.manifest_malformed", f"{path} is not a valid manifest: it holds no JSON object.", _TRAIN_AGAIN
        )
    version = fields.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelError(
            "model.format_version",
            f"{path} has bundle format {version!r:.40}; this version of tlcli reads {FORMAT_VERSION}.",
            train_again(fields.get("tlcli_version")),
        )
    stated = fields.pop("sha256", None)
    try:
        manifest = BundleManifest.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise ModelError(
            "model.manifest_malformed", f"{path} is not a valid manifest: {key}: {problem['msg']}.", _TRAIN_AGAIN
        ) from error
    except ValueError as error:  # half a surrogate pair in a name
        raise ModelError(
            "model.manifest_malformed", f"{path} is not a valid manifest: {error}.", _TRAIN_AGAIN
        ) from error
    if stated != sealed(fields)["sha256"]:
        raise ModelError(
            "model.manifest_damaged",
            f"{path} is damaged or was changed: its digest differs from the recorded one.",
            _TRAIN_AGAIN,
        )
    if manifest.backbone.own is None and manifest.backbone.name not in CATALOG:
        raise ModelError(
            "model.unknown_backbone",
            f"{path} needs the backbone '{manifest.backbone.name}', which this version does not know.",
            train_again(manifest.tlcli_version),
        )
    return manifest
