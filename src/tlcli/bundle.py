"""The bundle: all that predict needs, in ``manifest.json`` (strict) and ``head.safetensors``.

The backbone itself stays in the cache, named by the digest of its weights.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import safetensors
import safetensors.numpy
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tlcli.backbones.catalog import CATALOG, Backbone
from tlcli.backbones.weights import Weights
from tlcli.data.decode import DECODER_VERSION
from tlcli.data.sizing import Preparation
from tlcli.disk import whole_file, write_text
from tlcli.errors import ModelError
from tlcli.heads.head import Head

FORMAT_VERSION = 1
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Level = Annotated[int, Field(ge=0, le=255)]
# Those of the config, and no other: Pillow hands EPS to an external program.
_Format = Literal["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "ICO", "JPEG2000", "PPM", "TGA"]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class QuantizedRecord(_Strict):
    """The quantised graph of precision int8."""

    graph_sha256: _Sha256
    calibration: Annotated[tuple[_Sha256, ...], Field(min_length=1, max_length=1000)]
    """sha256 of the pictures it was quantised with."""


class BackboneRecord(_Strict):
    """Which frozen network the head sits on."""

    name: str
    weights: str
    """As in the config: imagenet, random or a path."""
    weights_sha256: _Sha256
    pooling: Literal["avg", "max"]
    engine: Literal["openvino", "keras"]
    precision: Literal["f32", "bf16", "int8"]
    quantized: QuantizedRecord | None = None
    """Of precision int8, and of no other."""

    @model_validator(mode="after")
    def _quantized_if_int8(self) -> Self:
        if (self.precision == "int8") != (self.quantized is not None):
            raise ValueError("precision int8 and quantized belong together")
        return self


class PreparationRecord(_Strict):
    """How a picture becomes an array."""

    decoder_version: int
    size: Annotated[int, Field(ge=1, le=4096)]
    resize: Literal["crop", "pad", "squash"]
    crop_fraction: Annotated[float, Field(gt=0, le=1)]
    background: tuple[_Level, _Level, _Level]
    formats: Annotated[tuple[_Format, ...], Field(min_length=1)]
    max_megapixels: Annotated[float, Field(gt=0, le=1000)]
    max_side: Annotated[int, Field(gt=0)]
    max_file_mb: Annotated[float, Field(gt=0)]


class Manifest(_Strict):
    """The bundle's ``manifest.json``."""

    format_version: int
    tlcli_version: str
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    backbone: BackboneRecord
    preparation: PreparationRecord
    head_sha256: _Sha256


@dataclass(frozen=True)
class Bundle:
    """A loaded and checked bundle."""

    manifest: Manifest
    head: Head

    @property
    def backbone(self) -> Backbone:
        """The catalog's row: the architecture never comes from a file."""
        return CATALOG[self.manifest.backbone.name]

    def check_weights(self, weights: Weights) -> None:
        """Raises ModelError unless the head was trained on features of these weights."""
        expected = self.manifest.backbone.weights_sha256
        if weights.sha256 != expected:
            raise ModelError(
                f"The weights in {weights.path} are not those this model was trained with (sha256 "
                f"{weights.sha256[:12]}, expected {expected[:12]}); put the right file there, or train again."
            )

    @property
    def preparation(self) -> Preparation:
        """The picture preparation the head was trained with."""
        fields = self.manifest.preparation.model_dump()
        del fields["decoder_version"]
        return Preparation(**fields)


def save_bundle(folder: Path, manifest_fields: dict[str, Any], head: Head) -> None:
    """Writes the bundle; ``manifest_fields`` is the manifest less what follows from the head and this version."""
    data = safetensors.numpy.save({"weights": head.weights, "bias": head.bias})
    with whole_file(folder / "head.safetensors") as temporary:
        temporary.write_bytes(data)
    head_sha256 = hashlib.sha256(data).hexdigest()
    manifest = Manifest(**{**manifest_fields, "format_version": FORMAT_VERSION, "head_sha256": head_sha256})
    write_text(folder / "manifest.json", manifest.model_dump_json(indent=2, exclude_none=True) + "\n")


def load_bundle(folder: Path) -> Bundle:
    """Reads a bundle and checks all of it: schema, versions, digests, names, shapes, finite values.

    Raises:
        ModelError: anything is missing or does not fit.
    """
    manifest = _manifest(folder / "manifest.json")
    row = CATALOG.get(manifest.backbone.name)
    if row is None:
        raise ModelError(f"The bundle {folder} needs the backbone '{manifest.backbone.name}', unknown to this version.")
    if manifest.preparation.decoder_version != DECODER_VERSION:
        raise ModelError(
            f"The bundle {folder} was made with picture preparation {manifest.preparation.decoder_version}, this "
            f"version has {DECODER_VERSION}: train again, or use tlcli {manifest.tlcli_version}."
        )
    if manifest.preparation.size < row.min_size:
        raise ModelError(
            f"The bundle {folder} makes pictures {manifest.preparation.size} pixels wide, and {row.name} takes "
            f"{row.min_size} or more: it is damaged. Train again."
        )
    if len(set(manifest.labels)) < len(manifest.labels):
        raise ModelError(f"The bundle {folder} names a class twice: it is damaged. Train again.")
    units = 1 if len(manifest.labels) == 2 else len(manifest.labels)
    return Bundle(manifest, _head(folder / "head.safetensors", manifest.head_sha256, (row.features, units)))


def _manifest(path: Path) -> Manifest:
    try:
        text = path.read_text(encoding="utf-8")
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise ModelError(f"{path} is not a valid manifest: it holds no JSON object. Train again.")
        version = fields.get("format_version")
        if version != FORMAT_VERSION:
            raise ModelError(f"{path} has bundle format {version!r:.40}, this version of tlcli reads {FORMAT_VERSION}.")
        return Manifest.model_validate_json(text)
    except OSError as error:
        raise ModelError(f"There is no model here: {path} cannot be read ({error.strerror}).") from error
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ModelError(f"{path} is not a valid manifest: {place}: {problem['msg']}.") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not a valid manifest: {error}.") from error


def _head(path: Path, sha256: str, shape: tuple[int, int]) -> Head:
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ModelError(f"{path} is damaged: its digest is not the one in the manifest. Train again.")
        arrays = safetensors.numpy.load(data)
    except OSError as error:
        raise ModelError(f"The head {path} cannot be read ({error.strerror}).") from error
    except (safetensors.SafetensorError, KeyError) as error:  # KeyError: bfloat16, which NumPy does not know
        raise ModelError(f"{path} is not a safetensors file: {error}.") from error
    shapes = {"weights": shape, "bias": (shape[1],)}
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise ModelError(f"{path} does not hold the arrays {shapes}.")
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays.values()):
        raise ModelError(f"{path} holds values that are not finite float32 numbers.")
    return Head(arrays["weights"], arrays["bias"])
