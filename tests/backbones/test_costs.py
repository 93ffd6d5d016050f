"""The table of costs against the networks as Keras builds them (with zeros for weights), and against the papers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.costs import COSTS
from tlcli.backbones.licences import LICENCES

TOOL = Path(__file__).parents[2] / "tools" / "backbone_costs.py"
QUICK = ("nasnet_mobile", "convnext_tiny", "efficientnet_lite2", "mobilenet_v2_torch")
"""Separable, grouped, depthwise and plain convolutions, dense layers on maps, models within the model."""
PAPERS = {"densenet201": 4.3, "efficientnet_b0": 0.39, "efficientnet_b7": 37, "nasnet_large": 23.8, "vgg16": 15.4}
"""Billions of multiply-adds as published."""


def counted(*names: str) -> dict[str, dict[str, int]]:
    done = subprocess.run([sys.executable, TOOL, *names], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, dict[str, int]] = json.loads(done.stdout)
    return found


def check(*names: str) -> None:
    found = counted(*names)
    assert list(found) == list(names)
    for name, numbers in found.items():
        expected = {**vars(COSTS[name]), "features": CATALOG[name].features}
        assert numbers == expected, f"{name}: run tools/backbone_costs.py"


def test_every_backbone_has_its_costs_and_its_licence() -> None:
    assert list(COSTS) == list(CATALOG)
    assert list(LICENCES) == list(CATALOG)
    assert LICENCES["resnet50"] != LICENCES["resnet50_v2"]
    assert LICENCES["mobilenet_v2"] != LICENCES["mobilenet_v2_torch"]
    for name, row in CATALOG.items():
        assert (row.weights.package in LICENCES[name].origin) or not row.weights.package


@pytest.mark.parametrize(("name", "billions"), PAPERS.items())
def test_multiply_adds_are_those_of_the_papers(name: str, billions: float) -> None:
    assert COSTS[name].multiply_adds / 1e9 == pytest.approx(billions, rel=0.03)


def test_costs_are_those_of_the_networks_that_are_built() -> None:
    check(*QUICK)


@pytest.mark.slow
def test_costs_and_features_of_all_are_those_of_the_networks_that_are_built() -> None:
    """Also of the largest, at the size of their weights: 30 s."""
    check(*CATALOG)
