"""The recipes for CI that users copy: they load, and every command line in them is one that tlcli takes."""

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tlcli.cli.app import app
from tlcli.evaluation.gates import parse_gates

RECIPES = Path(__file__).parents[1] / "docs" / "recipes"
NAMES = ("github-actions.yaml", "dvc.yaml", "train.mk")


def commands(name: str) -> list[list[str]]:
    """The arguments of every tlcli in a recipe."""
    text = (RECIPES / name).read_text().replace("$(LIMITS)", "--fail-under accuracy=0.8")
    lines = re.findall(r"^(?:\t|\s*-?\s*(?:run: )?)tlcli (.+)$", text, re.MULTILINE)
    return [shlex.split(line.partition(" > ")[0]) for line in lines]


def jobs() -> dict[str, Any]:
    """Of the workflow."""
    loaded: dict[str, Any] = yaml.safe_load((RECIPES / "github-actions.yaml").read_text())["jobs"]
    return loaded


def test_all_recipes_are_tested() -> None:
    assert {path.name for path in RECIPES.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_one_that_tlcli_takes(name: str) -> None:
    group: Any = typer.main.get_command(app)
    found = commands(name)
    assert [words[0] for words in found if words[0] in ("train", "evaluate", "export")] in (
        ["train", "evaluate", "export"],
        ["export", "evaluate", "train"],  # a Makefile begins with what is wanted
    )
    for words in found:
        command, rest = group, words
        while rest and rest[0] in getattr(command, "commands", {}):
            command, rest = command.commands[rest[0]], rest[1:]
        command.make_context(command.name, list(rest))  # parses, and raises for what it does not take


@pytest.mark.parametrize("name", NAMES)
def test_limits_are_those_that_evaluate_takes(name: str) -> None:
    (evaluate,) = (words for words in commands(name) if words[0] == "evaluate")
    limits = [value for option, value in pairwise(evaluate) if option == "--fail-under"]
    assert [one.limit for one in parse_gates(limits)]


def test_the_workflow_pins_its_actions_and_asks_for_no_rights() -> None:
    workflow = yaml.safe_load((RECIPES / "github-actions.yaml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in jobs().values() for step in job["steps"]]
    assert all(re.search(r"@v\d+$", step["uses"]) for step in steps if "uses" in step)
    assert all(job["timeout-minutes"] for job in jobs().values())


def test_the_artefacts_are_checked_where_tlcli_is_not_installed() -> None:
    check = jobs()["check"]
    assert check["needs"] == "train"
    installed = [step["run"] for step in check["steps"] if "pip install" in step.get("run", "")]
    assert installed
    assert all("tlcli" not in line for line in installed)


def test_stages_follow_one_another() -> None:
    stages = yaml.safe_load((RECIPES / "dvc.yaml").read_text())["stages"]
    assert set(stages["export"]["deps"]) <= set(stages["train"]["outs"])
