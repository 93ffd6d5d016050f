"""The Keras model of an artefact: every kind of head, and networks of both orders of channels."""

import numpy as np
import pytest
from tests.export.tiny import exported, head

from tlcli.backbones.catalog import CATALOG
from tlcli.heads.expansion import Expansion
from tlcli.heads.head import Head
from tlcli.system.lazy import start_tensorflow

pytestmark = pytest.mark.slow


def kernel_head(width: int, units: int) -> Head:
    random = np.random.default_rng(units)
    expansion = Expansion(
        random.normal(size=width).astype(np.float32), random.uniform(0.5, 2, width).astype(np.float32),
        random.normal(size=(9, width)).astype(np.float16), random.normal(size=(9, 5)).astype(np.float32), 1 / width,
    )  # fmt: skip
    return Head(random.normal(size=(5, units)).astype(np.float32), np.zeros(units, np.float32), 1.3, expansion)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet50", "convnext_tiny"])
def test_outputs_are_those_of_the_network_and_its_heads(name: str) -> None:
    start_tensorflow()
    from tlcli.backbones.build import build
    from tlcli.export.keras_model import build_model

    network = build(CATALOG[name], (64, 64), None)
    blocks = network.row.blocks
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3, 64, 64, 3), np.uint8)
    of_blocks = [np.asarray(one) for one in network.features()(images.astype(np.float32), training=False)]
    rows = np.concatenate(of_blocks, axis=1)
    last = of_blocks[blocks.names.index(blocks.last.names[0])]
    weights = random.normal(0, 0.01, (blocks.width, 1)).astype(np.float32)
    linear = Head(weights, np.ones(1, np.float32), 2.0)
    fitted = {"a_": linear, "b_": kernel_head(blocks.width, 4)}
    reference = random.normal(size=(5, last.shape[1])).astype(np.float32)
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    heads = [
        (prefix, blocks.names, {**exported(one).arrays(), "reference": reference}) for prefix, one in fitted.items()
    ]
    outputs = build_model(network, (64, 64), heads).predict_on_batch(images)
    assert set(outputs) == {
        "features",
        *(f"{prefix}{kind}" for prefix in fitted for kind in ("probabilities", "distance")),
    }
    assert outputs["features"] == pytest.approx(last, rel=1e-3, abs=1e-5)
    for prefix, one in fitted.items():
        assert outputs[f"{prefix}probabilities"] == pytest.approx(one.probabilities(rows), abs=1e-4)
    cosines = last / np.linalg.norm(last, axis=1, keepdims=True) @ reference.T
    assert outputs["a_distance"][:, 0] == pytest.approx(1 - cosines.max(axis=1), abs=1e-4)


def test_labels_and_kinds_of_heads_are_independent_of_the_network() -> None:
    assert exported(head(1)).arrays().keys() == {"weights", "bias", "reference"}
    assert exported(head(4, is_kernel=True)).arrays().keys() >= {"kernel.mean", "kernel.scale", "kernel.landmarks"}
