"""Two runs on the same test images: what is counted, what is left out, what is refused."""

from pathlib import Path

import pytest
from tests.workflows.run_folders import Row, made_run, rows, sha

from tlcli.datasets.layout import SplitName
from tlcli.errors import DataError, ModelError, UsageError
from tlcli.evaluation.compare import paired_difference
from tlcli.workflows.compare import Compared, Parted, compare

Splits = dict[SplitName, list[Row]]


def compared(folder: Path, a: Splits, b: Splits, **of_b: str) -> Compared:
    return compare(folder, made_run(folder, "cats/a", a), made_run(folder, "cats/b", b, **of_b))


def test_every_image_is_counted_where_it_belongs(tmp_path: Path) -> None:
    found = compared(tmp_path, {"test": rows("abcdef", "ghij")}, {"test": rows("abcghi", "defj")})
    assert (found.images, found.both, found.neither, found.left_out) == (10, 3, 1, 0)
    assert [parted.path for parted in found.only_a] == ["d", "e", "f"]
    assert found.only_b == tuple(Parted(n, sha(n), "cat", "dog", "cat") for n in "ghi")
    assert (found.a.right, found.b.right) == (6, 6)
    assert found.difference == paired_difference(3, 3, 3, 1)
    assert (found.a.name, found.a.evaluated, found.a.alone) == ("cats/a", 10, 0)
    assert found.looks == 2


def test_images_are_the_same_by_content_in_any_order_and_under_any_name(tmp_path: Path) -> None:
    a: Splits = {"test": [("x", "cat", "cat"), ("y", "dog", "cat"), ("z", "dog", "dog")]}
    b: Splits = {"test": [("z=renamed", "dog", "cat"), ("y", "dog", "dog"), ("x=moved", "cat", "cat")]}
    found = compared(tmp_path, a, b)
    assert (found.images, found.both, found.neither) == (3, 1, 0)
    assert [parted.path for parted in (*found.only_a, *found.only_b)] == ["z=renamed", "y"]


def test_copies_are_paired_with_copies(tmp_path: Path) -> None:
    found = compared(tmp_path, {"test": rows("p", "q") + rows(["p=2", "p=3"])}, {"test": rows("pq") + rows(["p=2"])})
    assert (found.images, found.both, len(found.only_b)) == (3, 2, 1)
    assert (found.a.alone, found.b.alone) == (1, 0)


def test_only_common_images_are_compared_and_the_others_are_counted(tmp_path: Path) -> None:
    a: Splits = {"train": rows("x"), "test": rows("abc", "de")}
    b: Splits = {"train": rows("dz"), "test": rows("bcx", "a")}
    found = compared(tmp_path, a, b)
    assert found.images == 3
    assert (found.both, len(found.only_a), len(found.only_b), found.neither) == (2, 1, 0, 0)
    assert (found.a.alone, found.a.trained_by_other) == (2, 1)  # d and e; b was trained on d
    assert (found.b.alone, found.b.trained_by_other) == (1, 1)  # x, which a was trained on


def test_copies_of_training_images_are_left_out(tmp_path: Path) -> None:
    a: Splits = {"train": rows(["a=copy"]), "test": rows("abc")}
    found = compared(tmp_path, a, {"train": rows(["b=copy"]), "test": rows("abc")})
    assert (found.images, found.left_out) == (1, 2)


@pytest.mark.parametrize("test", ["xyz", "ab"])
def test_nothing_left_to_compare_is_refused(tmp_path: Path, test: str) -> None:
    with pytest.raises(DataError, match=r"Of the 3 and \d test images of these runs \d are the same.*can be compared"):
        compared(tmp_path, {"train": rows("ab"), "test": rows("abc")}, {"test": rows(test)})


def test_other_classes_are_refused(tmp_path: Path) -> None:
    a = made_run(tmp_path, "cats/a", {"test": rows("ab")})
    b = made_run(tmp_path, "cats/b", {"test": rows("ab")}, labels=("cat", "bird"))
    with pytest.raises(DataError, match=r"other classes apart \(cat, dog; cat, bird\)"):
        compare(tmp_path, a, b)


def test_the_order_of_classes_does_not_matter(tmp_path: Path) -> None:
    a = made_run(tmp_path, "cats/a", {"test": rows("ab")})
    b = made_run(tmp_path, "cats/b", {"test": rows("a", "b")}, labels=("dog", "cat"))
    assert len(compare(tmp_path, a, b).only_a) == 1


def test_other_labels_are_refused_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 test images have another label .*b: cat, then dog"):
        compared(tmp_path, {"test": rows("ab")}, {"test": rows("a") + rows("b", label="dog")})


def test_a_run_that_was_not_evaluated_is_told_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has not been evaluated .*run: tlcli evaluate --run .*cats/b"):
        compared(tmp_path, {"test": rows("ab")}, {"train": rows("ab")})


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    run = made_run(tmp_path, "cats/a", {"test": rows("ab")})
    (tmp_path / "latest").symlink_to("cats/a")
    with pytest.raises(UsageError, match="name two different ones"):
        compare(tmp_path, run, tmp_path / "latest")


def test_what_the_configs_have_apart_is_listed_flat(tmp_path: Path) -> None:
    a = made_run(
        tmp_path, "cats/a", {"test": rows("ab")}, config="head:\n  fit: convex\n  c: 1\ntrain: {x: {y: 1e-3}}\n"
    )
    text = "head:\n  fit: minibatch\n  c: 1\ntrain: {x: {y: 0.001}, z: [1, 2]}\n"
    b = made_run(tmp_path, "cats/b", {"test": rows("ab")}, config=text, digest="other")
    found = compare(tmp_path, a, b)
    assert found.settings == {"head.fit": ("convex", "minibatch"), "train.z": (None, [1, 2])}
    assert not found.same_data


@pytest.mark.parametrize("text", ["a: [", "a: !!python/name:os.system x"])
def test_a_config_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelError, match=r"config\.yaml cannot be read"):
        compared(tmp_path, {"test": rows("ab")}, {"test": rows("ab")}, config=text)
