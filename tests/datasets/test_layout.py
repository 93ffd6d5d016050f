"""Labelled images are found wherever an archive put them, and nothing else is taken for a class."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tlcli.datasets.layout import SPLIT_NAMES, Layout, find_folders, images_below
from tlcli.errors import DataError

Put = Callable[[Path, int], Path]


def tree(root: Path, put: Put, *names: str) -> Path:
    """Writes an image at every name."""
    for number, name in enumerate(names):
        put(root / name, number)
    return root


def listed(layout: Layout) -> list[tuple[str, str, str | None]]:
    return [(item.path.relative_to(layout.root).as_posix(), item.label, item.split) for item in layout.found]


SPLIT = ("train/cat/1.png", "train/dog/2.png", "validation/cat/3.png", "validation/dog/4.png")


def test_class_folders_name_the_classes(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "dog/b.png", "dog/a.png", "cat/deep/er/c.JPG", "cat/no_ending")

    layout = find_folders(root, "auto", None)

    assert layout.root == root
    assert listed(layout) == [
        ("cat/no_ending", "cat", None),
        ("cat/deep/er/c.JPG", "cat", None),
        ("dog/a.png", "dog", None),
        ("dog/b.png", "dog", None),
    ]
    assert layout.notes == ()


@pytest.mark.parametrize("name", [name for name, split in SPLIT_NAMES.items() if split != "train"])
@pytest.mark.parametrize("train", ["train", "training", "Train"])
def test_split_folders_are_known_under_their_usual_names(tmp_path: Path, put: Put, train: str, name: str) -> None:
    root = tree(
        tmp_path, put, f"{train}/a/1.png", f"{train}/b/2.png", f"{name.upper()}/a/3.png", f"{name.upper()}/b/4.png"
    )

    layout = find_folders(root, "auto", None)

    expected = {(label, split) for label in "ab" for split in ("train", SPLIT_NAMES[name])}
    assert {(item.label, item.split) for item in layout.found} == expected
    assert len(layout.found) == 4


def test_split_folders_are_found_below_wrappers(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, *(f"archive-main/data/{name}" for name in SPLIT), "archive-main/README.md")

    assert find_folders(root, "split_folders", None).root == root / "archive-main" / "data"


def test_class_folders_are_found_below_wrappers_with_a_readme(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "images/v1/cat/1.png", "images/v1/dog/2.png")
    (root / "images" / "LICENSE").write_text("free")
    (root / "images" / "README.md").write_text("images")

    assert find_folders(root, "auto", None).root == root / "images" / "v1"


def test_same_tree_twice_is_counted_once(tmp_path: Path, put: Put) -> None:
    root = tree(
        tree(tmp_path, put, *(f"data/{name}" for name in SPLIT)), put, *(f"thumbs/data/{name}" for name in SPLIT)
    )

    layout = find_folders(root, "auto", None)

    assert layout.root == root / "data"
    assert [name for name, _, _ in listed(layout)] == list(SPLIT)
    assert layout.notes == (f"The same tree lies here 2 times; each image is counted once, in {root / 'data'}.",)


def test_two_different_trees_are_refused(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, *(f"{top}/{name}" for top in ("one", "two") for name in SPLIT))

    with pytest.raises(DataError, match=r"Two different data sets .*/one and .*/two; set dataset\.path"):
        find_folders(root, "auto", None)


def test_several_folders_for_one_split_are_refused(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, *SPLIT, "val/cat/5.png", "val/dog/6.png")

    with pytest.raises(DataError, match="several folders for validation: val, validation; keep one"):
        find_folders(root, "auto", None)


def test_layout_class_folders_takes_split_names_for_classes(tmp_path: Path, put: Put) -> None:
    layout = find_folders(tree(tmp_path, put, *SPLIT), "class_folders", None)

    assert {(item.label, item.split) for item in layout.found} == {("train", None), ("validation", None)}


def test_layout_split_folders_wants_split_folders(tmp_path: Path, put: Put) -> None:
    with pytest.raises(DataError, match=r"no train folder beside a validation or test folder.*class_folders"):
        find_folders(tree(tmp_path, put, "cat/1.png", "dog/2.png"), "split_folders", None)


@pytest.mark.parametrize("others", [(), ("validation/cat/3.png", "validation/dog/4.png")])
def test_test_folder_without_classes_is_left_out_and_told(tmp_path: Path, put: Put, others: tuple[str, ...]) -> None:
    root = tree(tmp_path, put, "train/cat/1.png", "train/dog/2.png", *others, "test/5.png")

    layout = find_folders(root, "auto", None)

    assert {item.label for item in layout.found} == {"cat", "dog"}
    assert len(layout.found) == 2 + len(others)
    assert layout.notes == (f"Left out of {root}, since they are no splits with class folders: test.",)


def test_train_and_test_folders_without_classes_are_no_classes(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "train/cat.1.png", "train/dog.1.png", "test/1.png")

    with pytest.raises(DataError, match=r"holds test and train without class folders .*dataset\.labels"):
        find_folders(root, "auto", None)


HIDDEN = (".ipynb_checkpoints/1.png", "__MACOSX/cat/._1.png", "$RECYCLE.BIN/x.png", "System Volume Information/x.png")


def test_hidden_and_system_folders_are_no_classes(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "cat/1.png", "dog/2.png", *HIDDEN, *(f"cat/{name}" for name in HIDDEN), "dog/.3.png")

    layout = find_folders(root, "auto", None)

    assert [name for name, _, _ in listed(layout)] == ["cat/1.png", "dog/2.png"]


def test_files_passed_over_are_told_by_kind(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "cat/1.png", "dog/2.png")
    for name in ("cat/list.txt", "dog/a.txt", "dog/Thumbs.db", "dog/box.xml", "notes.txt"):
        (root / name).write_text("no image")

    assert find_folders(root, "auto", None).notes == ("Passed over: 2 '.txt' files, 1 '.xml' files.",)


def test_classes_choose_among_the_folders(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "cat/1.png", "dog/2.png", "owl/3.png")

    assert {item.label for item in find_folders(root, "auto", ("owl", "cat")).found} == {"cat", "owl"}


@pytest.mark.parametrize("names", [("cat/1.png", "dog/2.png"), SPLIT])
def test_classes_that_have_no_folder_are_named(tmp_path: Path, put: Put, names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"no folder for dataset\.classes bird, owl; folders there: cat, dog"):
        find_folders(tree(tmp_path, put, *names), "auto", ("owl", "cat", "bird"))


def test_class_folder_without_images_is_refused(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "cat/1.png", "dog/2.png")
    (root / "owl").mkdir()
    (root / "owl" / "list.txt").write_text("no image")

    with pytest.raises(DataError, match=r"class folder .*/owl holds no image.*dataset\.classes"):
        find_folders(root, "auto", None)
    assert len(find_folders(root, "auto", ("cat", "dog")).found) == 2


@pytest.mark.parametrize(
    ("names", "count"), [((), "0 class folders"), (("cat/1.png",), "1 class folder,"), (("1.png",), "0")]
)
def test_fewer_than_two_classes_are_refused(tmp_path: Path, put: Put, names: tuple[str, ...], count: str) -> None:
    with pytest.raises(DataError, match=f"holds {count}.*2 is the least"):
        find_folders(tree(tmp_path, put, *names), "auto", None)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_linked_class_folders_are_followed_and_loops_end(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path / "data", put, "cat/1.png")
    put(tmp_path / "elsewhere" / "2.png", 2)
    (root / "dog").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "cat" / "again").symlink_to(root / "cat", target_is_directory=True)
    (root / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")

    assert [name for name, _, _ in listed(find_folders(root, "auto", None))] == ["cat/1.png", "dog/2.png"]


def test_images_below_finds_all_but_hidden_files(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "b.png", "a/c.webp", "a/.hidden.png", "__MACOSX/d.png")
    (root / "list.csv").write_text("path")

    assert images_below(root) == [root / "b.png", root / "a" / "c.webp"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_class_folder_that_is_not_utf8_is_refused_and_files_may_be(tmp_path: Path, put: Put) -> None:
    root = tree(
        tmp_path, put, "caf\N{LATIN SMALL LETTER E WITH ACUTE}/a.png", "dog/b.png", os.fsdecode(b"dog/\xe9.png")
    )
    assert len(find_folders(root, "auto", None).found) == 3
    put(root / os.fsdecode(b"caf\xe9") / "c.png", 9)
    with pytest.raises(DataError, match="is not UTF-8, and models keep it: rename it"):
        find_folders(root, "auto", None)
