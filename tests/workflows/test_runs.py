"""The list of runs, and how the configs of two runs differ."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.runs.run_folders import Row, made_run, rows

from tlcli.datasets.split_names import SplitName
from tlcli.errors import ModelError
from tlcli.runs.folders import RunConfig
from tlcli.workflows.runs import ComparedRuns, compare, list_runs

SPLITS: dict[SplitName, list[Row]] = {"train": rows("abcdef"), "validation": rows("ghi", "j"), "test": rows("k", "l")}


def test_key_figures_are_those_of_the_runs_files(tmp_path: Path) -> None:
    made_run(tmp_path, "cats/20260102T030405Z-0a1b", SPLITS)
    (run,) = list_runs(tmp_path).runs
    assert (run.run, run.started) == ("cats/20260102T030405Z-0a1b", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert (run.backbone, run.precision, run.fit) == ("densenet201", "bf16", "logistic_regression")
    assert (run.validation.n, run.validation.accuracy, run.validation.accuracy_ci95) == (4, 0.75, (0.375, 0.875))
    assert run.test is not None
    assert (run.test.n, run.test.accuracy, run.test.accuracy_ci95) == (2, 0.5, (0.25, 0.75))
    assert run.images == {"train": 6, "validation": 4, "test": 2}
    assert run.seconds == 1.75


def test_newest_first_and_of_one_config_where_asked(tmp_path: Path) -> None:
    for name in ("cats/20260101T000000Z-ffff", "dogs/20260103T000000Z-0000", "cats/20260102T000000Z-0000"):
        made_run(tmp_path, name, {"train": rows("ab"), "validation": rows("c")})
    assert [run.run[:13] for run in list_runs(tmp_path).runs] == ["dogs/20260103", "cats/20260102", "cats/20260101"]
    for config in (RunConfig("cats", "cats"),):
        assert [run.run[:13] for run in list_runs(tmp_path, config).runs] == ["cats/20260102", "cats/20260101"]
    assert all(run.test is None for run in list_runs(tmp_path).runs)


def test_links_unfinished_runs_and_other_directories_are_no_runs(tmp_path: Path) -> None:
    run = made_run(tmp_path, "cats/20260101T000000Z-ffff", {"validation": rows("c")})
    made_run(tmp_path, "cats/20260102T000000Z-0000.partial", {"validation": rows("c")})
    (tmp_path / "cats/latest").symlink_to(run.name)
    (tmp_path / "latest").symlink_to("cats")
    (tmp_path / "cats/notes").mkdir()
    assert [one.run for one in list_runs(tmp_path).runs] == ["cats/20260101T000000Z-ffff"]
    assert list_runs(tmp_path).broken == {}


def test_a_renamed_run_has_no_time(tmp_path: Path) -> None:
    made_run(tmp_path, "cats/best", {"validation": rows("c")})
    made_run(tmp_path, "cats/20260231T000000Z-ffff", {"validation": rows("c")})
    assert [run.started for run in list_runs(tmp_path).runs] == [None, None]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("run.json", None),
        ("metrics.json", None),
        ("run.json", "{"),
        ("run.json", "[]"),
        ("run.json", "{}"),
        ("metrics.json", "{}"),
        ("metrics.json", '{"validation": {"n": 1}}'),
    ],
)
def test_broken_runs_are_listed_and_hide_no_other(tmp_path: Path, file: str, text: str | None) -> None:
    made_run(tmp_path, "cats/20260101T000000Z-ffff", {"validation": rows("c")})
    broken = made_run(tmp_path, "cats/20260102T000000Z-0000", {"validation": rows("c")})
    if text is None:
        (broken / file).unlink()
    else:
        (broken / file).write_text(text)
    listed = list_runs(tmp_path)
    assert [run.run for run in listed.runs] == ["cats/20260101T000000Z-ffff"]
    assert listed.broken.keys() == {"cats/20260102T000000Z-0000"}
    assert file in listed.broken["cats/20260102T000000Z-0000"]


def test_a_missing_directory_has_no_runs(tmp_path: Path) -> None:
    listed = list_runs(tmp_path / "nowhere")
    assert (listed.runs, listed.broken) == ((), {})


def test_unknown_fields_are_ignored(tmp_path: Path) -> None:
    run = made_run(tmp_path, "cats/20260101T000000Z-ffff", {"validation": rows("c")})
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "later": [1]}))
    assert len(list_runs(tmp_path).runs) == 1


def compared(folder: Path, config_a: str, config_b: str) -> ComparedRuns:
    for name, config in (("a", config_a), ("b", config_b)):
        made_run(folder, f"cats/{name}", {"test": rows("ab")}, config=config)
    return compare(folder, "cats/a", "cats/b")


def test_differences_of_the_configs_have_dotted_keys(tmp_path: Path) -> None:
    a = "head:\n  fit: logistic_regression\n  c: 1\ntrain: {x: {y: 1e-3}}\n"
    b = "head:\n  fit: minibatch\n  c: 1\ntrain: {x: {y: 0.001}, z: [1, 2]}\n"
    found = compared(tmp_path, a, b)
    assert found.settings == {"head.fit": ("logistic_regression", "minibatch"), "train.z": (None, [1, 2])}


@pytest.mark.parametrize("text", ["a: [", "a: !!python/name:os.system x"])
def test_an_unreadable_config_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelError) as error:
        compared(tmp_path, "a: 1", text)
    assert error.value.code == "model.run_unreadable"
