"""Extractors for tests that need stored features, and no backbone."""

from dataclasses import replace
from pathlib import Path

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.backbones.weights import Weights
from tlcli.engines.double import FakeEngine
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.store import Store
from tlcli.images.items import Decoder
from tlcli.images.preparation import Preparation

SMALL = Preparation(32, "squash")


def extractor_of(
    store: Store, width: int, preparation: Preparation = SMALL, views: tuple[str, ...] = ("0",)
) -> FeatureExtractor:  # fmt: skip
    """Computes what the store lacks with :class:`FakeEngine`; features are float32 [``width``]."""
    row = replace(CATALOG["mobilenet_v2"], features=width)
    weights = Weights(Path("none"), "0" * 64)
    spec = BackboneSpec(row, preparation.size, "avg", weights, EngineChoice("double", "f32", ""))
    return FeatureExtractor(spec, Decoder(preparation), store, views, opener=FakeEngine.open)
