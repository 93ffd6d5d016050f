"""The configs that come with tlcli: they load, editors can validate them, and the schema beside them is current."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tlcli.cli.app import main
from tlcli.config.load import DEFAULT_CONFIG, load_config
from tlcli.config.schema import Config
from tlcli.config.shipped import shipped_configs

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_config_loads_and_carries_its_name(path: Path) -> None:
    loaded = load_config(path)
    assert loaded.name == path.stem
    assert isinstance(loaded.config, Config)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_config_is_valid_against_the_json_schema(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), Config.model_json_schema())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_first_line_names_the_schema_for_editors(path: Path) -> None:
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    assert first == "# yaml-language-server: $schema=tlcli.schema.json"
    assert rest[1].startswith("# "), "the header describes the config"
    assert any("tlcli train" in line for line in rest if line.startswith("#")), "the header has the commands"


def test_schema_file_is_what_config_schema_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tlcli", "config", "schema"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    committed = (CONFIGS / "tlcli.schema.json").read_text(encoding="utf-8")
    assert capsys.readouterr().out == committed, "run: tlcli config schema > configs/tlcli.schema.json"


def test_schema_file_is_json_schema_of_the_seven_sections() -> None:
    schema: dict[str, Any] = json.loads((CONFIGS / "tlcli.schema.json").read_text(encoding="utf-8"))
    assert list(schema["properties"]) == list(Config.model_fields)
    assert schema["required"] == ["dataset"]


def test_shipped_configs_are_those_of_the_folder_and_hold_the_default() -> None:
    assert {name: path.read_bytes() for name, path in shipped_configs().items()} == {
        path.stem: path.read_bytes() for path in FILES
    }
    assert DEFAULT_CONFIG in shipped_configs()


def test_default_config_is_the_recipe_of_the_tutorial() -> None:
    config = load_config(shipped_configs()[DEFAULT_CONFIG]).config
    assert (config.backbone.name, config.backbone.weights, config.image.size) == ("densenet201", "imagenet", 224)
    assert (config.head.fit, config.train.epochs, config.train.batch_size) == ("minibatch", 30, 32)
    assert (config.train.optimizer, config.train.learning_rate) == ("adam", 0.001)
    assert config.dataset.split.test == 0.2


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_config_promises_seconds(path: Path) -> None:
    """They depend on the machine, the images and the layers; train prints those of each stage."""
    assert not re.search(r"\d (s|seconds)\b", path.read_text(encoding="utf-8"))
