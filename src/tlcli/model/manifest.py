"""A bundle's ``manifest.json``, strictly checked: what its head was trained on. Importing this takes neither NumPy nor
Pillow, so that predict knows early what to load.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import tlcli
from tlcli.backbones.weights import Weights
from tlcli.errors import ModelError
from tlcli.images.formats import Format
from tlcli.system.files import read_regular

FORMAT_VERSION = 3
_MOST = 1 << 26
"""Bytes: a million classes with names of 60 letters."""
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Level = Annotated[int, Field(ge=0, le=255)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class QuantizedRecord(_Strict):
    """The quantised graph of precision int8."""

    graph_sha256: _Sha256
    calibration: Annotated[tuple[_Sha256, ...], Field(min_length=1, max_length=1000)]
    """sha256 of the images it was quantised with."""


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
    """How an image becomes an array."""

    decoder_version: int
    size: Annotated[int, Field(ge=1, le=4096)]
    resize: Literal["crop", "pad", "squash"]
    crop_fraction: Annotated[float, Field(gt=0, le=1)]
    background: tuple[_Level, _Level, _Level]
    formats: Annotated[tuple[Format, ...], Field(min_length=1)]
    max_megapixels: Annotated[float, Field(gt=0, le=1000)]
    max_side: Annotated[int, Field(gt=0)]
    max_file_mb: Annotated[float, Field(gt=0)]


class ReferenceRecord(_Strict):
    """Training images that predict compares with."""

    sha256: _Sha256
    """Of reference.safetensors."""
    limit: Annotated[float, Field(ge=0, le=2)]
    """Cosine distance from the nearest of them above which an image is like none of the training images."""


class Manifest(_Strict):
    """The bundle's ``manifest.json``, less its own digest."""

    format_version: int
    tlcli_version: str
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    backbone: BackboneRecord
    preparation: PreparationRecord
    head_sha256: _Sha256
    temperature: Annotated[float, Field(gt=0)]
    """What the head's logits are divided by, so that a confidence means what it says."""
    reference: ReferenceRecord

    def check_weights(self, weights: Weights) -> None:
        """Raises ModelError unless the head was trained on features of these weights."""
        expected = self.backbone.weights_sha256
        if weights.sha256 != expected:
            raise ModelError(
                f"The weights in {weights.path} are not those this model was trained with (sha256 "
                f"{weights.sha256[:12]}, expected {expected[:12]}); put the right file there, or train again."
            )


def sealed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a manifest with their own digest (sha256 of their JSON, keys in order), as they are written."""
    others = {name: value for name, value in fields.items() if name != "sha256"}
    return {**others, "sha256": hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()}


def or_with(made_by: object) -> str:
    """Which other version reads a bundle: the one that made it, if it is another and its name can be shown."""
    is_other = isinstance(made_by, str) and made_by.isprintable() and made_by != tlcli.__version__
    return f", or use tlcli {made_by:.20}" if is_other else ""


def read_manifest(path: Path) -> Manifest:
    """Reads a manifest and checks its form and its digest.

    Raises:
        ModelError: it is not there, or not one, or not as it was written.
    """
    try:
        text = read_regular(path, _MOST).decode()
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise ModelError(f"{path} is not a valid manifest: it holds no JSON object. Train again.")
        version = fields.get("format_version")
        if version != FORMAT_VERSION:
            raise ModelError(
                f"{path} has bundle format {version!r:.40}, this version of tlcli reads {FORMAT_VERSION}: train again "
                f"(features that are in the cache are not computed anew){or_with(fields.get('tlcli_version'))}."
            )
        stated = fields.pop("sha256", None)
        manifest = Manifest.model_validate_json(json.dumps(fields))
        if stated != sealed(fields)["sha256"]:
            raise ModelError(f"{path} is damaged, or was changed: its digest is not the one in it. Train again.")
        return manifest
    except OSError as error:
        raise ModelError(f"There is no model here: {path} cannot be read ({error.strerror}).") from error
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ModelError(f"{path} is not a valid manifest: {place}: {problem['msg']}.") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not a valid manifest: {error}.") from error
