"""Label tables: delimiters, classes by rules, splits and groups, and errors with their line."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tlcli.datasets.label_rules import matches
from tlcli.datasets.label_table import LabelTable, scan_label_table
from tlcli.errors import DataError

TABLE = LabelTable(file="labels.csv", path="file", label="kind")


def write(root: Path, text: str, name: str = "labels.csv") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def labels(root: Path, table: LabelTable, classes: tuple[str, ...] | None = None) -> list[tuple[str, str]]:
    scan = scan_label_table(root, table, classes)
    return [(item.path.relative_to(root).as_posix(), item.label) for item in scan.files]


def ruled(**rules: dict[str, Any]) -> LabelTable:
    classes = {name: partial(matches, **rule) for name, rule in rules.items()}
    return LabelTable("labels.csv", "file", "score", columns=("file", "score"), classes=classes)


@pytest.mark.parametrize(
    ("delimiter", "text"),
    [
        ("comma", 'file,kind\n"a, b.png",cat\nc.png, dog \n'),
        ("semicolon", "file;kind\na, b.png;cat\n\nc.png;dog"),
        ("tab", "\ufefffile\tkind\r\na, b.png\tcat\r\nc.png\tdog\r\n"),
    ],
)
def test_delimiters(tmp_path: Path, delimiter: str, text: str) -> None:
    write(tmp_path, text)
    table = LabelTable("labels.csv", "file", "kind", delimiter=delimiter)  # type: ignore[arg-type]

    assert labels(tmp_path, table) == [("a, b.png", "cat"), ("c.png", "dog")]


def test_paths_written_on_windows_are_read_and_names_with_backslashes_stay(tmp_path: Path) -> None:
    write(tmp_path, "x", "odd\\name.png")
    write(tmp_path, "file,kind\ncats\\a.png,cat\nodd\\name.png,dog\n")
    assert labels(tmp_path, TABLE) == [("cats/a.png", "cat"), ("odd\\name.png", "dog")]


def test_whitespace_of_any_width_without_a_header(tmp_path: Path) -> None:
    write(tmp_path, "images/1.png   0.3333 mono\n\n images/2.png\t1.0  poly\n")
    table = LabelTable("labels.csv", "file", "type", delimiter="whitespace", columns=("file", "score", "type"))

    assert labels(tmp_path, table) == [("images/1.png", "mono"), ("images/2.png", "poly")]


def test_image_paths_are_relative_to_the_table(tmp_path: Path) -> None:
    write(tmp_path, "file,kind\nimg/1.png,cat\n", "meta/labels.csv")

    scan = scan_label_table(tmp_path, LabelTable("meta/labels.csv", "file", "kind"), None)

    assert scan.root == tmp_path / "meta"
    assert [item.path for item in scan.files] == [tmp_path / "meta" / "img" / "1.png"]


@pytest.mark.parametrize(
    ("rule", "matching"),
    [
        ({"below": 0.5}, {"-1", "0", "0.49"}),
        ({"at_most": 0.5}, {"-1", "0", "0.49", "0.5"}),
        ({"above": 0.5}, {"0.51", "1e3"}),
        ({"at_least": 0.5}, {"0.5", "0.51", "1e3"}),
        ({"at_least": 0, "below": 0.5}, {"0", "0.49"}),
        ({"values": ("0", "1e3")}, {"0", "1e3"}),
        ({"values": ("0", "1e3"), "above": 0}, {"1e3"}),
        ({"below": float("inf")}, {"-1", "0", "0.49", "0.5", "0.51", "1e3"}),
    ],
)
def test_cells_within_the_limits_match(rule: dict[str, Any], matching: set[str]) -> None:
    assert {cell for cell in ("-1", "0", "0.49", "0.5", "0.51", "1e3", "nan") if matches(cell, **rule)} == matching


def test_rules_define_classes_and_rows_without_class_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "1.png,0\n2.png,1\n3.png,0.5\n4.png,0.5\n5.png,0.4\n")

    scan = scan_label_table(tmp_path, ruled(good={"below": 0.3}, bad={"above": 0.7}), None)

    assert [(item.path.name, item.label) for item in scan.files] == [("1.png", "good"), ("2.png", "bad")]
    (rows,) = scan.left_out
    assert rows.count == 3
    assert all(part in rows.reason for part in ("labels.csv", "0.5: 2", "0.4: 1"))


def test_other_classes_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "file,kind\n1.png,cat\n2.png,dog\n3.png,owl\n4.png,\n")

    scan = scan_label_table(tmp_path, TABLE, ("owl", "cat"))

    assert [item.label for item in scan.files] == ["cat", "owl"]
    (rows,) = scan.left_out
    assert rows.count == 2
    assert "dog: 1" in rows.reason


def test_split_and_group_columns(tmp_path: Path) -> None:
    write(tmp_path, "file,kind,set,patient\n1.png,cat,Train,p1\n2.png,dog,VAL,p2\n3.png,cat,testing,\n")
    table = LabelTable("labels.csv", "file", "kind", split="set", group="patient")

    found = scan_label_table(tmp_path, table, None).files

    assert [(item.split, item.group) for item in found] == [("train", "p1"), ("validation", "p2"), ("test", "")]


@pytest.mark.parametrize(
    ("text", "table", "code", "part"),
    [
        ("file,kind\n1.png,cat,x\n", TABLE, "data.label_table_malformed", "labels.csv:2"),
        ("file,kind\n1.png,cat\n\n2.png\n", TABLE, "data.label_table_malformed", "labels.csv:4"),
        ("path,kind\n1.png,cat\n", TABLE, "data.label_table_column_missing", "'file'"),
        ("1.png,cat\n", LabelTable("labels.csv", "file", "kind", columns=("file", "k")),
         "data.label_table_column_missing", "'kind'"),
        ("file,kind\n1.png,a\n", LabelTable("labels.csv", "file", "kind", split="set"),
         "data.label_table_column_missing", "'set'"),
        ("file,kind\n1.png,a\n", LabelTable("labels.csv", "file", "kind", group="who"),
         "data.label_table_column_missing", "'who'"),
        ("file,kind,set\n1.png,a,x\n", LabelTable("labels.csv", "file", "kind", split="set"),
         "data.unknown_split", "labels.csv:2: 'x'"),
        ("file,kind\n1.png,a\n2.png,a\n1.png,b\n", TABLE, "data.duplicate_row", "labels.csv:4"),
        ("1.png,high\n", ruled(a={"below": 1}), "data.not_a_number", "labels.csv:1: 'high'"),
        ("1.png,1\n2.png,5\n", ruled(a={"below": 6}, b={"above": 4}), "data.ambiguous_label", "labels.csv:2: '5'"),
        ("1.png,7\n", ruled(a={"below": 1}), "data.label_table_without_labels", "labels.csv"),
        ("", TABLE, "data.label_table_without_labels", "labels.csv"),
        ('file,kind\n1.png,"cat\n2.png,dog\n', TABLE, "data.label_table_malformed", "labels.csv:3"),
        ('file,kind\n"1.png,cat\n"2.png,dog\n', TABLE, "data.label_table_malformed", "labels.csv:3"),
        ('file,kind\n1.png,"' + "x" * 200_000, TABLE, "data.label_table_malformed", "labels.csv:2"),
    ],
)  # fmt: skip
def test_mistakes_in_a_table_are_refused_with_their_line(
    tmp_path: Path, text: str, table: LabelTable, code: str, part: str
) -> None:
    write(tmp_path, text)

    with pytest.raises(DataError) as error:
        scan_label_table(tmp_path, table, None)
    assert error.value.code == code
    assert part in error.value.message


def test_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        scan_label_table(tmp_path, TABLE, None)
    assert error.value.code == "data.label_table_missing"


def test_table_that_is_not_utf8_is_refused_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"file,kind\n1.png,caf\xe9\n")

    with pytest.raises(DataError) as error:
        scan_label_table(tmp_path, TABLE, None)
    assert error.value.code == "data.label_table_not_utf8"
    assert "labels.csv:2" in error.value.message
