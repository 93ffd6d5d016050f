"""Extractors for tests that need stored features, and no backbone."""

from dataclasses import replace
from pathlib import Path

from tlcli.backbones.catalog import CATALOG, Backbone, Stages
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.backbones.weights import Weights
from tlcli.engines.double import FakeEngine
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.store import Store
from tlcli.images.items import Decoder
from tlcli.images.preparation import Preparation

SMALL = Preparation((32, 32), "squash")


def row_of(width: int) -> Backbone:
    """A network of one layer."""
    return replace(CATALOG["mobilenet_v2"], features=width, stages=Stages("", ()))


def extractor_of(
    store: Store, width: int, preparation: Preparation = SMALL, views: tuple[str, ...] = ("0",)
) -> FeatureExtractor:  # fmt: skip
    """Computes what the store lacks with :class:`FakeEngine`; the head takes the last layer's average, ``width``
    numbers."""
    row = row_of(width)
    weights = Weights(Path("none"), "0" * 64)
    spec = BackboneSpec(row, preparation.size, weights, EngineChoice("double", "f32", ""))
    return FeatureExtractor(spec, Decoder(preparation), store, views, opener=FakeEngine.open, inputs=row.blocks.last)
