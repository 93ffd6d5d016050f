"""The list of runs: key figures of the good ones, reasons of the broken ones."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.workflows.run_folders import Row, made_run, rows

from tlcli.datasets.layout import SplitName
from tlcli.workflows.list_runs import Measured, list_runs

SPLITS: dict[SplitName, list[Row]] = {"train": rows("abcdef"), "validation": rows("ghi", "j"), "test": rows("k", "l")}


def test_key_figures_are_those_of_the_runs_files(tmp_path: Path) -> None:
    made_run(tmp_path, "cats/20260102T030405Z-0a1b", SPLITS)
    (run,) = list_runs(tmp_path).runs
    assert (run.name, run.started) == ("cats/20260102T030405Z-0a1b", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert (run.backbone, run.precision, run.fit) == ("densenet201", "bf16", "convex")
    assert run.validation == Measured(n=4, accuracy=0.75, accuracy_ci95=(0.375, 0.875))
    assert run.test == Measured(n=2, accuracy=0.5, accuracy_ci95=(0.25, 0.75))
    assert run.images == {"train": 6, "validation": 4, "test": 2}
    assert run.seconds == 1.75


def test_newest_first_and_of_one_config_where_asked(tmp_path: Path) -> None:
    for name in ("cats/20260101T000000Z-ffff", "dogs/20260103T000000Z-0000", "cats/20260102T000000Z-0000"):
        made_run(tmp_path, name, {"train": rows("ab"), "validation": rows("c")})
    assert [run.name[:13] for run in list_runs(tmp_path).runs] == ["dogs/20260103", "cats/20260102", "cats/20260101"]
    for config in ("cats", "configs/cats.yaml"):
        assert [run.name[:13] for run in list_runs(tmp_path, config).runs] == ["cats/20260102", "cats/20260101"]
    assert all(run.test is None for run in list_runs(tmp_path).runs)


def test_links_unfinished_runs_and_other_folders_are_no_runs(tmp_path: Path) -> None:
    run = made_run(tmp_path, "cats/20260101T000000Z-ffff", {"validation": rows("c")})
    made_run(tmp_path, "cats/20260102T000000Z-0000.partial", {"validation": rows("c")})
    (tmp_path / "cats/latest").symlink_to(run.name)
    (tmp_path / "latest").symlink_to("cats")
    (tmp_path / "cats/notes").mkdir()
    assert [one.name for one in list_runs(tmp_path).runs] == ["cats/20260101T000000Z-ffff"]
    assert list_runs(tmp_path).broken == {}


def test_a_run_of_another_name_has_no_time(tmp_path: Path) -> None:
    made_run(tmp_path, "cats/best", {"validation": rows("c")})
    made_run(tmp_path, "cats/20260231T000000Z-ffff", {"validation": rows("c")})
    assert [run.started for run in list_runs(tmp_path).runs] == [None, None]


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("run.json", None, "run.json cannot be read"),
        ("metrics.json", None, "metrics.json cannot be read"),
        ("run.json", "{", "run.json cannot be read"),
        ("run.json", "[]", "run.json is not what a run holds"),
        ("run.json", "{}", "run.json is not what a run holds: images: Field required"),
        ("metrics.json", '{"validation": {"n": 1, "accuracy": NaN, "accuracy_ci95": [0, 1]}}', "validation.accuracy"),
        ("metrics.json", '{"validation": {"n": 1, "accuracy": 1, "accuracy_ci95": [0]}}', "validation.accuracy_ci95"),
    ],
)
def test_broken_runs_are_named_and_hide_no_other(tmp_path: Path, file: str, text: str | None, reason: str) -> None:
    made_run(tmp_path, "cats/20260101T000000Z-ffff", {"validation": rows("c")})
    broken = made_run(tmp_path, "cats/20260102T000000Z-0000", {"validation": rows("c")})
    if text is None:
        (broken / file).unlink()
    else:
        (broken / file).write_text(text)
    listed = list_runs(tmp_path)
    assert [run.name for run in listed.runs] == ["cats/20260101T000000Z-ffff"]
    assert listed.broken.keys() == {"cats/20260102T000000Z-0000"}
    assert reason in listed.broken["cats/20260102T000000Z-0000"]


def test_a_folder_that_is_not_there_has_no_runs(tmp_path: Path) -> None:
    listed = list_runs(tmp_path / "nowhere")
    assert (listed.runs, listed.broken) == ((), {})


def test_what_this_version_adds_to_a_run_is_passed_over(tmp_path: Path) -> None:
    run = made_run(tmp_path, "cats/20260101T000000Z-ffff", {"validation": rows("c")})
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "later": [1]}))
    assert len(list_runs(tmp_path).runs) == 1
