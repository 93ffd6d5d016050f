"""tlcli runs and tlcli runs compare on runs that train and evaluate have made."""

import csv
import json
from pathlib import Path

import pytest
from tests.e2e.conftest import Tlcli

pytestmark = pytest.mark.e2e


@pytest.fixture
def trained(tlcli: Tlcli, shapes: Path) -> list[Path]:
    """Two runs of different heads on the same data, both evaluated and cross-validated; the older one first."""
    folders = []
    config = shapes / "shapes.yaml"
    config.write_text(config.read_text().replace("cross_validation: null", "cross_validation: {folds: 2, repeats: 1}"))
    for Cs in ("[1e-9]", "[1]"):
        done = tlcli("train", "--config", "shapes.yaml", "--json", "--set", f"head.Cs={Cs}")
        assert done.code == 0, done.err
        folders.append(Path(done.json()["run_dir"]))
        assert tlcli("evaluate").code == 0
    return folders


def right(run: Path) -> dict[str, bool]:
    with (run / "predictions.csv").open(newline="") as file:
        return {
            row["sha256"]: row["label"] == row["predicted"] for row in csv.DictReader(file) if row["split"] == "test"
        }


def test_runs_are_listed_and_compared(tlcli: Tlcli, trained: list[Path]) -> None:
    listed = tlcli("runs", "--json").json()
    assert {Path(run["path"]) for run in listed["runs"]} == set(trained)
    assert listed["broken"] == []
    for run in listed["runs"]:
        metrics = json.loads((Path(run["path"]) / "metrics.json").read_text())
        assert run["test"] == {key: metrics["test"][key] for key in ("n", "accuracy", "accuracy_ci95")}
        assert run["images"] == {"train": 28, "validation": 6, "test": 6}

    older, newer = trained
    found = tlcli("runs", "compare", older.name, newer.name, "--json").json()
    a, b = right(older), right(newer)
    assert a.keys() == b.keys()
    assert found["images"] == len(a) == 6
    assert found["both_correct"] == sum(a[sha] and b[sha] for sha in a)
    assert {image["sha256"] for image in found["only_b_correct"]} == {sha for sha in a if b[sha] and not a[sha]}
    assert found["a"]["accuracy"] == pytest.approx(sum(a.values()) / 6)
    assert found["settings"] == {"head.Cs": {"a": [1e-9], "b": [1.0]}}
    assert found["same_data"]
    assert found["test_evaluations"] == 2


@pytest.mark.slow
def test_other_splits_are_compared_on_what_is_common_and_fair(tlcli: Tlcli, trained: list[Path]) -> None:
    for seed in range(1, 4):
        done = tlcli("train", "--config", "shapes.yaml", "--json", "--set", f"dataset.split.seed={seed}")
        assert done.code == 0, done.err
        assert tlcli("evaluate").code == 0
        other = Path(done.json()["run_dir"])
        common = right(other).keys() & right(trained[0]).keys()
        compared = tlcli("runs", "compare", trained[0].name, "latest", "--json")
        found = compared.json()
        if not common:
            assert found["on"] == "out_of_fold"
            continue
        assert found["images"] == len(common)
        assert found["a"]["not_common"] == found["b"]["not_common"] == 6 - len(common)
        assert not found["same_data"]


@pytest.mark.slow
def test_the_printed_list_and_comparison_fit_the_screen(tlcli: Tlcli, trained: list[Path]) -> None:
    done = tlcli("runs")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 100
    assert done.out.splitlines()[-1] == f"Next: tlcli runs compare shapes/{trained[0].name} shapes/{trained[1].name}"
    narrow = tlcli("runs", "compare", "latest~1", "latest", env={"COLUMNS": "40"})
    assert narrow.code == 0
    assert max(len(line) for line in narrow.out.splitlines() if "│" in line) <= 40
