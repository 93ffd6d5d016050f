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
    assert done.json() == {"external": json.loads((run / "external/site/metrics.json").read_text())}
    found = done.json()["external"]
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
    assert "[data.accuracy_below_limit]" in done.err
    assert tlcli("evaluate", "--data", "site").code == 0


def test_what_to_do_when_the_data_has_moved_works(tlcli: Tlcli) -> None:
    run = trained(Path("my.yaml"))
    Path("data").rename("moved")
    done = tlcli("evaluate", "--json")
    assert (done.code, done.error) == (3, "data.images_missing")
    assert f"tlcli evaluate --run {run} --data" in done.err
    done = tlcli("evaluate", "--run", run, "--data", "moved", "--json")
    assert done.code == 0
    assert set(done.json()) == {"train", "validation", "test"}


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
