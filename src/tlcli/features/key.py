"""Everything that a feature depends on, in one record, and its digest: the name of its place in the store."""

import hashlib
import json
from dataclasses import asdict, dataclass

import PIL

from tlcli.backbones.catalog import Backbone
from tlcli.backbones.conversion import conversion_versions
from tlcli.engines.interface import EngineChoice
from tlcli.images.decode import DECODER_VERSION
from tlcli.images.preparation import Preparation

# What limits which files are read does not change the pixels of those that are.
_LIMITS = ("formats", "max_megapixels", "max_side", "max_file_mb")


@dataclass(frozen=True)
class FeatureKey:
    """All that turns an image's bytes into its feature."""

    preparation: Preparation
    backbone: Backbone
    weights_sha256: str
    pooling: str
    engine: EngineChoice
    quantized: str = ""
    """Digest of the quantised graph's own files; empty where the graph follows from the fields above."""

    def digest(self) -> str:
        """Hex sha256; equal keys give equal features for equal images, and different ones need not."""
        depends = {
            "decoder": _decoder(self.preparation),
            "backbone": [self.backbone.name, self.backbone.builder, asdict(self.backbone.scaling)],
            "graph": [conversion_versions(), self.weights_sha256, self.pooling],
            "engine": asdict(self.engine),
            **({"quantized": self.quantized} if self.quantized else {}),
        }
        return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def preparation_digest(preparation: Preparation) -> str:
    """Hex sha256 of all that turns an image's bytes into the array that the backbone sees."""
    return hashlib.sha256(json.dumps(_decoder(preparation), sort_keys=True).encode()).hexdigest()


def _decoder(preparation: Preparation) -> list[object]:
    fields = {k: v for k, v in asdict(preparation).items() if k not in _LIMITS}
    return [DECODER_VERSION, PIL.__version__, fields]
