"""tlcli evaluate --data, and configs of one name, on the real command line with the double of an engine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import Tlcli, in_process
from tests.situations.evaluation import draw, surroundings, trained


@pytest.fixture
def tlcli(tmp_path: Path) -> Iterator[Tlcli]:
    with surroundings(tmp_path):
        yield in_process(tmp_path, tmp_path / "cache")


def test_external_results_are_printed_and_kept(tlcli: Tlcli) -> None:
    run = trained(Path("my.yaml"))
    draw(Path("site"), 4, 5)
    done = tlcli("evaluate", "--data", "site", "--json")
    assert done.code == 0, done.err
    found = done.json()["external"]
    assert found == json.loads((run / "external/site/metrics.json").read_text())
    assert (done.json()["run_dir"], done.json()["gates"]) == (str(run.resolve()), [])
    assert done.json()["leaks"]["exact"] == 0
    assert (found["metrics"]["n"], set(found["intervals"])) == (
        8,
        {"accuracy", "balanced_accuracy", "log_loss", "roc_auc"},
    )
    assert found["data_root"] == str(Path("site").resolve())
    assert "test" not in json.loads((run / "metrics.json").read_text())
    printed = tlcli("evaluate", "--data", "site")
    assert printed.code == 0
    assert str(run / "external/site") in printed.out


def test_the_limit_of_the_command_line_applies_to_external_images(tlcli: Tlcli) -> None:
    trained(Path("my.yaml"))
    draw(Path("site/x"), 4, 5, ("cat",))
    Path("site/x/cat").rename("site/dog")  # all are labelled wrongly
    Path("site/x").rmdir()
    done = tlcli("evaluate", "--data", "site", "--fail-under", "0.5", "--json")
    assert done.code == 3
    assert done.json()["external"]["metrics"]["accuracy"] < 0.5
    assert "[data.gate_missed]" in done.err
    assert tlcli("evaluate", "--data", "site").code == 0


def test_what_to_do_when_the_data_has_moved_works(tlcli: Tlcli) -> None:
    run = trained(Path("my.yaml"))
    Path("data").rename("moved")
    done = tlcli("evaluate", "--json")
    assert (done.code, done.error) == (3, "data.images_missing")
    assert f"tlcli evaluate --run {run} --data" in done.err
    done = tlcli("evaluate", "--run", run, "--data", "moved", "--json")
    assert done.code == 0
    assert {"train", "validation", "test"} < set(done.json())


def test_runs_of_a_config_are_listed_by_its_file(tlcli: Tlcli) -> None:
    runs = {name: trained(Path(name, "config.yaml"), Path(name, "data")) for name in ("a", "b")}
    for name, run in runs.items():
        listed = tlcli("runs", "--config", f"{name}/config.yaml", "--json").json()["runs"]
        assert [Path(one["path"]) for one in listed] == [run.resolve()]
    Path("c").mkdir()
    Path("c/config.yaml").write_text("dataset: {path: data}\n")
    for command in (("runs",), ("evaluate",), ("predict", "x.png")):
        done = tlcli(*command, "--config", "c/config.yaml", "--json")
        assert (done.code, done.error) == (5, "model.no_runs_of_config")
        done = tlcli(*command, "--config", "d/config.yaml", "--json")
        assert (done.code, done.error) == (2, "config.not_found")
    trained_again = tlcli("train", "--config", "a/config.yaml")
    assert str(Path("b/config.yaml").resolve()) in trained_again.err


# Gates


def test_every_gate_is_reported_and_a_missed_one_ends_with_3(tlcli: Tlcli) -> None:
    run = trained(Path("my.yaml"))
    done = tlcli("evaluate", "--fail-under", "0", "--fail-under", "recall.dog=1", "--fail-under", "f1.cat=0", "--json")
    test = json.loads((run / "metrics.json").read_text())["test"]
    recall = test["per_class"]["dog"]["recall"]
    assert done.json()["gates"] == [
        {"name": "accuracy", "limit": 0.0, "value": test["accuracy"], "passed": True},
        {"name": "recall.dog", "limit": 1.0, "value": recall, "passed": recall == 1},
        {"name": "f1.cat", "limit": 0.0, "value": test["per_class"]["cat"]["f1"], "passed": True},
    ]
    assert done.json()["run_dir"] == str(run.resolve())
    assert {"cross_validation", "leaks"} <= done.json().keys()
    low = tlcli("evaluate", "--fail-under", "accuracy.lower=1", "--fail-under", "roc_auc.lower=0", "--json")
    assert low.code == 3
    assert [gate["passed"] for gate in low.json()["gates"]] == [False, True]
    assert low.json()["gates"][0]["value"] == test["accuracy_ci95"][0]
    error = low.err.partition("[data.gate_missed]")[2]
    assert "accuracy.lower" in error
    assert "roc_auc" not in error


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("2", "usage.invalid_gate"), ("nan", "usage.invalid_gate"), ("accuracy", "usage.invalid_gate"),
        ("log_loss=0.3", "usage.unknown_gate"), ("recall=0.3", "usage.unknown_gate"),
        ("recall.owl=0.3", "usage.unknown_gate_class"), ("f1.dog.lower=0.3", "usage.unknown_gate"),
    ],
)  # fmt: skip
def test_a_wrong_gate_is_refused_before_anything_is_measured(tlcli: Tlcli, given: str, code: str) -> None:
    run = trained(Path("my.yaml"))
    done = tlcli("evaluate", "--fail-under", given, "--json")
    assert (done.code, done.error) == (2, code)
    assert "test" not in json.loads((run / "metrics.json").read_text())


def test_gates_of_the_config_as_it_is_now_count_and_the_command_line_replaces_those_of_one_name(tlcli: Tlcli) -> None:
    trained(Path("my.yaml"))
    text = Path("my.yaml").read_text()
    gates = "  fail_under: {accuracy: 1, recall.cat.lower: 1}\n"
    Path("my.yaml").write_text(text.replace("evaluate:\n", f"evaluate:\n{gates}"))
    done = tlcli("evaluate", "--config", "my.yaml", "--fail-under", "0", "--json")
    assert done.code == 3
    assert [(one["name"], one["limit"]) for one in done.json()["gates"]] == [
        ("recall.cat.lower", 1.0),
        ("accuracy", 0.0),
    ]
    assert tlcli("evaluate").code == 0  # as the run was trained
    Path("my.yaml").write_text(text.replace("evaluate:\n", "evaluate:\n  fail_under: {recall.owl: 1}\n"))
    done = tlcli("train", "--config", "my.yaml", "--json")
    assert (done.code, done.error) == (2, "usage.unknown_gate_class")


# Runs of a config as it is now


def test_a_run_with_other_settings_than_the_config_is_not_measured(tlcli: Tlcli) -> None:
    first = trained(Path("my.yaml"))
    again = tlcli("train", "--config", "my.yaml", "--set", "train.seed=1", "--json").json()["run_dir"]
    done = tlcli("evaluate", "--config", "my.yaml", "--json")
    assert (done.code, done.json()["run_dir"]) == (0, str(first.resolve()))  # not the newest
    done = tlcli("evaluate", "--config", "my.yaml", "--set", "train.seed=1", "--json")
    assert (done.code, done.json()["run_dir"]) == (0, again)
    done = tlcli("evaluate", "--config", "my.yaml", "--set", "train.seed=2", "--json")
    assert (done.code, done.error) == (5, "model.no_run_with_settings")
    assert "train.seed" in done.err
    done = tlcli("evaluate", "--config", "my.yaml", "--run", again, "--json")
    assert (done.code, done.error) == (5, "model.no_run_with_settings")
    done = tlcli("evaluate", "--set", "train.seed=1", "--json")
    assert (done.code, done.error) == (2, "usage.set_without_config")


def test_a_run_of_another_data_set_is_not_measured(tlcli: Tlcli) -> None:
    trained(Path("my.yaml"))
    Path("my.yaml").write_text(Path("my.yaml").read_text().replace("path: data", "path: other"))
    draw(Path("other"), seed=3)
    done = tlcli("evaluate", "--config", "my.yaml", "--json")
    assert (done.code, done.error) == (5, "model.no_run_with_settings")
    assert "dataset.path" in done.err
    done = tlcli("evaluate", "--config", "my.yaml", "--data", "other", "--json")
    assert done.json()["external"]["metrics"]["n"] > 0


def test_what_decides_nothing_about_a_run_may_differ(tlcli: Tlcli) -> None:
    run = trained(Path("my.yaml"))
    settings = ["evaluate.cross_validation=null", "dataset.licence=free", "backbone.precision=auto", "train.epochs=3"]
    done = tlcli("evaluate", "--config", "my.yaml", *(word for one in settings for word in ("--set", one)), "--json")
    assert (done.code, done.json()["run_dir"]) == (0, str(run.resolve()))


def test_predict_says_that_the_run_of_a_config_has_other_settings(tlcli: Tlcli) -> None:
    trained(Path("my.yaml"))
    given = ("predict", "none.png", "--config", "my.yaml", "--json")
    assert "train.seed" not in tlcli(*given).err
    tlcli("train", "--config", "my.yaml", "--set", "train.seed=1")
    assert "train.seed" in tlcli(*given).err


# Names and places of runs


def test_a_name_finds_its_run(tlcli: Tlcli) -> None:
    trained(Path("my.yaml"))
    run = tlcli("train", "--config", "my.yaml", "--name", "first try", "--json").json()["run_dir"]
    tlcli("train", "--config", "my.yaml", "--name", "second")
    assert [one["name"] for one in tlcli("runs", "--json").json()["runs"]] == ["second", "first try", None]
    assert "first try" in tlcli("runs").out
    assert tlcli("evaluate", "--run", "first try", "--json").json()["run_dir"] == run
    wrong = {"second": "usage.name_taken", "latest~1": "usage.invalid_name", "a/b": "usage.invalid_name"}
    for name, code in wrong.items():
        done = tlcli("train", "--config", "my.yaml", "--name", name, "--json")
        assert (done.code, done.error) == (2, code)


def test_a_run_of_output_is_in_exactly_this_directory_and_in_no_list(tlcli: Tlcli) -> None:
    run = trained(Path("my.yaml"))
    for _ in range(2):
        done = tlcli("train", "--config", "my.yaml", "--output", "out/model", "--json")
        assert (done.code, done.json()["run_dir"]) == (0, str(Path("out/model").resolve()))
    assert [path.name for path in Path("out").iterdir()] == ["model"]
    assert [one["path"] for one in tlcli("runs", "--json").json()["runs"]] == [str(run.resolve())]
    assert tlcli("evaluate", "--json").json()["run_dir"] == str(run.resolve())
    done = tlcli("evaluate", "--run", "out/model/model", "--config", "my.yaml", "--json", "--fail-under", "0")
    assert (done.code, done.json()["run_dir"]) == (0, str(Path("out/model").resolve()))
    done = tlcli("train", "--config", "my.yaml", "--output", "data", "--json")
    assert (done.code, done.error) == (2, "usage.output_exists")


# The config that was used last


def config_shown(tlcli: Tlcli) -> str:
    return str(tlcli("config", "show", "--json").json()["dataset"]["path"])


def test_commands_without_a_config_take_the_last_one_used_here(tlcli: Tlcli) -> None:
    for name in ("a", "b"):
        trained(Path(f"{name}.yaml"), Path(name))
    assert config_shown(tlcli) == "b"  # of the newest run, as none was noted
    assert tlcli("train", "--config", "a.yaml").code == 0
    done = tlcli("train", "--json")
    assert (done.code, done.json()["config"]) == (0, "a.yaml")
    assert "a.yaml" in done.err
    assert config_shown(tlcli) == "a"
    assert tlcli("fetch", "--config", "b.yaml").code == 0
    assert tlcli("config", "check", "--json").json()["valid"][0]["config"] == "b.yaml"
    assert tlcli("inspect", "--config", "a.yaml", "--set", "dataset.path=none").code == 3  # also where it failed
    assert config_shown(tlcli) == "a"
    assert tlcli("runs", "--config", "b.yaml").code == 0
    assert config_shown(tlcli) == "a"


def test_a_config_that_was_used_last_and_is_gone_is_an_error(tlcli: Tlcli) -> None:
    trained(Path("my.yaml"))
    assert tlcli("train", "--config", "my.yaml").code == 0
    Path("my.yaml").unlink()
    for command in (("train",), ("inspect",), ("fetch",), ("config", "show")):
        done = tlcli(*command, "--json")
        assert (done.code, done.error) == (2, "config.last_used_missing")


def test_where_none_was_used_the_tutorial_is_taken_and_a_failure_leaves_nothing(tlcli: Tlcli) -> None:
    assert config_shown(tlcli) == "data/alien_predator"
    assert tlcli("train", "--set", "dataset.path=none").code == 3
    assert not Path("runs").exists()


def test_runs_in_another_place_have_a_config_of_their_own(tlcli: Tlcli, tmp_path: Path) -> None:
    trained(Path("my.yaml"))
    far = tmp_path / "far"
    assert tlcli("train", "--config", "my.yaml", "--runs-dir", far).code == 0
    assert (far / ".last-config").read_text() == str(Path("my.yaml").absolute())
    assert tlcli("train", "--runs-dir", far, "--json").json()["config"] == str(Path("my.yaml").absolute())
    assert not Path("runs/.last-config").exists()


def test_settings_without_effect_are_said_before_training(tlcli: Tlcli) -> None:
    trained(Path("my.yaml"))
    setting = ("--config", "my.yaml", "--set", "train.epochs=5", "--json")
    done = tlcli("train", *setting)
    assert (done.code, [one["key"] for one in done.json()["warnings"]]) == (0, ["train.epochs"])
    assert done.err.count("Warning: ") == 1
    (valid,) = tlcli("config", "check", *setting).json()["valid"]
    assert [one["key"] for one in valid["warnings"]] == ["train.epochs"]
