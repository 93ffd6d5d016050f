"""Documents that must stay true: generated references, the commands of the README, links."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
REFERENCES = ("commands", "config", "backbones", "errors", "situations")
GENERATED = [*(f"docs/{name}.md" for name in REFERENCES), "configs/tlcli.schema.json"]


def test_generated_references_are_those_that_are_committed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "docs/generate.py", tmp_path], check=True)
    for name in GENERATED:
        assert (ROOT / name).read_text() == (tmp_path / name).read_text(), f"{name} is out of date: make docs"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_command_and_make_target_in_the_readme_exists() -> None:
    readme = (ROOT / "README.md").read_text()
    commands = (ROOT / "docs/commands.md").read_text()
    for command in set(re.findall(r"^\$? ?tlcli ([a-z]+)", readme, re.MULTILINE)):
        assert f"## `tlcli {command}`" in commands
    for option in set(re.findall(r"tlcli [^\n`]*?(--[a-z-]+)", readme)):
        assert option in commands, option
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in set(re.findall(r"\bmake ([a-z]+)\b", readme)) - {"sure"}:
        assert target in targets, target
