"""The files of deploy/: they load, and every command line in them is one that tlcli takes."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from typer.main import get_command

from tlcli.cli.app import app

DEPLOY = Path(__file__).parents[1] / "deploy"
FILES = sorted(DEPLOY.iterdir())
_VARIABLES = {"SLURM_ARRAY_TASK_ID": "3", "SHARDS": "8", "SLURM_CPUS_PER_TASK": "4", "CONFIG": "my_images"}


def commands(text: str) -> Iterator[list[str]]:
    """Every ``tlcli COMMAND ...``, variables as a shell gives them; not names of files and packages."""
    for line in re.findall(r"(?m)(?<![\w/'\[.-])tlcli +[a-z]+.*$", text):
        whole = re.sub(r"\$\{?(\w+)(?::-[^}]*)?\}?", lambda found: _VARIABLES[found[1]], line)
        words = shlex.split(whole, comments=True)
        yield words[1:]


ALL = [(path.name, words) for path in FILES for words in commands(path.read_text())]


def test_every_file_has_commands() -> None:
    assert {name for name, _ in ALL} == {path.name for path in FILES}
    assert {path.suffix for path in FILES} == {".yaml", ".sh"}


@pytest.mark.parametrize(("name", "words"), ALL, ids=[f"{name}-{words[0]}" for name, words in ALL])
def test_command_lines_parse(name: str, words: list[str]) -> None:
    group: Any = get_command(app)
    command = group.commands[words[0]]
    context = click.Context(command, info_name=words[0], resilient_parsing=True)
    parser = command.make_parser(context)
    given, rest, _ = parser.parse_args(list(words[1:]))
    assert rest == []
    assert given["config"] is not None
    if words[0] == "features" and name == "slurm-array.sh":
        from tlcli.cli.features import parse_shard

        assert parse_shard(given["shard"]) == (3, 8)
    for setting in given.get("set_") or ():
        assert setting.startswith("dataset.path=")


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".yaml"], ids=lambda path: path.name)
def test_yaml_loads_and_has_what_its_reader_requires(path: Path) -> None:
    found = yaml.safe_load(path.read_text())
    if "kind" in found:
        assert (found["apiVersion"], found["kind"]) == ("ray.io/v1", "RayJob")
        cluster = found["spec"]["rayClusterSpec"]
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        containers = [one["template"]["spec"]["containers"][0] for one in groups]
        assert all(one["env"][0]["name"] == "TLCLI_CACHE" for one in containers)
        assert cluster["rayVersion"] == version_of_ray()
        return
    assert found["provider"]["type"] in ("aws", "gcp")
    assert found["head_node_type"] in found["available_node_types"]
    assert all("node_config" in one for one in found["available_node_types"].values())
    starts = [*found["head_start_ray_commands"], *found["worker_start_ray_commands"]]
    assert sum("TLCLI_CACHE=" in one for one in starts) == 2
    assert f"=={version_of_ray()}" in " ".join(found["setup_commands"])


def version_of_ray() -> str:
    """That was tested."""
    text = (DEPLOY.parent / "constraints.txt").read_text()
    found = re.search(r"(?m)^ray==(.*)$", text)
    assert found
    return found[1]


@pytest.mark.parametrize(("jobs", "number"), [(64, 3), (2, 7), (1, 64)])
def test_a_job_of_the_array_has_its_shard_however_many_are_run(tmp_path: Path, jobs: int, number: int) -> None:
    script = DEPLOY / "slurm-array.sh"
    said = tmp_path / "tlcli"
    said.write_text('#!/bin/sh\necho "$@"\n')
    said.chmod(0o755)
    given = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": str(jobs), "CONFIG": "mine.yaml"}
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", **given}
    done = subprocess.run([str(script)], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == f"features --config mine.yaml --shard {number}/64 --threads 1".split()
    assert "\n#SBATCH --array=1-64\n" in script.read_text()


def test_the_script_is_bash() -> None:
    script = DEPLOY / "slurm-array.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert script.stat().st_mode & 0o111
