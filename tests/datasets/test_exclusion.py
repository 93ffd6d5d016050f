"""Lists of images to leave out: what is written is what is read, and nobody's file is overwritten."""

from pathlib import Path

import pytest

from tlcli.datasets.exclusion import Excluded, leave_out, read_exclusion, write_exclusion
from tlcli.datasets.layout import Found, Layout
from tlcli.errors import DataError, UsageError

NAMES = [
    "a.png", "alien/7 (1).jpg", "größe/日本.png", "#1.png", '"quoted".png', " space.png", "line\nbreak.png",
    "odd \udcff byte.png", "tab\t.png", "back\\slash.png",
]  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_exclusion(tmp_path / "x.txt", "of a test", [Excluded(name, "a\nreason") for name in NAMES])
    assert list(read_exclusion(tmp_path / "x.txt")) == NAMES


def test_what_people_should_decide_is_a_comment_until_they_do(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_exclusion(path, "of a test", [Excluded("a.png", "one"), Excluded("b.png", "two", active=False)])
    assert read_exclusion(path) == ("a.png",)
    text = path.read_text()
    assert "# two\n# b.png\n" in text
    path.write_text(text.replace("# b.png", "b.png"))
    assert read_exclusion(path) == ("a.png", "b.png")


def test_own_list_is_written_anew_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_exclusion(path, "first", [Excluded("a.png", "one")])
    write_exclusion(path, "second", [Excluded("b.png", "two")])
    assert read_exclusion(path) == ("a.png", "b.png")  # what was left out before was not looked at again
    for other in (tmp_path / "notes.txt", tmp_path / "folder"):
        if other.suffix:
            other.write_text("mine")
        else:
            other.mkdir()
        with pytest.raises(UsageError, match="is there already, and inspect has not written it; name another file"):
            write_exclusion(other, "third", [])
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_lists_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt cannot be read \(No such file or directory\); tlcli inspect"):
        read_exclusion(tmp_path / "none.txt")
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"cannot be read \(it is no UTF-8 text\)"):
        read_exclusion(tmp_path / "x.txt")
    for line in ('"open', '"a" b', '"'):
        (tmp_path / "x.txt").write_text(f"a.png\n\n{line}\n")
        with pytest.raises(DataError, match=r"x\.txt:3: a line that begins with a quote must be a JSON string"):
            read_exclusion(tmp_path / "x.txt")


def test_images_are_left_out_by_their_names_and_unknown_names_are_told(tmp_path: Path) -> None:
    found = tuple(Found(tmp_path / label / f"{n}.png", label) for label in ("a", "b") for n in range(3))
    layout = Layout(tmp_path, found, ("a note",))
    left = leave_out(layout, ["a/1.png", "b/0.png", "b/9.png", "b/9.png"])
    assert [item.path.relative_to(tmp_path).as_posix() for item in left.found] == [
        "a/0.png",
        "a/2.png",
        "b/1.png",
        "b/2.png",
    ]
    assert left.notes == (
        "a note",
        "2 images are left out by dataset.exclude.",
        "dataset.exclude names 1 that are no images here, for example 'b/9.png'.",
    )


def test_what_somebody_decided_stays_decided(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_exclusion(path, "first", [Excluded("a.png", "an outlier", active=False), Excluded("b.png", "a copy")])
    path.write_text(path.read_text().replace("# a.png", "a.png"))
    write_exclusion(path, "second", [Excluded("a.png", "an outlier", active=False)])
    assert sorted(read_exclusion(path)) == ["a.png", "b.png"]
    assert path.read_text().count("a.png") == 1


@pytest.mark.parametrize("odd", ["\udcff.png", "two\nlines.png", "carriage\rreturn.png", "\u2028.png"])
def test_names_in_reasons_and_heads_never_become_entries(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "x.txt"
    write_exclusion(path, f"of the folder {odd}", [Excluded("b.png", f"the same bytes as {odd}"), Excluded(odd, "odd")])
    assert read_exclusion(path) == ("b.png", odd)
