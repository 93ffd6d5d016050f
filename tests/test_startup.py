"""Commands start fast, those that do not train above all: a fresh process is asked which packages it has imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.network_fixtures import SIDE, convolutional, drawn, write_json

HEAVY = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "kaggle"}
NOT_FOR_HELP = HEAVY | {"numpy", "openvino", "pydantic", "PIL", "yaml", "safetensors", "requests"}

COMMAND = """
import json, sys
from tlcli.cli.app import main
sys.argv[0] = "tlcli"
try:
    main()
except SystemExit as ended:
    code = ended.code
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""
IMPORT = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps([0, sorted(sys.modules)]), file=sys.stderr)
"""


def imported(folder: Path, program: str, *arguments: str) -> tuple[int, set[str]]:
    """Exit code of a program, and the packages and modules that it imported, from the last line of its stderr."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=True,
    )
    code, names = json.loads(done.stderr.splitlines()[-1])
    return code, set(names)


@pytest.mark.parametrize("arguments", ["--help", "--version"])
def test_help_imports_nothing_but_the_command_line(tmp_path: Path, arguments: str) -> None:
    code, packages = imported(tmp_path, COMMAND, arguments)
    assert code == 0
    assert "typer" in packages
    assert not packages & NOT_FOR_HELP


@pytest.mark.parametrize(
    "command",
    ["fetch", "inspect", "train", "evaluate", "predict", "serve", "runs", "backbones", "cache", "config", "doctor"],
)
def test_help_of_a_command_imports_no_more_than_typer_does(tmp_path: Path, command: str) -> None:
    code, packages = imported(tmp_path, COMMAND, command, "--help")
    assert code == 0
    assert not packages & (NOT_FOR_HELP - {"pydantic"})  # Typer imports it where it is installed


@pytest.mark.parametrize(
    "arguments", ["config check alien_predator solar_cells my_images", "config show", "config schema"]
)
def test_config_commands_import_no_numerical_library(tmp_path: Path, arguments: str) -> None:
    code, packages = imported(tmp_path, COMMAND, *arguments.split())
    assert code == 0
    assert "pydantic" in packages
    assert not packages & (HEAVY | {"numpy", "openvino", "PIL"})


def test_runs_imports_no_numerical_library(tmp_path: Path) -> None:
    (tmp_path / "runs/cats/20260101T000000Z-ffff").mkdir(parents=True)
    code, packages = imported(tmp_path, COMMAND, "runs")
    assert code == 0
    assert not packages & (HEAVY | {"numpy", "openvino", "PIL"})


@pytest.mark.parametrize("command", ["", "prune"])
def test_cache_imports_no_numerical_library(tmp_path: Path, command: str) -> None:
    code, packages = imported(tmp_path, COMMAND, "cache", *command.split())
    assert code == 0
    assert not packages & (HEAVY | {"numpy", "openvino", "PIL"})


@pytest.mark.parametrize("arguments", ["train --config none", "train --set train.epoch=3", "fetch --set image.size=1"])
def test_wrong_config_is_reported_before_anything_heavy_is_imported(tmp_path: Path, arguments: str) -> None:
    code, packages = imported(tmp_path, COMMAND, *arguments.split())
    assert code == 2
    assert not packages & HEAVY


def test_predict_without_a_run_ends_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    code, packages = imported(tmp_path, COMMAND, "predict", "x.png")
    assert code == 5
    assert not packages & (HEAVY | {"openvino"})


@pytest.mark.parametrize("module", ["tlcli.workflows.fetch", "tlcli.workflows.predict", "tlcli.workflows.serve"])
def test_workflows_that_do_not_train_import_nothing_heavy(tmp_path: Path, module: str) -> None:
    _, packages = imported(tmp_path, IMPORT, module)
    assert "tlcli" in packages
    assert not packages & HEAVY


@pytest.mark.parametrize("module", ["server", "models", "decode_process"])
def test_serving_imports_nothing_heavy(tmp_path: Path, module: str) -> None:
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    _, packages = imported(tmp_path, IMPORT, f"tlcli.serving.{module}")
    assert not packages & HEAVY
    assert module != "decode_process" or not packages & {"fastapi", "openvino"}


def test_minibatch_heads_are_trained_without_tensorflow(tmp_path: Path) -> None:
    _, packages = imported(tmp_path, IMPORT, "tlcli.heads.minibatch")
    assert not packages & {"tensorflow", "keras"}


@pytest.mark.parametrize(
    "module",
    ["heads.repeated_cross_validation", "evaluation.assessment", "evaluation.transfer_gap", "reports.run_page"],
)
def test_measuring_needs_no_scikit_learn(tmp_path: Path, module: str) -> None:
    _, packages = imported(tmp_path, IMPORT, f"tlcli.{module}")
    assert not packages & {"sklearn", "scipy.stats"}


def test_predict_begins_without_slow_imports(tmp_path: Path) -> None:
    _, packages = imported(tmp_path, IMPORT, "tlcli.workflows.predict")
    assert not packages & (HEAVY | {"numpy", "PIL", "openvino"})


@pytest.mark.parametrize(
    "module",
    ["tlcli.model.bundle", "tlcli.runs.folders", "tlcli.system.files", "tlcli.config.load", "tlcli.heads.head"],
)
def test_what_every_command_needs_is_light(tmp_path: Path, module: str) -> None:
    _, packages = imported(tmp_path, IMPORT, module)
    assert not packages & (HEAVY | {"openvino", "typer", "rich"})


@pytest.mark.slow
def test_training_and_evaluating_a_minibatch_head_import_nothing_slow(tmp_path: Path) -> None:
    drawn(tmp_path / "data")
    convolutional(tmp_path / "net" / "tiny.onnx")
    write_json(tmp_path / "net" / "config.json", {"pretrained_cfg": {"input_size": [3, SIDE, SIDE]}})
    write_json(
        tmp_path / "own.yaml",  # JSON is YAML
        {
            "dataset": {"path": "data"},
            "augment": {"views": 1, "flip": "horizontal"},
            "backbone": {"path": "net", "mean": [0.5] * 3, "std": [0.25] * 3, "precision": "f32"},
            "head": {"fit": "minibatch", "standardize": False},
            "evaluate": {"cross_validation": {"repeats": 1, "folds": 2}},
        },
    )
    for arguments in (["train", "--config", "own.yaml"], ["evaluate"]):
        code, packages = imported(tmp_path, COMMAND, *arguments)
        assert code == 0
        assert {"scipy", "matplotlib", "openvino"} <= packages
        assert not packages & {"tensorflow", "keras", "pandas", "sklearn", "scipy.stats"}
