"""Run directories: complete or absent, and found by name."""

import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlcli.errors import ModelError, ResourceError, UsageError
from tlcli.runs.files import write_json
from tlcli.runs.folders import RunConfig, final_name, find_run, named_run, new_run, other_configs, run_name, runs_of


def finished(runs_dir: Path, config_name: str = "cats") -> Path:
    """A complete run, made as train makes it."""
    with new_run(runs_dir, config_name) as partial:
        write_json(partial / "run.json", {"config": config_name})
    return final_name(partial)


def made(runs_dir: Path, name: str, modified: int = 0) -> Path:
    """A complete run of this name (config/time-hex), last changed ``modified`` seconds after 1970."""
    folder = runs_dir / name
    folder.mkdir(parents=True)
    write_json(folder / "run.json", {})
    os.utime(folder / "run.json", (modified, modified))
    return folder


# new_run


def test_run_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    with new_run(tmp_path / "runs", "cats") as partial:
        assert partial.parent == tmp_path / "runs/cats"
        assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}\.partial", partial.name)
        assert list(partial.iterdir()) == []
        (partial / "model").mkdir()
        (partial / "model/x").write_text("x")
        assert not final_name(partial).exists()
    assert not partial.exists()
    assert (final_name(partial) / "model/x").read_text() == "x"
    started = datetime.strptime(partial.name.split("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert before <= started <= datetime.now(UTC)


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights on Windows")
def test_latest_points_to_the_newest_run_of_all_and_of_its_config(tmp_path: Path) -> None:
    cats, dogs = finished(tmp_path, "cats"), finished(tmp_path, "dogs")
    assert (tmp_path / "latest").resolve() == dogs
    assert (tmp_path / "cats/latest").resolve() == cats
    again = finished(tmp_path, "cats")
    assert (tmp_path / "latest").resolve() == again
    assert (tmp_path / "cats/latest").resolve() == again
    assert (tmp_path / "dogs/latest").resolve() == dogs


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights on Windows")
def test_a_link_that_a_killed_process_with_the_same_id_left_does_no_harm(tmp_path: Path) -> None:
    finished(tmp_path, "cats")
    for folder in (tmp_path, tmp_path / "cats"):  # in a container each process has the number of the one before
        (folder / f".latest.{os.getpid()}").symlink_to("nowhere")
    again = finished(tmp_path, "cats")
    assert (tmp_path / "latest").resolve() == again
    assert (tmp_path / "cats/latest").resolve() == again


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights on Windows")
def test_links_hold_when_the_runs_are_moved(tmp_path: Path) -> None:
    run = finished(tmp_path / "runs")
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert (tmp_path / "moved/latest").resolve() == tmp_path / "moved/cats" / run.name
    assert not os.path.isabs(os.readlink(tmp_path / "moved/latest"))  # noqa: PTH115, PTH117 - the text is meant


def test_only_runs_and_links_are_left(tmp_path: Path) -> None:
    runs = {finished(tmp_path).name for _ in range(3)}
    assert {path.name for path in (tmp_path / "cats").iterdir()} - {"latest"} == runs
    assert {path.name for path in tmp_path.iterdir()} - {"latest"} == {"cats"}


FAILURES = [ValueError("x"), KeyboardInterrupt(), SystemExit(3), OSError(13, "x"), ModelError("model.x", "X.")]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_run_that_fails_leaves_nothing_and_latest_stays(tmp_path: Path, error: BaseException) -> None:
    def half_a_run() -> None:
        with new_run(tmp_path, "cats") as partial:
            (partial / "half").write_text("x")
            raise error

    run = finished(tmp_path)
    with pytest.raises(type(error)) as caught:
        half_a_run()
    assert caught.value is error
    assert {path.name for path in (tmp_path / "cats").iterdir()} - {"latest"} == {run.name}
    assert find_run(tmp_path) == run


def test_file_systems_without_links_are_supported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    run = finished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"cats"}
    assert find_run(tmp_path) == run


def test_folder_called_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest/mine.txt").write_text("mine")
    run = finished(tmp_path)
    assert (tmp_path / "latest/mine.txt").read_text() == "mine"
    assert find_run(tmp_path) == run


def test_config_cannot_have_the_name_of_the_link(tmp_path: Path) -> None:
    finished(tmp_path)
    with pytest.raises(UsageError) as error, new_run(tmp_path, "latest"):
        pytest.fail("a run was begun")
    assert error.value.code == "config.name_reserved"


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(ResourceError) as error, new_run(tmp_path / "runs", "cats"):
        pytest.fail("a run was begun")
    assert error.value.code == "resource.runs_dir_not_writable"


# find_run


def test_newest_run_is_found_of_all_or_of_a_config(tmp_path: Path) -> None:
    older = made(tmp_path, "cats/20250101T000000Z-ffff", modified=900)
    newer = made(tmp_path, "cats/20250101T000001Z-0000", modified=100)
    dogs = made(tmp_path, "dogs/20240101T000000Z-aaaa", modified=999)
    assert find_run(tmp_path) == newer
    assert find_run(tmp_path, RunConfig("cats", "cats")) == newer
    assert find_run(tmp_path, RunConfig("dogs", "dogs")) == dogs
    assert find_run(tmp_path, RunConfig("cats", "cats"), older) == older


def test_of_two_runs_of_one_second_the_one_that_ended_last_is_found(tmp_path: Path) -> None:
    last = made(tmp_path, "cats/20250101T000000Z-0000", modified=200)
    made(tmp_path, "cats/20250101T000000Z-ffff", modified=100)
    assert find_run(tmp_path) == last


def test_run_after_a_clock_was_set_back_is_the_latest_all_the_same(tmp_path: Path) -> None:
    ahead = made(tmp_path, "cats/29990101T000000Z-aaaa")
    first, second = finished(tmp_path), finished(tmp_path, "dogs")
    assert [run.name.split("-")[0] for run in (first, second)] == ["29990101T000001Z", "29990101T000002Z"]
    assert find_run(tmp_path) == second
    assert find_run(tmp_path, RunConfig("cats", "cats")) == first
    assert ahead.is_dir()


def test_unfinished_runs_are_skipped(tmp_path: Path) -> None:
    done = made(tmp_path, "cats/20240101T000000Z-0000")
    made(tmp_path, "cats/20250101T000000Z-0000.partial")
    (tmp_path / "cats/20260101T000000Z-0000").mkdir()
    assert find_run(tmp_path) == done


def test_a_run_killed_right_before_its_last_step_is_not_found(tmp_path: Path) -> None:
    killed = tmp_path / "birds" / "20260101T000000Z-0000.partial"
    killed.mkdir(parents=True)
    (killed / "run.json").write_text("{}")

    with pytest.raises(UsageError) as error:
        find_run(tmp_path, run=killed)
    assert error.value.code == "usage.run_not_found"
    with pytest.raises(UsageError) as error:
        named_run(tmp_path, str(killed))
    assert error.value.code == "usage.run_not_found"


def test_run_is_a_resolved_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    assert find_run(Path("runs")) == run
    assert find_run(Path("runs"), run=Path("runs/cats") / run.name) == run
    if os.name != "nt":
        assert find_run(Path("runs"), run=Path("runs/latest")) == run


@pytest.mark.parametrize("name", ["cats[1]", "a*b", "[!x]", "?"])
def test_name_of_a_config_is_not_a_pattern(tmp_path: Path, name: str) -> None:
    run = finished(tmp_path, name)
    finished(tmp_path, "x")
    assert find_run(tmp_path, RunConfig(name, name)) == run


@pytest.mark.parametrize("there", [False, True])
def test_no_run_is_an_error_with_the_next_command(tmp_path: Path, there: bool) -> None:
    runs_dir = tmp_path / "runs"
    if there:
        made(runs_dir, "dogs/20250101T000000Z-0000.partial")
    for config, command in ((None, "tlcli train"), (RunConfig("cats", "cats"), "tlcli train --config cats")):
        with pytest.raises(ModelError) as error:
            find_run(runs_dir, config)
        assert error.value.code == "model.no_runs"
        assert error.value.hint.endswith(command)


def test_a_directory_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    finished(tmp_path)
    for wrong in (tmp_path, tmp_path / "none", tmp_path / "cats"):
        with pytest.raises(UsageError) as error:
            find_run(tmp_path, run=wrong)
        assert error.value.code == "usage.run_not_found"


# runs of a config


def trained_with(runs_dir: Path, name: str, file: Path | None, sha256: str = "") -> Path:
    folder = made(runs_dir, name)
    config = {"config": name.split("/", maxsplit=1)[0], "config_sha256": sha256}
    write_json(folder / "run.json", config if file is None else {**config, "config_file": str(file)})
    return folder


def test_two_configs_of_one_name_each_have_their_runs(tmp_path: Path) -> None:
    runs_dir, files = tmp_path / "runs", [tmp_path / name / "cats.yaml" for name in "abc"]
    of_a = trained_with(runs_dir, "cats/20260101T000000Z-0000", files[0])
    of_b = trained_with(runs_dir, "cats/20260102T000000Z-0000", files[1])
    a, b, c = (RunConfig(str(file), "cats", file) for file in files)
    shipped = RunConfig("cats", "cats")
    assert [find_run(runs_dir, config) for config in (None, a, b)] == [of_b, of_a, of_b]
    assert runs_of(runs_dir, a) == [of_a]
    assert other_configs(runs_dir, a) == {str(files[1]): 1}
    assert other_configs(runs_dir, RunConfig("dogs", "dogs")) == {}
    for config in (c, shipped):
        assert other_configs(runs_dir, config) == {str(files[0]): 1, str(files[1]): 1}
        with pytest.raises(ModelError) as error:
            find_run(runs_dir, config)
        assert error.value.code == "model.no_runs_of_config"
        assert str(files[0]) in error.value.message
    of_shipped = trained_with(runs_dir, "cats/20260103T000000Z-0000", None)
    assert find_run(runs_dir, shipped) == of_shipped
    assert find_run(runs_dir, a) == of_a


def test_a_config_that_moved_is_known_by_its_text_while_its_old_place_is_empty(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    run = trained_with(tmp_path / "runs", "old/20260101T000000Z-0000", old, "ab")
    assert find_run(tmp_path / "runs", RunConfig("new.yaml", "new", new, "ab")) == run
    for other in (RunConfig("new.yaml", "new", new, "cd"), RunConfig("new.yaml", "new", new)):
        with pytest.raises(ModelError) as error:
            find_run(tmp_path / "runs", other)
        assert error.value.code == "model.no_runs"
    old.touch()
    assert runs_of(tmp_path / "runs", RunConfig("new.yaml", "new", new, "ab")) == []


def test_a_run_and_a_config_that_is_not_its_own_are_refused(tmp_path: Path) -> None:
    run = trained_with(tmp_path, "cats/20260101T000000Z-0000", tmp_path / "a/cats.yaml")
    other = RunConfig("b/cats.yaml", "cats", tmp_path / "b/cats.yaml")
    with pytest.raises(UsageError) as error:
        find_run(tmp_path, other, run)
    assert error.value.code == "usage.run_of_another_config"


def test_a_run_whose_record_is_damaged_goes_by_its_directory(tmp_path: Path) -> None:
    run = made(tmp_path, "cats/20260101T000000Z-0000")
    (run / "run.json").write_text("{")
    assert find_run(tmp_path, RunConfig("cats.yaml", "cats", tmp_path / "cats.yaml")) == run


# named_run


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Runs, the newest first."""
    names = ["dogs/20260103T000000Z-94e2", "cats/20260102T000000Z-94e2", "cats/20260101T000000Z-0a1b"]
    return [made(tmp_path / "runs", name) for name in names]


def test_runs_are_found_by_folder_name_end_and_age(tmp_path: Path, three: list[Path]) -> None:
    dogs, cats, oldest = three
    runs_dir = tmp_path / "runs"
    for given, expected in (
        (str(cats), cats),
        ("cats/20260102T000000Z-94e2", cats),
        ("0a1b", oldest),
        ("20260102T000000Z-94e2", cats),
        ("latest", dogs),
        ("latest~0", dogs),
        ("latest~2", oldest),
        ("cats/latest", cats),
        ("cats/latest~1", oldest),
    ):
        assert named_run(runs_dir, given) == expected, given


def test_a_name_that_is_the_end_of_another_means_itself(tmp_path: Path) -> None:
    made(tmp_path, "cats/20260101T000000Z-ffff")
    short = made(tmp_path, "ts/20260101T000000Z-ffff")
    made(tmp_path, "nots/20260101T000000Z-ffff")
    assert named_run(tmp_path, "ts/20260101T000000Z-ffff") == short


def test_an_ambiguous_ending_is_refused_with_the_names(tmp_path: Path, three: list[Path]) -> None:
    with pytest.raises(UsageError) as error:
        named_run(tmp_path / "runs", "94e2")
    assert error.value.code == "usage.run_ambiguous"
    assert "dogs/20260103T000000Z-94e2, cats/20260102T000000Z-94e2" in error.value.message


@pytest.mark.parametrize("given", ["ffff", "", "latest~3", "birds/latest", "a\0b", "x" * 5000, "~nobody-here/x"])
def test_a_missing_run_is_an_error(tmp_path: Path, three: list[Path], given: str) -> None:
    with pytest.raises(UsageError) as error:
        named_run(tmp_path / "runs", given)
    assert error.value.code == "usage.run_not_found"


def test_run_name_is_what_named_run_takes(tmp_path: Path, three: list[Path]) -> None:
    for run in three:
        assert named_run(tmp_path / "runs", run_name(tmp_path / "runs", run)) == run
    assert run_name(tmp_path / "runs", tmp_path) == str(tmp_path)


def test_the_model_folder_of_a_run_names_the_run(tmp_path: Path) -> None:
    run = finished(tmp_path)
    model = run / "model"
    model.mkdir(exist_ok=True)
    (model / "manifest.json").write_text("{}")
    assert named_run(tmp_path, str(model)) == run
    assert find_run(tmp_path, run=tmp_path / "latest" / "model") == run
    copied = tmp_path / "elsewhere" / "model"
    shutil.copytree(model, copied)
    with pytest.raises(UsageError) as error:
        named_run(tmp_path, str(copied))
    assert error.value.code == "usage.model_without_run"
