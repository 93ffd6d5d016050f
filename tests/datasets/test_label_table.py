"""Labels tables: how cells are told apart, what makes a class, and which line is wrong."""

from pathlib import Path

import pytest

from tlcli.datasets.label_table import Rule, Table, find_in_table
from tlcli.errors import DataError

TABLE = Table(file="labels.csv", path_column="file", label_column="kind")


def write(root: Path, text: str, name: str = "labels.csv") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def labels(root: Path, table: Table, classes: tuple[str, ...] | None = None) -> list[tuple[str, str]]:
    layout = find_in_table(root, table, classes)
    return [(item.path.relative_to(root).as_posix(), item.label) for item in layout.found]


def ruled(**rules: Rule) -> Table:
    return Table("labels.csv", "file", "score", columns=("file", "score"), rules=rules)


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
    table = Table("labels.csv", "file", "kind", delimiter=delimiter)  # type: ignore[arg-type]

    assert labels(tmp_path, table) == [("a, b.png", "cat"), ("c.png", "dog")]


def test_paths_written_on_windows_are_read_and_names_with_backslashes_stay(tmp_path: Path) -> None:
    write(tmp_path, "x", "odd\\name.png")
    write(tmp_path, "file,kind\ncats\\a.png,cat\nodd\\name.png,dog\n")
    assert labels(tmp_path, TABLE) == [("cats/a.png", "cat"), ("odd\\name.png", "dog")]


def test_whitespace_of_any_width_without_a_header(tmp_path: Path) -> None:
    write(tmp_path, "images/1.png   0.3333 mono\n\n images/2.png\t1.0  poly\n")
    table = Table("labels.csv", "file", "type", delimiter="whitespace", columns=("file", "score", "type"))

    assert labels(tmp_path, table) == [("images/1.png", "mono"), ("images/2.png", "poly")]


def test_images_lie_relative_to_the_table(tmp_path: Path) -> None:
    write(tmp_path, "file,kind\nimg/1.png,cat\n", "meta/labels.csv")

    layout = find_in_table(tmp_path, Table("meta/labels.csv", "file", "kind"), None)

    assert layout.root == tmp_path / "meta"
    assert [item.path for item in layout.found] == [tmp_path / "meta" / "img" / "1.png"]


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        (Rule(below=0.5), {"-1", "0", "0.49"}),
        (Rule(at_most=0.5), {"-1", "0", "0.49", "0.5"}),
        (Rule(above=0.5), {"0.51", "1e3"}),
        (Rule(at_least=0.5), {"0.5", "0.51", "1e3"}),
        (Rule(at_least=0, below=0.5), {"0", "0.49"}),
        (Rule(values=("0", "1e3")), {"0", "1e3"}),
        (Rule(values=("0", "1e3"), above=0), {"1e3"}),
        (Rule(below=float("inf")), {"-1", "0", "0.49", "0.5", "0.51", "1e3"}),
    ],
)
def test_rule_holds_within_its_limits(rule: Rule, held: set[str]) -> None:
    assert {cell for cell in ("-1", "0", "0.49", "0.5", "0.51", "1e3", "nan") if rule.holds(cell)} == held


def test_rules_make_classes_and_rows_of_none_are_told(tmp_path: Path) -> None:
    write(tmp_path, "1.png,0\n2.png,1\n3.png,0.5\n4.png,0.5\n5.png,0.4\n")

    layout = find_in_table(tmp_path, ruled(good=Rule(below=0.3), bad=Rule(above=0.7)), None)

    assert [(item.path.name, item.label) for item in layout.found] == [("1.png", "good"), ("2.png", "bad")]
    assert layout.notes == ("3 rows of labels.csv belong to no class: 0.5 (2), 0.4 (1).",)


def test_classes_leave_other_labels_out(tmp_path: Path) -> None:
    write(tmp_path, "file,kind\n1.png,cat\n2.png,dog\n3.png,owl\n4.png,\n")

    layout = find_in_table(tmp_path, TABLE, ("owl", "cat"))

    assert [item.label for item in layout.found] == ["cat", "owl"]
    assert layout.notes == ("2 rows of labels.csv belong to no class: dog (1),  (1).",)


def test_split_and_group_columns(tmp_path: Path) -> None:
    write(tmp_path, "file,kind,set,patient\n1.png,cat,Train,p1\n2.png,dog,VAL,p2\n3.png,cat,testing,\n")
    table = Table("labels.csv", "file", "kind", split_column="set", group_column="patient")

    found = find_in_table(tmp_path, table, None).found

    assert [(item.split, item.group) for item in found] == [("train", "p1"), ("validation", "p2"), ("test", "")]


@pytest.mark.parametrize(
    ("text", "table", "message"),
    [
        ("file,kind\n1.png,cat,x\n", TABLE, r"labels\.csv:2: 3 cells where 2 are expected \(file, kind\)"),
        ("file,kind\n1.png,cat\n\n2.png\n", TABLE, r"labels\.csv:4: 1 cells where 2"),
        ("path,kind\n1.png,cat\n", TABLE, r"has no column 'file'; columns there: path, kind"),
        ("1.png,cat\n", Table("labels.csv", "file", "kind", columns=("file", "k")), "no column 'kind'.* file, k"),
        ("file,kind\n1.png,a\n", Table("labels.csv", "file", "kind", split_column="set"), "no column 'set'"),
        ("file,kind\n1.png,a\n", Table("labels.csv", "file", "kind", group_column="who"), "no column 'who'"),
        ("file,kind,set\n1.png,a,x\n", Table("labels.csv", "file", "kind", split_column="set"),
         r"labels\.csv:2: 'x' is no split; allowed: train, validation, test"),
        ("1.png,high\n", ruled(a=Rule(below=1)), r"labels\.csv:1: 'high' is no number"),
        ("1.png,1\n2.png,5\n", ruled(a=Rule(below=6), b=Rule(above=4)), r"labels\.csv:2: '5' fits several .*: a, b"),
        ("1.png,7\n", ruled(a=Rule(below=1)), r"gives no image a class; look at dataset\.labels\.classes"),
        ("", TABLE, "gives no image a class"),
        ('file,kind\n1.png,"cat\n2.png,dog\n', TABLE, r"labels\.csv:3: .*cannot be read: unexpected end of data"),
        ('file,kind\n"1.png,cat\n"2.png,dog\n', TABLE, r"labels\.csv:3: .*cannot be read: ',' expected after '\"'"),
        ('file,kind\n1.png,"' + "x" * 200_000, TABLE, r"labels\.csv:2: .*field larger than field limit"),
    ],
)  # fmt: skip
def test_mistakes_in_a_table_are_told_with_their_place(tmp_path: Path, text: str, table: Table, message: str) -> None:
    write(tmp_path, text)

    with pytest.raises(DataError, match=message):
        find_in_table(tmp_path, table, None)


def test_missing_table_is_told_with_the_key_to_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels table .*labels\.csv is not there; set dataset\.labels\.file"):
        find_in_table(tmp_path, TABLE, None)


def test_table_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"file,kind\n1.png,caf\xe9\n")

    with pytest.raises(DataError, match=r"not UTF-8 text .* at byte 19"):
        find_in_table(tmp_path, TABLE, None)
