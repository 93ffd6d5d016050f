"""The directory scan finds labelled images wherever an archive put them, and nothing else becomes a class."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from tlcli.datasets.labelled_files import Scan
from tlcli.datasets.layout import scan_folders
from tlcli.datasets.split_names import SPLIT_ALIASES
from tlcli.datasets.walk import find_images
from tlcli.errors import DataError

Put = Callable[[Path, int], Path]


def tree(root: Path, put: Put, *names: str) -> Path:
    """Writes an image at every name."""
    for number, name in enumerate(names):
        put(root / name, number)
    return root


def listed(scan: Scan) -> list[tuple[str, str, str | None]]:
    return [(item.path.relative_to(scan.root).as_posix(), item.label, item.split) for item in scan.files]


def refusal(root: Path, layout: Literal["auto", "split_folders"] = "auto") -> str:
    """The code of the error that a folder is refused with."""
    with pytest.raises(DataError) as error:
        scan_folders(root, layout, None)
    return error.value.code


SPLIT = ("train/cat/1.png", "train/dog/2.png", "validation/cat/3.png", "validation/dog/4.png")


def test_class_folders_are_the_classes(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "dog/b.png", "dog/a.png", "cat/deep/er/c.JPG", "cat/no_ending")

    scan = scan_folders(root, "auto", None)

    assert scan.root == root
    assert listed(scan) == [
        ("cat/no_ending", "cat", None),
        ("cat/deep/er/c.JPG", "cat", None),
        ("dog/a.png", "dog", None),
        ("dog/b.png", "dog", None),
    ]
    assert scan.notes == ()


@pytest.mark.parametrize("name", [name for name, split in SPLIT_ALIASES.items() if split != "train"])
@pytest.mark.parametrize("train", ["train", "training", "Train"])
def test_split_folders_are_recognised_by_their_usual_names(tmp_path: Path, put: Put, train: str, name: str) -> None:
    root = tree(
        tmp_path, put, f"{train}/a/1.png", f"{train}/b/2.png", f"{name.upper()}/a/3.png", f"{name.upper()}/b/4.png"
    )

    scan = scan_folders(root, "auto", None)

    expected = {(label, split) for label in "ab" for split in ("train", SPLIT_ALIASES[name])}
    assert {(item.label, item.split) for item in scan.files} == expected
    assert len(scan.files) == 4


def test_split_folders_are_found_below_wrappers(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, *(f"archive-main/data/{name}" for name in SPLIT), "archive-main/README.md")

    assert scan_folders(root, "split_folders", None).root == root / "archive-main" / "data"


def test_class_folders_are_found_below_wrappers_with_a_readme(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "images/v1/cat/1.png", "images/v1/dog/2.png")
    (root / "images" / "LICENSE").write_text("free")
    (root / "images" / "README.md").write_text("images")

    assert scan_folders(root, "auto", None).root == root / "images" / "v1"


def test_duplicate_tree_is_used_once(tmp_path: Path, put: Put) -> None:
    root = tree(
        tree(tmp_path, put, *(f"data/{name}" for name in SPLIT)), put, *(f"thumbs/data/{name}" for name in SPLIT)
    )

    scan = scan_folders(root, "auto", None)

    assert scan.root == root / "data"
    assert [name for name, _, _ in listed(scan)] == list(SPLIT)
    (note,) = scan.notes
    assert "2 times" in note
    assert str(root / "data") in note


def test_two_different_trees_are_refused(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, *(f"{top}/{name}" for top in ("one", "two") for name in SPLIT))

    assert refusal(root) == "data.several_datasets"


def test_several_folders_for_one_split_are_refused(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, *SPLIT, "val/cat/5.png", "val/dog/6.png")

    assert refusal(root) == "data.duplicate_split_folders"


def test_layout_class_folders_uses_split_names_as_classes(tmp_path: Path, put: Put) -> None:
    scan = scan_folders(tree(tmp_path, put, *SPLIT), "class_folders", None)

    assert {(item.label, item.split) for item in scan.files} == {("train", None), ("validation", None)}


def test_layout_split_folders_requires_split_folders(tmp_path: Path, put: Put) -> None:
    assert refusal(tree(tmp_path, put, "cat/1.png", "dog/2.png"), "split_folders") == "data.no_split_folders"


@pytest.mark.parametrize("others", [(), ("validation/cat/3.png", "validation/dog/4.png")])
def test_test_folder_without_classes_is_skipped_and_named(tmp_path: Path, put: Put, others: tuple[str, ...]) -> None:
    root = tree(tmp_path, put, "train/cat/1.png", "train/dog/2.png", *others, "test/5.png")

    scan = scan_folders(root, "auto", None)

    assert {item.label for item in scan.files} == {"cat", "dog"}
    assert len(scan.files) == 2 + len(others)
    (images,) = scan.left_out
    assert (images.count, images.example) == (1, "test/5.png")


def test_train_and_test_folders_without_classes_are_not_classes(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "train/cat.1.png", "train/dog.1.png", "test/1.png")

    assert refusal(root) == "data.split_folders_without_classes"


HIDDEN = (".ipynb_checkpoints/1.png", "__MACOSX/cat/._1.png", "$RECYCLE.BIN/x.png", "System Volume Information/x.png")


def test_hidden_and_system_folders_are_not_classes(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "cat/1.png", "dog/2.png", *HIDDEN, *(f"cat/{name}" for name in HIDDEN), "dog/.3.png")

    scan = scan_folders(root, "auto", None)

    assert [name for name, _, _ in listed(scan)] == ["cat/1.png", "dog/2.png"]


def test_skipped_files_are_counted_by_suffix(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "cat/1.png", "dog/2.png")
    for name in ("cat/list.txt", "dog/a.txt", "dog/Thumbs.db", "dog/box.xml", "notes.txt"):
        (root / name).write_text("no image")

    (others,) = scan_folders(root, "auto", None).left_out
    assert others.count == 4
    assert "3 .txt, 1 .xml" in others.reason


def test_classes_select_folders(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "cat/1.png", "dog/2.png", "owl/3.png")

    assert {item.label for item in scan_folders(root, "auto", ("owl", "cat")).files} == {"cat", "owl"}


@pytest.mark.parametrize("names", [("cat/1.png", "dog/2.png"), SPLIT])
def test_classes_without_folder_are_named(tmp_path: Path, put: Put, names: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as error:
        scan_folders(tree(tmp_path, put, *names), "auto", ("owl", "cat", "bird"))
    assert error.value.code == "data.class_folder_missing"
    assert "bird, owl" in error.value.message
    assert "cat, dog" in error.value.message


def test_class_folder_without_images_is_refused(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "cat/1.png", "dog/2.png")
    (root / "owl").mkdir()
    (root / "owl" / "list.txt").write_text("no image")

    assert refusal(root) == "data.empty_class_folder"
    assert len(scan_folders(root, "auto", ("cat", "dog")).files) == 2


@pytest.mark.parametrize("names", [(), ("cat/1.png",), ("1.png",)])
def test_fewer_than_two_classes_are_refused(tmp_path: Path, put: Put, names: tuple[str, ...]) -> None:
    assert refusal(tree(tmp_path, put, *names)) == "data.too_few_classes"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_linked_class_folders_are_followed_and_loops_end(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path / "data", put, "cat/1.png")
    put(tmp_path / "elsewhere" / "2.png", 2)
    (root / "dog").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "cat" / "again").symlink_to(root / "cat", target_is_directory=True)
    (root / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")

    assert [name for name, _, _ in listed(scan_folders(root, "auto", None))] == ["cat/1.png", "dog/2.png"]


def test_find_images_finds_all_but_hidden_files(tmp_path: Path, put: Put) -> None:
    root = tree(tmp_path, put, "b.png", "a/c.webp", "a/.hidden.png", "__MACOSX/d.png")
    (root / "list.csv").write_text("path")

    assert find_images(root) == [root / "b.png", root / "a" / "c.webp"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_class_folder_that_is_not_utf8_is_refused_and_such_files_are_not(tmp_path: Path, put: Put) -> None:
    root = tree(
        tmp_path, put, "caf\N{LATIN SMALL LETTER E WITH ACUTE}/a.png", "dog/b.png", os.fsdecode(b"dog/\xe9.png")
    )
    assert len(scan_folders(root, "auto", None).files) == 3
    put(root / os.fsdecode(b"caf\xe9") / "c.png", 9)
    assert refusal(root) == "data.class_name_not_utf8"
