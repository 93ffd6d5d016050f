"""Preparation and weights are right: the whole path names ImageNet images."""

import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.e2e.conftest import needs

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.source_classifier import source_classifier
from tlcli.backbones.spec import BackboneSpec
from tlcli.backbones.weights import find_weights
from tlcli.engines.choice import choose_engine
from tlcli.engines.interface import open_engine
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation
from tlcli.system.prefetch import in_order

pytestmark = [pytest.mark.e2e, pytest.mark.data]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("efficientnet_lite0", "f32"),
        ("efficientnet_lite0", "auto"),
        ("efficientnet_lite1", "auto"),
        ("efficientnet_lite2", "auto"),
    ],
)
def test_a_network_with_its_imagenet_head_names_at_least_80_of_100(
    imagenet_zip: Path, name: str, precision: str
) -> None:
    row = CATALOG[name]
    needs(row.weights.package)
    weights = find_weights(row, "imagenet")
    classifier = source_classifier(row, weights)
    assert classifier is not None
    choice = choose_engine("openvino", "f32" if precision == "f32" else "auto")
    decoder = Decoder(Preparation(row.input_size, row.resize, row.crop_fraction))
    with (
        closing(open_engine(BackboneSpec(row, row.input_size, weights, choice), decoder)) as engine,
        zipfile.ZipFile(imagenet_zip) as archive,
    ):
        names = archive.namelist()
        items = (Item(archive.read(name)) for name in names)
        features = np.concatenate([future.result() for _, future in in_order(engine.submit, items, engine.window)])
    features = row.blocks.take(features, row.blocks.last)
    predicted = classifier.probabilities(features).argmax(axis=1)
    right = sum(int(name.split("_")[0]) == number for name, number in zip(names, predicted, strict=True))
    assert len(names) == 100
    assert right >= 80
