"""Wrong configs are refused by file and line: the catalogue, mutated configs, and through the real command line."""

import json
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.torture import bad_configs
from tests.torture.bad_config_texts import BAD, BAD_OVERRIDES


def test_catalogue_is_refused(tmp_path: Path) -> None:
    assert bad_configs.by_hand(tmp_path) == len(BAD) + len(BAD_OVERRIDES) + len(bad_configs.BAD_BYTES)


def test_catalogue_has_150_at_least() -> None:
    assert len(BAD) >= 150


@pytest.mark.parametrize("seed", range(2))
def test_mutated_configs_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    seen = bad_configs.generated(tmp_path, 300, seed)
    refused = sum(outcome["refused"] for outcome in seen.values())
    assert 150 < refused < 300  # else the mutations are too small, or too large, to test anything
    assert all(outcome["refused"] for outcome in seen.values())


def test_section_has_a_row_for_each_kind_of_change(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = {"line lost": Counter(read=1, refused=2)}
    monkeypatch.setattr(bad_configs, "generated", lambda folder, count, seed: outcomes)
    monkeypatch.setattr(bad_configs, "by_hand", lambda folder: 3)
    lines = list(bad_configs.section(large=True))
    assert lines[-1] == "| line lost | 3 | 1 | 2 |"


def test_the_command_line_ends_with_2_and_names_every_file_and_line(tmp_path: Path) -> None:
    choose, texts, files = random.Random(7), bad_configs.good_texts(), list[str]()
    for name, (text, _) in random.Random(1).sample(sorted(BAD.items()), 15):
        files.append(f"{len(files)} {re.sub('[^a-z]', '-', name)}.yaml")
        (tmp_path / files[-1]).write_text(text, encoding="utf-8", newline="")
    for _ in range(25):
        (tmp_path / "c.yaml").write_bytes(data := bad_configs.changed(texts, choose)[1])
        if bad_configs.reading(tmp_path / "c.yaml"):
            files.append(f"{len(files)}.yaml")
            (tmp_path / files[-1]).write_bytes(data)
    for words in (["config", "check", *files], ["train", "--config", files[0]], ["config", "show", "-c", files[1]]):
        command = [sys.executable, "-m", "tlcli", *words, "--json"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2, words
        assert "Traceback" not in done.stderr
        error = json.loads(done.stdout)["error"]
        assert (error["code"], error["exit_code"]) == ("config.invalid", 2)
        places = [re.fullmatch(r"(.*\.yaml):\d+", problem["place"]) for problem in error["problems"]]
        assert {place[1] for place in places if place} == {word for word in words if word in files}
