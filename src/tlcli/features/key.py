"""The key of a feature store: a digest of everything that a feature depends on besides the image and its view."""

import hashlib
import json
from dataclasses import asdict
from importlib import metadata

import PIL

from tlcli.backbones.conversion import conversion_versions
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.images.decode import DECODER_VERSION, register_heic
from tlcli.images.preparation import Preparation

# Limits decide which files are read, not the pixels of those that are.
_LIMITS = ("formats", "max_megapixels", "max_side", "max_file_mb")
_OPTIONAL = {"levels": None, "bands": None, "tiles": None, "interpolation": "bicubic"}
"""With these values they leave the key as it was before they existed."""


def feature_key(spec: BackboneSpec, preparation: Preparation) -> str:
    """Hex sha256; images with equal bytes have equal features under equal keys."""
    row = spec.row
    depends = {
        "decoder": _decoder(preparation),
        "backbone": [
            *row.identity,
            asdict(row.scaling),
            asdict(row.stages),
            row.blocks.names,
            spec.size,
            spec.weights.sha256,
        ],
        "conversion": conversion_versions(),
        "engine": _engine(spec.engine),
        "quantized": spec.quantized.sha256 if spec.quantized else "",
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def preparation_digest(preparation: Preparation) -> str:
    """Hex sha256 of everything that turns an image's bytes into the array that the backbone sees."""
    return hashlib.sha256(json.dumps(_decoder(preparation), sort_keys=True).encode()).hexdigest()


def _engine(choice: EngineChoice) -> dict[str, object]:
    """Of Keras also what it runs on, except where that has no name: float32 of TensorFlow on a CPU."""
    fields: dict[str, object] = {"name": choice.name, "precision": choice.precision, "version": choice.version}
    if choice.name == "keras" and (choice.on_gpu or choice.backend not in ("", "tensorflow")):
        fields |= {"backend": choice.backend, "on_gpu": choice.on_gpu}
    if choice.name == "keras" and choice.precision != "f32":
        fields["pooling"] = "float32"
    return fields


def _decoder(preparation: Preparation) -> list[object]:
    fields = {
        k: v for k, v in asdict(preparation).items() if k not in _LIMITS and (k not in _OPTIONAL or v != _OPTIONAL[k])
    }
    heic = [metadata.version("pillow-heif")] if "HEIC" in preparation.formats and register_heic() else []
    return [DECODER_VERSION, PIL.__version__, fields, *heic]
