"""From the dataset section to the index: where the images are, and how labels, groups and splits are read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlcli.config.build_dataset import dataset_folder, dataset_index
from tlcli.config.dataset import Dataset
from tlcli.errors import DataError

Put = Callable[[Path, int], Path]
OPTIONS = ("--config", "c.yaml")


def section(**values: Any) -> Dataset:
    return Dataset.model_validate_json(json.dumps(values, default=str))


def class_folders(root: Path, put: Put, count: int = 10) -> Path:
    for number in range(2 * count):
        put(root / "ab"[number % 2] / f"{number // 4}" / f"{number}.png", number)
    return root


def test_missing_images_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "images.zip").write_text("x")
    package = {"sources": ({"package": "no-such-package"},)}
    archive = {"sources": ({"archive": "a.zip"},)}
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"path": tmp_path / "none"}, "data.images_missing", "dataset.path"),
        ({"path": tmp_path / "none", **archive}, "data.images_missing", "tlcli fetch --config c.yaml"),
        (package, "data.images_missing", "no-such-package"),
        ({"path": tmp_path / "empty"}, "data.folder_empty", "dataset.path"),
        ({"path": tmp_path / "images.zip"}, "data.not_a_folder", f"--from {tmp_path / 'images.zip'}"),
    ]
    for values, code, hint in cases:
        with pytest.raises(DataError) as error:
            dataset_index(section(**values), OPTIONS)
        assert error.value.code == code
        assert hint in error.value.hint


def test_folder_source_is_used_without_copying(tmp_path: Path, put: Put) -> None:
    root = class_folders(tmp_path / "images", put)
    sources = ({"package": "no-such-package"}, {"folder": str(root)})
    assert dataset_folder(section(sources=sources)) == (root, "")
    assert len(dataset_index(section(sources=sources), OPTIONS).images) == 20


def test_decisions_of_both_files_keep_the_splits_and_older_runs_keep_theirs(tmp_path: Path, put: Put) -> None:
    root = class_folders(tmp_path / "images", put, 30)
    plain = dataset_index(section(path=root), OPTIONS)
    splits = {image.name: image.split for image in plain.images}
    a = [image.name for image in plain.of("train") if image.label == "a"]
    (tmp_path / "x.txt").write_text("".join(f"{name}\n" for name in a[:6]) + f"# [label] doubted\n{a[6]}\n")
    tests = [image.name for image in plain.of("test")]
    rows = [(a[7], "a", "b", "relabel"), (a[8], "a", "b", "exclude"), (tests[0], tests[0][0], "b", "b")]
    lines = [f"{name},{label},{suggested},0.9,{decision}" for name, label, suggested, decision in rows]
    (tmp_path / "x.csv").write_text("\n".join(["image,label,suggested,probability,decision", *lines]))
    dataset = section(path=root, exclude=tmp_path / "x.txt", corrections=tmp_path / "x.csv")
    index = dataset_index(dataset, OPTIONS)
    assert {image.name: image.split for image in (*index.images, *index.set_aside)}.items() <= splits.items()
    assert {image.name for image in index.set_aside} == {a[6], a[8]}
    assert [image.name for image in index.images if image.is_relabelled] == [a[7]]
    assert {one.reason for one in index.excluded} == {"by_hand", "label"}
    older = dataset_index(section(path=root, exclude=tmp_path / "x.txt"), OPTIONS, drawn_late=True)
    assert (older.set_aside, older.excluded, len(older.images)) == ((), (), 53)
    for name in a[:7]:
        (root / name).unlink()
    assert dataset_index(section(path=root), OPTIONS).digest() == older.digest()  # as if they had never been there


@pytest.mark.parametrize(("group_by", "group"), [({"folder": True}, "a/0"), ({"pattern": r"/(\d)/"}, "0")])
def test_groups_are_those_of_the_config(tmp_path: Path, put: Put, group_by: dict[str, Any], group: str) -> None:
    root = class_folders(tmp_path / "images", put)
    index = dataset_index(section(path=root, split={"group_by": group_by}), OPTIONS)
    assert {image.group for image in index.images if image.name.startswith("a/0/")} == {group}


def test_rules_of_a_label_table_give_classes_in_the_order_of_the_config(tmp_path: Path, put: Put) -> None:
    rows = [f"{put(tmp_path / f'{number}.png', number).name},{number / 20},g{number}" for number in range(20)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,score,group", *rows]))
    labels = {"file": "labels.csv", "path": "file", "label": "score", "group": "group"}
    classes = {"low": {"below": 0.5}, "high": {"at_least": 0.5}}
    index = dataset_index(section(path=tmp_path, labels={**labels, "classes": classes}), OPTIONS)
    assert index.labels == ("low", "high")
    assert {int(image.path.stem) for image in index.images if image.label == "high"} == set(range(10, 20))
    assert {image.group for image in index.images} == {f"g{number}" for number in range(20)}


def test_excluded_images_are_left_out(tmp_path: Path, put: Put) -> None:
    root = class_folders(tmp_path / "images", put)
    (tmp_path / "exclude.txt").write_text("a/0/0.png\n")
    index = dataset_index(section(path=root, exclude=tmp_path / "exclude.txt"), OPTIONS)
    assert len(index.images) == 19
    assert "a/0/0.png" not in {image.name for image in index.images}
