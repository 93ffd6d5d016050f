"""tlcli config show, check and schema: inspect configs before anything runs."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tlcli.cli.app import main
from tlcli.config.load import load_config
from tlcli.config.schema import Config
from tlcli.config.shipped import shipped_configs

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``tlcli config ARGUMENTS`` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tlcli", "config", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return command


@pytest.mark.parametrize("name", shipped_configs())
def test_show_prints_a_config_that_loads_as_the_same(config: Run, name: str) -> None:
    code, out, err = config("show", "--config", name)
    assert (code, err) == (0, "")
    Path("shown.yaml").write_text(out, encoding="utf-8")
    config_as_shipped = load_config(shipped_configs()[name]).config
    assert load_config(Path("shown.yaml")).config == config_as_shipped.with_backbone_defaults()


def test_show_without_a_name_shows_the_default(config: Run) -> None:
    assert config("show")[:2] == config("show", "-c", "alien_predator")[:2]


def test_show_writes_defaults_out_expands_paths_and_applies_set(config: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "elsewhere")
    Path("c.yaml").write_text("dataset: {path: $PLACE/x}\n")
    code, out, _ = config("show", "-c", "c.yaml", "--set", "train.epochs=7", "--set", "head.fit=minibatch")
    shown = yaml.safe_load(out)
    assert code == 0
    assert list(shown) == list(Config.model_fields)
    assert shown["dataset"]["path"] == "elsewhere/x"
    assert (shown["train"]["epochs"], shown["head"]["fit"]) == (7, "minibatch")
    assert shown["train"]["batch_size"] == 32


def test_show_with_json_prints_the_same_values(config: Run) -> None:
    code, out, err = config("show", "--json", "--config", "solar_cells")
    assert (code, err) == (0, "")
    assert json.loads(out) == yaml.safe_load(config("show", "--config", "solar_cells")[1])


def test_show_of_a_wrong_config_prints_its_problems_and_nothing_else(config: Run) -> None:
    Path("c.yaml").write_text("dataset:\n  pth: x\n")
    code, out, err = config("show", "--config", "c.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("Error [config.invalid]: c.yaml:2: dataset.pth: ")
    assert "'path'" in err


def valid(config: Run, *arguments: str) -> list[tuple[str, str]]:
    """Name and backbone of each config that ``check`` calls valid."""
    code, out, err = config("check", "--json", *arguments)
    assert code == 0, err
    return [(one["config"], one["backbone"]) for one in json.loads(out)["valid"]]


def test_check_reports_each_valid_file(config: Run) -> None:
    Path("c.yaml").write_text("dataset: {path: x}\nbackbone: {name: vgg16}\n")
    assert valid(config, "c.yaml", "solar_cells") == [("c.yaml", "vgg16"), ("solar_cells", "efficientnet_lite0")]
    code, out, err = config("check", "c.yaml", "solar_cells")
    assert (code, err) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines()] == ["c.yaml", "solar_cells"]


def test_check_takes_config_and_set_as_the_other_commands_do(config: Run) -> None:
    Path("c.yaml").write_text("dataset: {path: x}\n")
    assert valid(config, "-c", "c.yaml") == [("c.yaml", "densenet201")]
    named = valid(config, "c.yaml", "--config", "solar_cells", "--set", "backbone.name=vgg16")
    assert named == [("c.yaml", "vgg16"), ("solar_cells", "vgg16")]
    code, out, _ = config("check", "--json", "--config", "c.yaml", "--set", "train.epochs=no")
    assert code == 2
    (problem,) = json.loads(out)["error"]["problems"]
    assert (problem["place"], problem["key"]) == ("--set train.epochs=no", "train.epochs")
    assert problem["code"] == "config.wrong_type"


def test_check_without_a_file_checks_the_default(config: Run) -> None:
    ((name, backbone),) = valid(config)
    assert (Path(name).name, backbone) == ("alien_predator.yaml", "densenet201")


def test_check_goes_on_after_a_wrong_file_and_reports_all_problems(config: Run) -> None:
    Path("a.yaml").write_text("dataset: {path: x}\ntrain: {epoch: 3}\nimage: {size: 1}\n")
    Path("b.yaml").write_text("dataset: [\n")
    Path("good.yaml").write_text("dataset: {path: x}\n")
    code, out, err = config("check", "a.yaml", "none.yaml", "b.yaml", "good.yaml")
    assert code == 2
    assert out.startswith("good.yaml: ")
    places = ["a.yaml:2", "a.yaml:3", "none.yaml", "b.yaml:2"]
    assert [line.removeprefix("Error [config.invalid]: ").split(": ")[0] for line in err.splitlines()] == places
    code, out, _ = config("check", "a.yaml", "none.yaml", "b.yaml", "good.yaml", "--json")
    assert code == 2
    assert [(problem["place"], problem["code"]) for problem in json.loads(out)["error"]["problems"]] == [
        ("a.yaml:2", "config.unknown_key"),
        ("a.yaml:3", "config.out_of_range"),
        ("none.yaml", "config.not_found"),
        ("b.yaml:2", "config.not_yaml"),
    ]


def test_check_prints_file_names_as_they_are(config: Run) -> None:
    Path("[a] b.yaml").write_text("dataset: {path: x}\n")
    assert config("check", "[a] b.yaml")[1].startswith("[a] b.yaml: ")


def test_schema_prints_the_json_schema_of_configs(config: Run) -> None:
    code, out, err = config("schema")
    assert (code, err) == (0, "")
    assert json.loads(out) == Config.model_json_schema()
