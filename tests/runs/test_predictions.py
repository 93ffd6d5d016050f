"""Predictions read back, and runs that share test images counted."""

from pathlib import Path

import numpy as np
import pytest
from tests.runs.run_folders import made_run, rows, sha

from tlcli.datasets.index import Index, LabelledImage
from tlcli.errors import ModelError
from tlcli.runs.predictions import PredictionRow, count_test_evaluations, read_predictions, write_predictions


def test_what_was_written_is_read(tmp_path: Path) -> None:
    names = [("odd, name.png", "label"), ('a "quoted".png', "path")]  # classes that are called like columns
    images = tuple(LabelledImage(tmp_path / n, n, sha(n), label, "test", n) for n, label in names)
    index = Index(tmp_path, ("label", "path"), images, {}, ())
    write_predictions(tmp_path, index, {"test": np.array([[0.9, 0.1], [0.8, 0.2]])})
    assert read_predictions(tmp_path) == {
        "test": [
            PredictionRow("odd, name.png", sha("odd, name.png"), "label", "label", "odd, name.png"),
            PredictionRow('a "quoted".png', sha('a "quoted".png'), "path", "label", 'a "quoted".png'),
        ]
    }
    assert [one.is_correct for one in read_predictions(tmp_path)["test"]] == [True, False]


def test_splits_are_apart_and_only_those_that_were_measured(tmp_path: Path) -> None:
    run = made_run(tmp_path, "cats/r", {"train": rows("ab"), "validation": rows("c", "d")})
    found = read_predictions(run)
    assert {split: [one.path for one in of_split] for split, of_split in found.items()} == {
        "train": ["a", "b"],
        "validation": ["c", "d"],
    }


@pytest.mark.parametrize(
    "text",
    [None, "", "path,sha256\na,b\n", "path,sha256,split,label,predicted\na,b\n", 'path,sha256,split\n"', "\udcff"],
)
def test_a_malformed_table_is_an_error_with_the_command_that_writes_it(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "predictions.csv").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ModelError) as error:
        read_predictions(tmp_path)
    assert error.value.code == "model.predictions_malformed"
    assert "tlcli evaluate --run" in error.value.hint


def test_runs_on_the_same_test_images_are_counted(tmp_path: Path) -> None:
    one = made_run(tmp_path, "cats/1", {"test": rows("abcd")})
    assert count_test_evaluations(tmp_path, one) == 1
    made_run(tmp_path, "cats/2", {"test": rows("abcd")})
    made_run(tmp_path, "dogs/1", {"test": rows("abe")})  # 2 of 5 in common
    made_run(tmp_path, "dogs/2", {"test": rows("abce")})  # 3 of 5
    made_run(tmp_path, "cats/3", {"train": rows("abcd")})  # not evaluated
    assert count_test_evaluations(tmp_path, one) == 3


def test_a_broken_run_beside_it_does_not_count(tmp_path: Path) -> None:
    one = made_run(tmp_path, "cats/1", {"test": rows("abcd")})
    (made_run(tmp_path, "cats/2", {"test": rows("abcd")}) / "predictions.csv").unlink()
    (made_run(tmp_path, "cats/3", {"test": rows("abcd")}) / "metrics.json").write_text("{")
    assert count_test_evaluations(tmp_path, one) == 1


def test_a_run_in_another_directory_or_not_evaluated(tmp_path: Path) -> None:
    made_run(tmp_path / "runs", "cats/1", {"test": rows("abcd")})
    elsewhere = made_run(tmp_path / "other", "cats/1", {"test": rows("abcd")})
    assert count_test_evaluations(tmp_path / "runs", elsewhere) == 2
    assert count_test_evaluations(tmp_path, made_run(tmp_path, "cats/2", {"train": rows("ab")})) == 0
