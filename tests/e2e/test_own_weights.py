"""Files of weights that people bring, through the whole program."""

import json
import shutil
from pathlib import Path

import pytest
from tests.backbones.torch_pickles import state_of, write_zip
from tests.backbones.torch_states import RESNETS, resnet_state
from tests.e2e.conftest import Tlcli

pytestmark = pytest.mark.e2e

RESNET = ("--config", "shapes.yaml", "--set", "backbone.name=resnet50", "--set", "backbone.weights=resnet50.pth")


@pytest.mark.slow
def test_a_resnet_of_pytorch_is_its_own_network_from_train_to_predict(
    tlcli: Tlcli, shapes: Path, session_cache: Path
) -> None:
    write_zip(shapes / "resnet50.pth", *state_of(resnet_state(RESNETS["resnet50"])))
    done = tlcli("train", *RESNET, "--json")
    assert done.code == 0, done.err
    manifest = json.loads((Path(done.json()["run_dir"]) / "model/manifest.json").read_text())
    assert manifest["backbone"]["layout"] == "torch"
    assert tlcli("evaluate", "--json").code == 0
    before = tlcli("predict", "shapes/dark/0.png", "shapes/light/0.png", "--json").json()
    assert [one["label"] for one in before] == ["dark", "light"]
    # On another machine the network is converted again, from the file; where it is converted, the file is not needed.
    for folder in (session_cache / "backbones").glob("resnet50-*"):
        shutil.rmtree(folder)
    assert tlcli("predict", "shapes/dark/0.png", "shapes/light/0.png", "--json").json() == before
    (shapes / "resnet50.pth").unlink()
    assert tlcli("predict", "shapes/dark/0.png", "shapes/light/0.png", "--json").json() == before


def test_the_error_of_a_conversion_reaches_the_user(tlcli: Tlcli, shapes: Path) -> None:
    write_zip(shapes / "resnet50.pth", *state_of(resnet_state((1, 1, 1, 1))))
    done = tlcli("train", *RESNET, "--json")
    assert (done.code, done.error) == (5, "model.weights_mismatch")
    assert "'layer1.1.conv1.weight'" in done.json()["error"]["message"]
