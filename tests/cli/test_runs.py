"""tlcli runs and tlcli runs compare: what they print of runs written by hand, on wide and on narrow screens."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.runs.run_folders import Row, made_run, rows

from tlcli.cli.app import main
from tlcli.datasets.split_names import SplitName

Run = Callable[..., tuple[int, str, str]]
FIRST, SECOND = "cats/20260101T101500Z-94e2", "cats/20260102T101500Z-0a1b"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``tlcli ARGUMENTS`` in this process, in an empty folder, on 100 columns: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tlcli", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return command


@pytest.fixture
def two(tmp_path: Path) -> None:
    """An older run that is right on 80 of 100, and a newer one on 92 of them."""
    names = [f"{number:03}" for number in range(100)]
    for name, right, weight in ((FIRST, 80, "none"), (SECOND, 92, "balanced")):
        test = rows(names[:right], names[right:])
        config = f"head:\n  class_weight: {weight}\n"
        made_run(tmp_path / "runs", name, {"validation": rows("vw", "xy"), "test": test}, config=config)


def test_the_list_has_the_data_and_the_settings_that_differ_and_fits_80_columns(run: Run, two: None) -> None:
    code, out, err = run("runs")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [re.split(r" *│ *", line) for line in lines[6:16]] == [
        [SECOND, "-", "104"],
        ["2026-01-02 10:15 UTC", "-", "1.8"],
        ["densenet201 bf16, logistic_regression", "-", ""],
        ["/data", "0.5000, 0.9200", ""],
        ["head.class_weight=balanced", "0.4600 - 0.9600", ""],
        [FIRST, "-", "104"],
        ["2026-01-01 10:15 UTC", "-", "1.8"],
        ["densenet201 bf16, logistic_regression", "-", ""],
        ["/data", "0.5000, 0.8000", ""],
        ["head.class_weight=none", "0.4000 - 0.9000", ""],
    ]
    assert max(map(len, lines[:16])) <= 80
    assert lines[16:] == [f"Next: tlcli runs compare {FIRST} {SECOND}"]


def test_the_longest_names_fit_80_columns(run: Run, tmp_path: Path) -> None:
    folder = made_run(
        tmp_path / "runs", "alien_predator/20260101T101500Z-94e2", {"validation": rows("a" * 9), "test": rows("b")}
    )
    record = json.loads((folder / "run.json").read_text())
    record["backbone"]["name"] = "efficientnet_lite0"
    record["backbone"]["precision"] = "bf16"
    record["images"] = {"train": {"cat": 1234567}}
    record["data_root"], record["name"] = "/a/very/long/path" * 20, "long" * 25
    (folder / "run.json").write_text(json.dumps(record))
    assert max(map(len, run("runs")[1].splitlines())) <= 80


def test_list_json_is_one_document_with_everything(run: Run, two: None, tmp_path: Path) -> None:
    (tmp_path / "runs" / FIRST / "metrics.json").unlink()
    code, out, err = run("runs", "--json")
    assert code == 0
    assert SECOND in err
    found = json.loads(out)
    assert [one["run"] for one in found["runs"]] == [SECOND]
    assert found["runs"][0] == {
        "run": SECOND,
        "path": str(tmp_path / "runs" / SECOND),
        "started": "2026-01-02T10:15:00+00:00",
        "backbone": "densenet201",
        "precision": "bf16",
        "fit": "logistic_regression",
        "validation": {"n": 4, "accuracy": 0.5, "accuracy_ci95": [0.25, 0.75]},
        "cross_validation": None,
        "test": {"n": 100, "accuracy": 0.92, "accuracy_ci95": [0.46, 0.96]},
        "images": {"validation": 4, "test": 100},
        "seconds": 1.75,
        "name": None,
        "data": "/data",
        "overrides": [],
        "settings": {},
    }
    assert [one["run"] for one in found["broken"]] == [FIRST]
    assert "metrics.json" in found["broken"][0]["reason"]


def test_broken_runs_are_listed_below_the_others(run: Run, two: None, tmp_path: Path) -> None:
    (tmp_path / "runs" / FIRST / "run.json").write_text("{")
    code, out, _ = run("runs")
    assert code == 0
    assert f"Broken: {FIRST}: runs/{FIRST}/run.json" in out
    assert SECOND in out


@pytest.mark.parametrize(
    ("arguments", "following"),
    [
        ([], "tlcli train"),
        (["--config", "cats.yaml"], "tlcli train --config cats.yaml"),
        (["--runs-dir", "x"], "--runs-dir x"),
    ],
)
def test_no_runs_are_no_error(run: Run, tmp_path: Path, arguments: list[str], following: str) -> None:
    (tmp_path / "cats.yaml").write_text("dataset: {path: cats}\n")
    code, out, err = run("runs", *arguments)
    assert (code, err) == (0, "")
    assert following in out.splitlines()[-1]


def test_what_to_run_next_after_the_list(run: Run, tmp_path: Path) -> None:
    made_run(tmp_path / "runs", FIRST, {"validation": rows("a"), "test": rows("b")})
    assert run("runs")[1].splitlines()[-1] == "Next: tlcli predict IMAGE"
    made_run(tmp_path / "runs", SECOND, {"validation": rows("a")})
    assert run("runs")[1].splitlines()[-1] == f"Next: tlcli evaluate --run {tmp_path / 'runs' / SECOND}"
    (tmp_path / "dogs.yaml").write_text("dataset: {path: dogs}\n")
    assert run("runs", "--config", "dogs.yaml")[1].splitlines()[-1] == "Next: tlcli train --config dogs.yaml"


# compare


def test_compare_prints_counts_images_settings_and_the_result(run: Run, two: None) -> None:
    code, out, err = run("runs", "compare", "94e2", "latest")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == [f"A: {FIRST}", f"B: {SECOND}"]
    cells = [re.split(r" *│ *", line) for line in lines if "│" in line]
    assert [[cell.strip() for cell in row] for row in cells] == [
        ["by A", "80", "0.8000"],
        ["by B", "92", "0.9200"],
        ["by both", "80", "0.8000"],
        ["by A only", "0", "0.0000"],
        ["by B only", "12", "0.1200"],
        ["by neither", "8", "0.0800"],
        ["of", "100", ""],
    ]
    place = lines.index("  080: cat, not dog")
    assert [line[:5] for line in lines[place : place + 5]] == ["  080", "  081", "  082", "  083", "  084"]
    assert "7 more" in lines[place + 5]
    assert "  head.class_weight: none -> balanced" in lines
    assert re.search(r"\b12\.0 .*\b0\.00049\b", lines[-1])


def test_the_difference_is_that_of_b_from_a(run: Run, two: None) -> None:
    for a, b, better, difference in (("94e2", "0a1b", "b", 0.12), ("0a1b", "94e2", "a", -0.12)):
        found = json.loads(run("runs", "compare", a, b, "--json")[1])
        assert (found["better"], found["difference"]) == (better, pytest.approx(difference))


def test_what_may_be_chance_makes_none_better(run: Run, tmp_path: Path) -> None:
    made_run(tmp_path / "runs", FIRST, {"test": rows("abcdefgh", "ij")})
    made_run(tmp_path / "runs", SECOND, {"test": rows("abcdefghi", "j")})
    found = json.loads(run("runs", "compare", FIRST, SECOND, "--json")[1])
    assert (found["better"], found["difference"]) == (None, pytest.approx(0.1))


def test_compare_json_has_every_figure(run: Run, two: None, tmp_path: Path) -> None:
    code, out, _ = run("runs", "compare", "94e2", "0a1b", "--json")
    found: dict[str, Any] = json.loads(out)
    assert code == 0
    assert (found["images"], found["both_correct"], found["both_wrong"], found["better"]) == (100, 80, 8, "b")
    assert found["a"] == {
        "run": FIRST,
        "path": str(tmp_path / "runs" / FIRST),
        "accuracy": 0.8,
        "evaluated": 100,
        "not_common": 0,
        "trained_on_by_other": 0,
        "is_own_head": True,
    }
    assert (found["on"], found["out_of_fold"]) == ("test", None)
    assert found["only_a_correct"] == []
    assert [image["path"] for image in found["only_b_correct"]] == [f"{number:03}" for number in range(80, 92)]
    low, high = found["difference_ci95"]
    assert low < found["difference"] < high
    assert found["p"] == pytest.approx(2 / 2**12)
    assert found["settings"] == {"head.class_weight": {"a": "none", "b": "balanced"}}
    assert (found["same_data"], found["test_evaluations"]) == (True, 2)


def test_images_that_are_not_compared_are_counted(run: Run, tmp_path: Path) -> None:
    made_run(tmp_path / "runs", FIRST, {"train": rows(["b=copy"]), "test": rows("abcde")})
    made_run(tmp_path / "runs", SECOND, {"train": rows("e"), "test": rows("abcd")}, digest="other")
    lines = run("runs", "compare", FIRST, SECOND)[1].splitlines()
    counts = [re.findall(r"\b\d+\b", line) for line in lines if line.startswith("Left out: ")]
    assert counts == [["1", "5", "1"], ["1"]]
    found = json.loads(run("runs", "compare", FIRST, SECOND, "--json")[1])
    assert (found["a"]["not_common"], found["a"]["trained_on_by_other"], found["left_out"]) == (1, 1, 1)
    assert not found["same_data"]


def test_many_evaluations_on_the_same_test_images_are_a_warning(run: Run, tmp_path: Path) -> None:
    lines = []
    for number in range(5):
        made_run(tmp_path / "runs", f"cats/2026010{number + 1}T101500Z-aaa{number}", {"test": rows("abcd", "ef")})
        if number >= 3:
            lines.append(len(run("runs", "compare", "aaa0", "aaa1")[1].splitlines()))
    assert lines[1] == lines[0] + 1


def cross_validated(folder: Path, with_test: bool) -> None:
    names = [f"{number:03}" for number in range(100)]
    for name, right in ((FIRST, 80), (SECOND, 92)):
        out_of_fold = rows(names[:right], names[right:])
        splits: dict[SplitName, list[Row]] = {"train": rows(names)}
        if with_test:
            splits["test"] = rows("ab", "c")
        made_run(folder / "runs", name, splits, out_of_fold=out_of_fold)


def test_runs_that_are_not_evaluated_are_compared_by_cross_validation(run: Run, tmp_path: Path) -> None:
    cross_validated(tmp_path, False)
    code, out, _ = run("runs", "compare", "latest~1", "latest", "--json")
    found = json.loads(out)
    assert (code, found["on"], found["images"], found["better"]) == (0, "out_of_fold", 100, "b")
    assert found["difference_ci95"][0] > 0
    assert found["out_of_fold"]["difference"] == found["difference"] == pytest.approx(0.12)
    assert run("runs", "compare", "latest~1", "latest")[0] == 0


def test_evaluated_runs_are_compared_on_test_images_and_by_cross_validation(run: Run, tmp_path: Path) -> None:
    cross_validated(tmp_path, True)
    found = json.loads(run("runs", "compare", "latest~1", "latest", "--json")[1])
    assert (found["on"], found["images"], found["better"]) == ("test", 3, None)
    assert (found["out_of_fold"]["images"], found["out_of_fold"]["better"]) == (100, "b")
    lines = run("runs", "compare", "latest~1", "latest")[1].splitlines()
    assert [sum(line.strip().startswith("by neither") for line in lines)] == [2]


def test_runs_with_neither_test_images_nor_cross_validation_are_refused(run: Run, tmp_path: Path) -> None:
    for name in (FIRST, SECOND):
        made_run(tmp_path / "runs", name, {"train": rows("ab")})
    code, out, _ = run("runs", "compare", "latest~1", "latest", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (5, "model.run_not_evaluated")


@pytest.mark.parametrize("option", [["--runs-dir", "x"], ["--json"], ["--config", "cats"]])
def test_options_before_compare_are_refused_instead_of_ignored(run: Run, two: None, option: list[str]) -> None:
    code, _, err = run("runs", *option, "compare", "latest", "latest~1")
    assert code == 2
    assert "tlcli runs compare A B --runs-dir DIR" in err


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["latest", "latest"], 2, "usage.same_run"), (["latest", "ffff"], 2, "usage.run_not_found"),
        (["latest", "26"], 2, "usage.run_not_found"), (["latest"], 2, "usage.missing_argument"),
    ],
)  # fmt: skip
def test_mistakes_are_an_error_and_a_hint(run: Run, two: None, arguments: list[str], code: int, error: str) -> None:
    ended, out, err = run("runs", "compare", *arguments)
    assert (ended, out) == (code, "")
    assert err.startswith(f"Error [{error}]: ")
    assert len(err.splitlines()) == 2


def test_settings_that_differ_are_those_that_decide_something(run: Run, tmp_path: Path) -> None:
    for number, (name, cs) in enumerate((("a", "[1]"), ("b", "[1, 2]"), ("c", "[1]"))):
        text = (
            f"dataset: {{path: /{name}, licence: {name}}}\nhead: {{Cs: {cs}, folds: 5}}\n"
            f"evaluate: {{figures: {name == 'a'}}}\n"
        )
        made_run(tmp_path / "runs", f"cats/2026010{number + 1}T101500Z-aaaa", {"validation": rows("a")}, config=text)
    found = json.loads(run("runs", "--json")[1])["runs"]
    assert [one["settings"] for one in found] == [{"head.Cs": [1]}, {"head.Cs": [1, 2]}, {"head.Cs": [1]}]
    (tmp_path / "runs/cats/20260102T101500Z-aaaa/config.yaml").write_text("[")
    found = json.loads(run("runs", "--json")[1])["runs"]
    assert [one["settings"] for one in found] == [{}, {}, {}]


def test_settings_that_were_chosen_are_listed_before_those_that_follow(run: Run, tmp_path: Path) -> None:
    image = {
        "a": "size: 224, resize: crop, crop_fraction: 0.875, tiles: null",
        "b": "size: 380, resize: squash, crop_fraction: null, tiles: [2, 3]",
    }
    for number, (name, of_image, layers) in enumerate(
        (("densenet201", "a", "all"), ("densenet201", "a", "last"), ("efficientnet_lite0", "b", "all"))
    ):
        text = (
            f"image: {{{image[of_image]}}}\nbackbone: {{name: {name}, path: null, layers: {layers}}}\n"
            f"head: {{folds: {5 + (of_image == 'b')}}}\ntrain: {{seed: {number}}}\naugment: {{views: {number}}}\n"
        )
        set_ = ["backbone.layers=last"] if layers == "last" else []
        made_run(
            tmp_path / "runs", f"cats/2026010{number + 1}T101500Z-aaaa", {"validation": rows("a")}, config=text,
            overrides=set_, out_of_fold=rows("abc", "d"), balanced=0.625,
        )  # fmt: skip
    code, out, _ = run("runs", "--json")
    found = {one["run"]: list(one["settings"].items()) for one in json.loads(out)["runs"]}
    newest, last, default = found.values()
    assert code == 0
    assert (default[0], last[0], newest[0]) == (
        ("backbone.layers", "all"), ("backbone.layers", "last"), ("backbone.layers", "all"),
    )  # fmt: skip
    assert newest[-1] == ("image.crop_fraction", None)
    assert default[-1] == ("image.tiles", None)
    assert [one["cross_validation"]["balanced_accuracy"] for one in json.loads(out)["runs"]] == [0.625] * 3
    printed = run("runs")[1]
    assert printed.count("backbone.layers=all") == 2
    assert (printed.count("backbone.layers=last"), printed.count("0.6250")) == (1, 3)
    assert printed.splitlines()[-1].startswith("Next: tlcli runs compare ")
