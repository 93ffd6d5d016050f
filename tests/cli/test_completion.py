"""What a shell offers after a Tab, through the real command line."""

from pathlib import Path

import pytest
from tests.commands import in_process
from tests.runs.run_folders import made_run, rows
from tests.test_startup import HEAVY, imported

RUN = "cats/20260101T101500Z-94e2"
COMPLETE = """
import json, os, sys
os.environ.update(_TLCLI_COMPLETE="complete_bash", COMP_WORDS=" ".join(["tlcli", *sys.argv[1:]]), COMP_CWORD="3")
sys.argv = ["tlcli"]
from tlcli.cli.app import main
try:
    main()
except SystemExit as ended:
    code = ended.code
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def offered(folder: Path, words: str) -> list[str]:
    """What bash would offer for the last of these words."""
    env = {"_TLCLI_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = in_process(folder, folder / "cache")(env=env)
    assert (done.code, done.err) == (0, "")
    return done.out.split()


def test_configs_are_shipped_ones_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("mine.yaml", "notes.txt", "sub/other.yml", "sub/x.png"):
        (tmp_path / name).touch()
    found = offered(tmp_path, "tlcli train --config ")
    assert {"alien_predator", "solar_cells", "mine.yaml", "sub/"} <= set(found)
    assert "notes.txt" not in found
    assert offered(tmp_path, "tlcli train -c so") == ["solar_cells"]
    assert offered(tmp_path, "tlcli config check sub/") == ["sub/other.yml"]
    assert offered(tmp_path, "tlcli train -c nowhere/") == []


def test_keys_and_their_values(tmp_path: Path) -> None:
    assert offered(tmp_path, "tlcli train --set head.f") == ["head.fit=", "head.folds="]
    assert offered(tmp_path, "tlcli train --set head.fit=m") == ["head.fit=minibatch"]
    assert "dataset.split.group_by.pattern=" in offered(tmp_path, "tlcli inspect --set dataset.")
    assert "backbone.name=densenet201" in offered(tmp_path, "tlcli train --set backbone.name=")
    assert offered(tmp_path, "tlcli train --set train.early_stopping=n") == ["train.early_stopping=null"]


def test_runs_of_the_directory_that_is_given(tmp_path: Path) -> None:
    made_run(tmp_path / "own", RUN, {"validation": rows("ab")})
    assert offered(tmp_path, "tlcli evaluate --runs-dir own --run ") == ["latest", RUN]
    assert offered(tmp_path, "tlcli runs compare --runs-dir own cats") == [RUN]
    assert offered(tmp_path, "tlcli predict --run ") == []


def test_metrics_and_classes_of_the_run(tmp_path: Path) -> None:
    assert "accuracy.lower=" in offered(tmp_path, "tlcli evaluate --fail-under acc")
    made_run(tmp_path / "runs", RUN, {"validation": rows("ab")})
    assert offered(tmp_path, "tlcli evaluate --fail-under recall.") == ["recall.cat=", "recall.dog="]


def test_damaged_runs_and_folders_offer_nothing_and_print_nothing(tmp_path: Path) -> None:
    run = made_run(tmp_path / "runs", RUN, {"validation": rows("ab")})
    (run / "metrics.json").write_text("{")
    assert offered(tmp_path, "tlcli evaluate --fail-under recall.") == []
    assert offered(tmp_path, "tlcli train -c mine.yaml/") == []


@pytest.mark.parametrize(
    "words", ["train --set head.", "train --config s", "evaluate --fail-under a", "predict --run l"]
)
def test_nothing_heavy_is_imported(tmp_path: Path, words: str) -> None:
    code, packages = imported(tmp_path, COMPLETE, *words.split())
    assert code == 0
    assert not packages & (HEAVY | {"numpy", "openvino", "PIL"})
