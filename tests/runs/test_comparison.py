"""Two runs on the same test images: what is counted, left out and refused."""

from pathlib import Path

import pytest
from tests.runs.run_folders import Row, made_run, rows, sha

from tlcli.datasets.split_names import SplitName
from tlcli.errors import DataError, ModelError, UsageError
from tlcli.evaluation.compare import paired_difference
from tlcli.runs.comparison import Comparison, Disagreement, compare_out_of_fold, compare_runs

Splits = dict[SplitName, list[Row]]


def compared(folder: Path, a: Splits, b: Splits, digest: str = "d") -> Comparison:
    return compare_runs(folder, made_run(folder, "cats/a", a), made_run(folder, "cats/b", b, digest=digest))


def test_every_image_is_counted_where_it_belongs(tmp_path: Path) -> None:
    found = compared(tmp_path, {"test": rows("abcdef", "ghij")}, {"test": rows("abcghi", "defj")})
    assert (found.images, found.both_correct, found.both_wrong, found.left_out) == (10, 3, 1, 0)
    assert [one.path for one in found.only_a_correct] == ["d", "e", "f"]
    assert found.only_b_correct == tuple(Disagreement(n, sha(n), "cat", "dog", "cat") for n in "ghi")
    assert (found.a.accuracy, found.b.accuracy) == (0.6, 0.6)
    assert found.difference == paired_difference(3, 3, 3, 1)
    assert (found.a.run, found.a.evaluated, found.a.not_common) == ("cats/a", 10, 0)
    assert found.test_evaluations == 2


def test_images_are_the_same_by_content_in_any_order_and_under_any_name(tmp_path: Path) -> None:
    a: Splits = {"test": [("x", "cat", "cat"), ("y", "dog", "cat"), ("z", "dog", "dog")]}
    b: Splits = {"test": [("z=renamed", "dog", "cat"), ("y", "dog", "dog"), ("x=moved", "cat", "cat")]}
    found = compared(tmp_path, a, b)
    assert (found.images, found.both_correct, found.both_wrong) == (3, 1, 0)
    assert [one.path for one in (*found.only_a_correct, *found.only_b_correct)] == ["z=renamed", "y"]


def test_copies_are_paired_with_copies(tmp_path: Path) -> None:
    found = compared(tmp_path, {"test": rows("p", "q") + rows(["p=2", "p=3"])}, {"test": rows("pq") + rows(["p=2"])})
    assert (found.images, found.both_correct, len(found.only_b_correct)) == (3, 2, 1)
    assert (found.a.not_common, found.b.not_common) == (1, 0)


def test_only_common_images_are_compared_and_the_others_are_counted(tmp_path: Path) -> None:
    a: Splits = {"train": rows("x"), "test": rows("abc", "de")}
    b: Splits = {"train": rows("dz"), "test": rows("bcx", "a")}
    found = compared(tmp_path, a, b)
    assert found.images == 3
    assert (found.both_correct, len(found.only_a_correct), len(found.only_b_correct), found.both_wrong) == (2, 1, 0, 0)
    assert (found.a.not_common, found.a.trained_on_by_other) == (2, 1)  # d and e; b was trained on d
    assert (found.b.not_common, found.b.trained_on_by_other) == (1, 1)  # x, which a was trained on


def test_copies_of_training_images_are_left_out(tmp_path: Path) -> None:
    a: Splits = {"train": rows(["a=copy"]), "test": rows("abc")}
    found = compared(tmp_path, a, {"train": rows(["b=copy"]), "test": rows("abc")})
    assert (found.images, found.left_out) == (1, 2)


@pytest.mark.parametrize("test", ["xyz", "ab"])
def test_nothing_left_to_compare_is_refused(tmp_path: Path, test: str) -> None:
    with pytest.raises(DataError) as error:
        compared(tmp_path, {"train": rows("ab"), "test": rows("abc")}, {"test": rows(test)})
    assert error.value.code == "data.no_common_test_images"


def test_other_classes_are_refused(tmp_path: Path) -> None:
    a = made_run(tmp_path, "cats/a", {"test": rows("ab")})
    b = made_run(tmp_path, "cats/b", {"test": rows("ab")}, labels=("cat", "bird"))
    with pytest.raises(DataError) as error:
        compare_runs(tmp_path, a, b)
    assert error.value.code == "data.classes_differ"


def test_the_order_of_classes_does_not_matter(tmp_path: Path) -> None:
    a = made_run(tmp_path, "cats/a", {"test": rows("ab")})
    b = made_run(tmp_path, "cats/b", {"test": rows("a", "b")}, labels=("dog", "cat"))
    assert len(compare_runs(tmp_path, a, b).only_a_correct) == 1


def test_other_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        compared(tmp_path, {"test": rows("ab")}, {"test": rows("a") + rows("b", label="dog")})
    assert error.value.code == "data.labels_differ"


def test_a_run_that_was_not_evaluated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        compared(tmp_path, {"test": rows("ab")}, {"train": rows("ab")})
    assert error.value.code == "model.run_not_evaluated"


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    run = made_run(tmp_path, "cats/a", {"test": rows("ab")})
    (tmp_path / "latest").symlink_to("cats/a")
    with pytest.raises(UsageError) as error:
        compare_runs(tmp_path, run, tmp_path / "latest")
    assert error.value.code == "usage.same_run"


def test_other_data_is_reported(tmp_path: Path) -> None:
    assert compared(tmp_path / "x", {"test": rows("ab")}, {"test": rows("ab")}).same_data
    assert not compared(tmp_path / "y", {"test": rows("ab")}, {"test": rows("ab")}, digest="other").same_data


# out-of-fold predictions


def compared_out_of_fold(folder: Path, a: list[Row] | None, b: list[Row] | None) -> Comparison | None:
    of_a, of_b = (
        made_run(folder, f"cats/{name}", {"train": rows("z")}, out_of_fold=given)
        for name, given in (("a", a), ("b", b))
    )
    return compare_out_of_fold(folder, of_a, of_b)


def test_runs_without_test_images_are_compared_out_of_fold(tmp_path: Path) -> None:
    names = [f"{number:03}" for number in range(100)]
    found = compared_out_of_fold(tmp_path, rows(names[:80], names[80:]), rows(names[:92], names[92:]))
    assert found is not None
    assert (found.on, found.images, found.both_correct, found.both_wrong) == ("out_of_fold", 100, 80, 8)
    assert [one.path for one in found.only_b_correct] == names[80:92]
    assert (found.a.accuracy, found.b.accuracy, found.test_evaluations) == (0.8, 0.92, 0)
    of_test = paired_difference(80, 0, 12, 8)
    assert found.difference.difference == pytest.approx(0.12)
    assert found.difference.low < of_test.low < of_test.high < found.difference.high
    assert found.difference.p >= of_test.p
    assert found.difference.significant


def test_out_of_fold_images_are_paired_by_content_and_counted(tmp_path: Path) -> None:
    found = compared_out_of_fold(tmp_path, rows("abc", "d"), rows(["b=moved", "x"], "c"))
    assert found is not None
    assert (found.images, found.both_correct, len(found.only_a_correct)) == (2, 1, 1)
    assert (found.a.evaluated, found.a.not_common, found.b.not_common) == (4, 2, 1)


def test_a_run_without_cross_validation_has_no_comparison_out_of_fold(tmp_path: Path) -> None:
    assert compared_out_of_fold(tmp_path, rows("ab"), None) is None


@pytest.mark.parametrize(
    ("other", "code"),
    [(rows("xy"), "data.no_common_images"), (rows("ab", label="dog", other="cat"), "data.labels_differ")],
)
def test_nothing_to_compare_out_of_fold_is_refused(tmp_path: Path, other: list[Row], code: str) -> None:
    with pytest.raises(DataError) as error:
        compared_out_of_fold(tmp_path, rows("ab"), other)
    assert error.value.code == code
