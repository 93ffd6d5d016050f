"""Files of corrections: decisions are read back, checked against the data, and never overwritten."""

from pathlib import Path

import pytest

from tlcli.datasets.corrections import Correction, escaped, read_corrections, resolve, write_corrections
from tlcli.datasets.labelled_files import LabelledFile, Scan
from tlcli.errors import DataError, UsageError

HEADER = "image,label,suggested,probability,decision\n"
CLASSES = ("cat", "dog", "owl")


def scan_of(folder: Path) -> Scan:
    files = tuple(LabelledFile(folder / label / f"{n}.png", label) for label in CLASSES for n in range(3))
    return Scan(folder, files)


def decided(path: Path, *rows: str) -> tuple[dict[str, str], tuple[str, ...]]:
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    found = resolve(path, read_corrections(path), scan_of(path.parent), CLASSES)
    return found.relabelled, found.set_aside


@pytest.mark.parametrize(
    ("decision", "relabelled", "set_aside"),
    [
        ("", {}, ()),
        ("keep", {}, ()),
        ("relabel", {"cat/1.png": "dog"}, ()),
        (" owl ", {"cat/1.png": "owl"}, ()),
        ("exclude", {}, ("cat/1.png",)),
        ("cat", {}, ()),
    ],
)
def test_decisions(tmp_path: Path, decision: str, relabelled: dict[str, str], set_aside: tuple[str, ...]) -> None:
    assert decided(tmp_path / "x.csv", f"cat/1.png,cat,dog,0.9,{decision}") == (relabelled, set_aside)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("cat/1.png,cat,dog,0.9,relable", "data.correction_unknown_decision"),
        ("cat/9.png,cat,dog,0.9,relabel", "data.correction_unknown_image"),
        ("cat/1.png,owl,dog,0.9,relabel", "data.correction_label_changed"),
        ("cat/1.png,owl,dog,0.9,exclude", "data.correction_label_changed"),
        ("cat/1.png,cat,dog,0.9", "data.corrections_malformed"),
        ("cat/1.png,cat,dog,0.9,keep\ncat/1.png,cat,dog,0.9,relabel", "data.corrections_malformed"),
        ('cat/1.png,"cat,dog', "data.corrections_malformed"),
    ],
)
def test_wrong_rows_are_refused_with_their_number(tmp_path: Path, row: str, code: str) -> None:
    with pytest.raises(DataError) as error:
        decided(tmp_path / "x.csv", "cat/0.png,cat,dog,0.9,keep", row)
    assert error.value.code == code
    if code != "data.corrections_malformed" or ("\n" not in row and '"' not in row):
        assert f"{tmp_path / 'x.csv'}:3" in error.value.message


def test_rows_without_effect_are_not_checked(tmp_path: Path) -> None:
    rows = ("gone.png,cat,dog,0.9,", "gone too.png,cat,dog,0.9,keep", "dog/1.png,cat,dog,0.9,relabel")
    assert decided(tmp_path / "x.csv", *rows) == ({}, ())  # the last is in the data already


def test_files_that_are_no_corrections(tmp_path: Path) -> None:
    for name, content, code in (
        ("none.csv", None, "data.corrections_unreadable"),
        ("binary.csv", b"\xff\xfe", "data.corrections_unreadable"),
        ("empty.csv", b"", "data.corrections_malformed"),
        ("other.csv", b"image,label\n", "data.corrections_malformed"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError) as error:
            read_corrections(tmp_path / name)
        assert error.value.code == code
        if content is not None:
            with pytest.raises(UsageError) as refused:
                write_corrections(tmp_path / name, [])
            assert refused.value.code == "usage.file_exists"
            assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("name", ["a,b.png", 'quo"ted.png', "two\nlines.png", "odd \udcff.png", "größe/日本.png"])
def test_names_are_read_back(tmp_path: Path, name: str) -> None:
    write_corrections(tmp_path / "x.csv", [Correction(escaped(name), "cat", "dog", "0.900", "relabel")])
    rows = read_corrections(tmp_path / "x.csv")
    scan = Scan(tmp_path, (LabelledFile(tmp_path / name, "cat"),))
    assert resolve(tmp_path / "x.csv", rows, scan, CLASSES).relabelled == {name: "dog"}


@pytest.mark.parametrize("mark", [";", "\t"])
def test_spreadsheets_separate_columns_otherwise(tmp_path: Path, mark: str) -> None:
    text = "\ufeff" + (HEADER + "cat/1.png,cat,dog,0.9,owl\n\n").replace(",", mark)
    (tmp_path / "x.csv").write_bytes(text.replace("\n", "\r\n").encode())
    (one,) = read_corrections(tmp_path / "x.csv")
    assert (one.name, one.target) == ("cat/1.png", "owl")
    assert write_corrections(tmp_path / "x.csv", []) == 1


def test_decisions_made_before_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    a, b, c = (Correction(f"{name}.png", "cat", "dog", "0.900") for name in "abc")
    assert write_corrections(path, [a, b]) == 0
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1] + "relabel", lines[2] + "keep"]) + "\n")
    again = Correction("a.png", "cat", "owl", "0.700")
    assert write_corrections(path, [c, again]) == 2
    found = {one.name: (one.decision, one.target) for one in read_corrections(path)}
    assert found == {"c.png": ("", None), "a.png": ("relabel", "dog"), "b.png": ("keep", None)}
