"""Folders and names of images, as published data sets have them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.situations.situation import Read, Section, Situation, files, put

_TWO = {"cat": 6, "dog": 6}
_FOUR = {"cat": 12, "dog": 12}
_SPLIT = {"train": 10, "validation": 2, "test": 12}


def _split(train: str, test: str, *others: str, **section: Any) -> Callable[[Path], Section]:
    return files(
        *(f"{split}/{label}/{{}}.jpg" for split in (train, test) for label in ("cat", "dog")), *others, **section
    )


def _copies(folder: Path) -> Section:
    put(folder, "dog/{}.jpg", "cat/0.jpg")
    for number in range(1, 6):
        (folder / f"cat/{number}.jpg").write_bytes((folder / "cat/0.jpg").read_bytes())
    return {}


SPLIT_FOLDERS = [
    *(
        Situation(f"`{train}/`, `{test}/` with class folders", _split(train, test), Read(_FOUR, _SPLIT))
        for train, test in [
            ("train", "test"), ("training_set", "test_set"), ("seg_train", "seg_test"), ("train", "test1"),
            ("Training", "Testing"), ("TrainSet", "TestSet"), ("trainset", "testset"), ("Train Images", "Test Images"),
            ("01_train", "02_test"), ("tomato_train", "tomato_test"), ("train_2019", "test_2019"),
        ]
    ),
    Situation("`train_val/`, `test/` with class folders", _split("train_val", "test"), Read(_FOUR, _SPLIT)),
    Situation(
        "`train/`, `valid/`, `test/` with class folders",
        files(*(f"{split}/{label}/{{}}.jpg" for split in ("train", "valid", "test") for label in ("cat", "dog"))),
        Read({"cat": 18, "dog": 18}, {"train": 12, "validation": 12, "test": 12}),
    ),
    Situation(
        "`seg_train/`, `seg_test/` with class folders, `seg_pred/` with unlabelled images",
        _split("seg_train", "seg_test", "seg_pred/{}.jpg"), Read(_FOUR, _SPLIT, left_out=6),
    ),
    Situation(
        "`seg_train/seg_train/cat/`, as archives packed twice have it",
        _split("seg_train/seg_train", "seg_test/seg_test"), Read(_FOUR, _SPLIT),
    ),
    Situation(
        "`cats_train/`, `cats_test/`, `dogs_train/`, `dogs_test/`",
        files("cats_train/{}.jpg", "cats_test/{}.jpg", "dogs_train/{}.jpg", "dogs_test/{}.jpg"),
        "data.split_folders_unclear",
    ),
    Situation(
        "`bullet_train/`, `test_tube/` as classes", files("bullet_train/{}.jpg", "test_tube/{}.jpg"),
        "data.split_folders_unclear",
    ),
    Situation(
        "the same with `layout: class_folders`",
        files("bullet_train/{}.jpg", "test_tube/{}.jpg", layout="class_folders"),
        Read({"bullet_train": 6, "test_tube": 6}),
    ),
    Situation("`train/` as one of three vehicle classes", files("bus/{}.jpg", "car/{}.jpg", "train/{}.jpg"),
              Read({"bus": 6, "car": 6, "train": 6})),
    Situation("`test/` beside class folders, no `train/`", files("cat/{}.jpg", "dog/{}.jpg", "test/{}.jpg"),
              "data.split_folders_unclear"),
    Situation("the same with `classes: [cat, dog]`",
              files("cat/{}.jpg", "dog/{}.jpg", "test/{}.jpg", classes=["cat", "dog"]),
              Read({"cat": 6, "dog": 6}, left_out=6)),
    Situation("`part1/`, `part2/` with class folders", _split("part1", "part2"), "data.class_folders_unclear"),
    Situation(
        "the same with `layout: class_folders`", _split("part1", "part2", layout="class_folders"),
        Read({"part1": 12, "part2": 12}),
    ),
    Situation(
        "`part1/`, `part2/` with `split_folders: {train: part1, test: part2}`",
        _split("part1", "part2", split_folders={"train": "part1", "test": "part2"}), Read(_FOUR, _SPLIT),
    ),
    Situation("`split_folders` that do not exist", _split("part1", "part2", split_folders={"train": "a", "test": "b"}),
              "data.no_split_folders"),
    Situation("`train/`, `val/` and `valid/`", _split("train", "val", "valid/cat/{}.jpg", "valid/dog/{}.jpg"),
              "data.duplicate_split_folders"),
    Situation(
        "`cat/train/`, `cat/test/`, `dog/train/`, `dog/test/`: a split inside each class",
        files(*(f"{label}/{split}/{{}}.jpg" for label in ("cat", "dog") for split in ("train", "test"))),
        Read(_FOUR, _SPLIT),
    ),
    Situation(
        "`cat/train/`, `cat/val/`, `dog/` without a split",
        files("cat/train/{}.jpg", "cat/val/{}.jpg", "dog/{}.jpg"), "data.mixed_layout",
    ),
    Situation(
        "a split inside two of three classes",
        files("cat/train/{}.jpg", "cat/val/{}.jpg", "dog/train/{}.jpg", "dog/val/{}.jpg", "owl/{}.jpg"), "data.mixed_layout",
    ),
    Situation(
        "a split inside each class, and images beside it",
        files(*(f"{label}/{split}/{{}}.jpg" for label in ("cat", "dog") for split in ("train", "test")), "cat/a.jpg"),
        Read(_FOUR, _SPLIT, left_out=1),
    ),
]  # fmt: skip

CLASS_FOLDERS = [
    Situation("class folders", files("cat/{}.jpg", "dog/{}.jpg"), Read(_TWO)),
    Situation("class folders inside other folders, with a README", files("data/v1/cat/{}.jpg", "data/v1/dog/{}.jpg", "README.md"), Read(_TWO, left_out=1)),
    Situation("images beside the class folders", files("cat/{}.jpg", "dog/{}.jpg", "0.jpg", "1.png"), Read(_TWO, left_out=2)),
    Situation("`LICENSE` and `labels.txt` in a class folder", files("cat/{}.jpg", "dog/{}.jpg", "cat/labels.txt"), Read(_TWO, left_out=1)),
    Situation("images without a suffix", files("cat/{}", "dog/{}"), Read(_TWO)),
    Situation("`Cat/` and `cat/` (a note asks whether they are one class)", files("Cat/{}.jpg", "cat/{}.jpg"), Read({"Cat": 6, "cat": 6})),
    Situation(
        "`caf\u00e9/` composed and decomposed (macOS), and `tea/`", files("caf\u00e9/{}.jpg", "cafe\u0301/x{}.jpg", "tea/{}.jpg"),
        Read({"caf\u00e9": 12, "tea": 6}),
    ),
    Situation("one class folder", files("cat/{}.jpg"), "data.too_few_classes"),
    Situation("a folder `images/` and `labels.csv` beside it, no `labels`", files("images/{}.jpg", "labels.csv"), "data.too_few_classes", "the hint names the table"),
    Situation("an empty folder", files(), "data.too_few_classes"),
    Situation("`classes: [cat, dog]`, and a folder `owl/`", files("cat/{}.jpg", "dog/{}.jpg", "owl/{}.jpg", classes=["cat", "dog"]), Read(_TWO, left_out=6)),
    Situation("`classes` names a folder that is missing", files("cat/{}.jpg", "dog/{}.jpg", classes=["cat", "owl"]), "data.class_folder_missing"),
    Situation("`classes: [cat, cat]`", files("cat/{}.jpg", "dog/{}.jpg", classes=["cat", "cat"]), "config.duplicate_class"),
    Situation("two classes with 2 and 3 images beside a large one", files("cat/{}.jpg", "dog/0.jpg", "dog/1.jpg", "owl/0.jpg", "owl/1.jpg", "owl/2.jpg"), "data.class_too_small"),
    Situation(
        "the same with `min_images_per_class: 3`, and another class",
        files("cat/{}.jpg", "elk/{}.jpg", "dog/0.jpg", "dog/1.jpg", min_images_per_class=3), Read({"cat": 6, "elk": 6}, left_out=2),
    ),
    Situation("3 images a class", files(*(f"{label}/{n}.jpg" for label in ("cat", "dog") for n in range(3))), "data.class_too_small"),
    Situation("3 images a class with `split.test: 0`", files(*(f"{label}/{n}.jpg" for label in ("cat", "dog") for n in range(3)), split={"test": 0.0}), Read({"cat": 3, "dog": 3})),
    Situation("a class of 6 copies of one image", _copies, "data.class_too_small"),
    Situation("4 images a class", files(*(f"{label}/{n}.jpg" for label in ("cat", "dog") for n in range(4))), Read({"cat": 4, "dog": 4})),
    Situation("an empty class folder", files("cat/{}.jpg", "dog/.keep"), "data.empty_class_folder"),
    Situation("a class folder of images without the suffix of one (`.tmp`)", files("cat/{}.jpg", "dog/{}.tmp"), "data.unsupported_images", "the message gives suffixes"),
]  # fmt: skip

NAMES = [
    Situation("`cat.0.jpg`, `dog.0.jpg`, ... in one folder", files("cat.{}.jpg", "dog.{}.jpg"), "data.too_few_classes"),
    Situation(
        "the same with `labels.pattern: '(?P<label>cat|dog)'`",
        files("cat.{}.jpg", "dog.{}.jpg", labels={"pattern": "(?P<label>cat|dog)"}), Read(_TWO),
    ),
    Situation("`train/cat.0.jpg`, ... and unlabelled `test1/0.jpg`, ...", files("train/cat.{}.jpg", "train/dog.{}.jpg", "test1/{}.jpg"), "data.split_folders_without_classes", "the hint has the pattern"),
    Situation(
        "the same with `labels.pattern: '(?P<label>cat|dog)'`",
        files("train/cat.{}.jpg", "train/dog.{}.jpg", "test1/{}.jpg", labels={"pattern": "(?P<label>cat|dog)"}),
        Read(_TWO, {"train": 8, "validation": 2, "test": 2}, left_out=6),
    ),
    Situation(
        "`train/cat_0.jpg`, `test/dog_0.jpg`, ... with a pattern that has no group `split`",
        files("train/cat_{}.jpg", "train/dog_{}.jpg", "test/cat_{}.jpg", "test/dog_{}.jpg", labels={"pattern": "(?P<label>cat|dog)_"}),
        Read(_FOUR, _SPLIT),
    ),
    Situation(
        "`cat-val-0.jpg`, ... with groups `label` and `split`",
        files("cat-train-{}.jpg", "dog-train-{}.jpg", "cat-val-{}.jpg", "dog-val-{}.jpg", labels={"pattern": "(?P<label>[a-z]+)-(?P<split>[a-z]+)"}),
        Read(_FOUR, {"train": 12, "validation": 10, "test": 2}),
    ),
    Situation("a pattern without the group `label`", files("cat.{}.jpg", labels={"pattern": "cat|dog"}), "config.invalid_pattern"),
    Situation("a pattern that matches nothing", files("cat.{}.jpg", labels={"pattern": "(?P<label>owl)"}), "data.label_pattern_no_match"),
    Situation(
        "`0_12.jpg`, `1_12.jpg` with a pattern and rules that name the classes",
        files("0_{}.jpg", "1_{}.jpg", labels={"pattern": "^(?P<label>[01])_", "classes": {"food": {"values": ["1"]}, "other": {"values": ["0"]}}}),
        Read({"food": 6, "other": 6}),
    ),
]  # fmt: skip
