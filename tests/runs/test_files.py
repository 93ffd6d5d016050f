"""JSON and CSV files: whole or not at all, and read as they were written."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from tlcli.errors import ModelError
from tlcli.runs.files import class_columns, read_json, write_csv, write_json

ANY = TypeAdapter(dict[str, Any])


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True], "größe": {"b": "甲虫\n"}, "tiny": 1e-300}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json", ANY) == value
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert text.startswith('{\n  "a": [\n')
    assert "größe" in text
    assert text.endswith("}\n")


def test_only_long_lists_of_whole_numbers_stand_on_one_line(tmp_path: Path) -> None:
    short = {"a": [[1, 2], {"b": [], "c": {}}], "d\n": (1, 2.5, "x\ny"), "e": [[0.5] * 60], "f": ["x"] * 60}
    write_json(tmp_path / "x.json", short)
    assert (tmp_path / "x.json").read_text() == json.dumps(short, indent=2) + "\n"
    long = {"matrix": [list(range(60))] * 60}
    write_json(tmp_path / "y.json", long)
    assert (tmp_path / "y.json").read_text().count("\n") == 60 + 4
    assert read_json(tmp_path / "y.json", ANY) == long


@pytest.mark.parametrize(
    "value", [[float("nan")] * 60, [float("nan"), {"a": [1] * 60}], float("nan"), float("inf"), object()]
)
def test_what_json_cannot_hold_is_refused_and_the_old_file_stays(tmp_path: Path, value: object) -> None:
    write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "x.json", {"new": value})
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert read_json(tmp_path / "x.json", ANY) == {"old": 1}


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"not json", b"\xff\xfe{}", b'{"a": 1} {}', b"[" * 100_000, b'{"a":' * 100_000],
    ids=["empty", "cut", "text", "not utf-8", "two", "deep list", "deep object"],
)
def test_broken_json_is_an_error_with_its_path(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "run.json").write_bytes(data)
    with pytest.raises(ModelError) as error:
        read_json(tmp_path / "run.json", ANY)
    assert error.value.code == "model.run_unreadable"
    assert "run.json" in error.value.message


def test_missing_json_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        read_json(tmp_path / "run.json", ANY)
    assert error.value.code == "model.run_unreadable"
    assert "run.json" in error.value.message


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"'])
def test_json_of_another_type_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ModelError) as error:
        read_json(tmp_path / "run.json", ANY)
    assert error.value.code == "model.run_malformed"
    assert "run.json" in error.value.message


def test_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [["a,b.png", 0.1, 'say "x"'], ["line\nend", 1e-17, ""], ["甲虫.jpg", 3, " "]]
    write_csv(tmp_path / "t.csv", ["path", "p", "label"], rows)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["path", "p", "label"], *([str(cell) for cell in row] for row in rows)]
    assert b"\r" not in (tmp_path / "t.csv").read_bytes()


def test_cells_with_line_ends_of_any_kind_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [["a\rb", "1"], ["a\nb", "2"], ["a\r\nb", "3"], ["\r", '"'], ["x", "y\r\n"]]
    write_csv(tmp_path / "t.csv", ["path", "n"], rows)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file, strict=True)) == [["path", "n"], *rows]
    assert (tmp_path / "t.csv").read_bytes().startswith(b'path,n\n"a\rb",1\n')


def test_table_without_rows_has_its_header(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["a", "b"], [])
    assert (tmp_path / "t.csv").read_bytes() == b"a,b\n"


def test_file_names_that_are_no_utf8_are_written_with_their_bytes_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    write_csv(tmp_path / "t.csv", ["path"], [[name]])
    write_json(tmp_path / "t.json", {"path": name})
    if name != "café.png":  # where names of files are bytes
        assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "path\ncaf\\udce9.png\n"
        assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))["path"] == name
    assert read_json(tmp_path / "t.json", ANY) == {"path": name}


@pytest.mark.parametrize(
    ("labels", "columns"),
    [
        (["cat", "path"], ["cat", "path (class)"]),
        (["path (class)", "path"], ["path (class)", "path (class) (class)"]),
        (["Path", "path "], ["Path", "path "]),
    ],
)
def test_classes_that_are_called_like_columns_get_columns_of_their_own(labels: list[str], columns: list[str]) -> None:
    assert class_columns(labels, ["path", "label"]) == columns
