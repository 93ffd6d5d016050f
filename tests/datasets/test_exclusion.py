"""Exclusion lists: what is written is read back, no foreign file is overwritten, and what is proposed."""

from dataclasses import replace
from pathlib import Path

import pytest

from tlcli.datasets.decisions import ExclusionReason
from tlcli.datasets.exclusion import (
    Exclusion,
    note_exclusions,
    propose_exclusions,
    read_exclusion,
    without_excluded,
    write_exclusion,
)
from tlcli.datasets.index import LabelledImage
from tlcli.datasets.labelled_files import LabelledFile, Scan
from tlcli.datasets.split_names import SplitName
from tlcli.errors import DataError, UsageError

NAMES = [
    "a.png", "alien/7 (1).jpg", "größe/日本.png", "#1.png", '"quoted".png', " space.png", "line\nbreak.png",
    "odd \udcff byte.png", "tab\t.png", "back\\slash.png",
]  # fmt: skip


def test_written_names_are_read_back(tmp_path: Path) -> None:
    write_exclusion(tmp_path / "x.txt", "of a test", [Exclusion(name, "outlier", "a\nreason") for name in NAMES])
    assert list(read_exclusion(tmp_path / "x.txt")) == NAMES


def test_inactive_entries_are_comments_until_somebody_decides(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_exclusion(
        path, "of a test", [Exclusion("a.png", "duplicate", "one"), Exclusion("b.png", "outlier", "two", active=False)]
    )
    assert list(read_exclusion(path)) == ["a.png"]
    text = path.read_text()
    assert "# [outlier] two\n# b.png\n" in text
    path.write_text(text.replace("# b.png", "b.png"))
    assert read_exclusion(path) == {"a.png": "duplicate", "b.png": "outlier"}


def test_own_list_is_overwritten_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_exclusion(path, "first", [Exclusion("a.png", "duplicate", "one")])
    write_exclusion(path, "second", [Exclusion("b.png", "label", "two")])
    assert read_exclusion(path) == {
        "a.png": "duplicate",
        "b.png": "label",
    }  # what was excluded before was not inspected again
    for other in (tmp_path / "notes.txt", tmp_path / "folder"):
        if other.suffix:
            other.write_text("mine")
        else:
            other.mkdir()
        with pytest.raises(UsageError) as error:
            write_exclusion(other, "third", [])
        assert error.value.code == "usage.file_exists"
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_unreadable_lists_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe")
    for name in ("none.txt", "binary.txt"):
        with pytest.raises(DataError) as error:
            read_exclusion(tmp_path / name)
        assert error.value.code == "data.exclusion_list_unreadable"


@pytest.mark.parametrize("line", ['"open', '"a" b', '"'])
def test_malformed_line_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "x.txt").write_text(f"a.png\n\n{line}\n")
    with pytest.raises(DataError) as error:
        read_exclusion(tmp_path / "x.txt")
    assert error.value.code == "data.exclusion_list_malformed"
    assert f"{tmp_path / 'x.txt'}:3" in error.value.message


def test_images_are_excluded_by_name_and_unknown_names_are_counted(tmp_path: Path) -> None:
    found = tuple(LabelledFile(tmp_path / label / f"{n}.png", label) for label in ("a", "b") for n in range(3))
    scan = Scan(tmp_path, found, notes=("a note",))
    names: dict[str, ExclusionReason] = {"a/1.png": "outlier", "b/0.png": "by_hand", "b/9.png": "label"}
    left = without_excluded(scan, names)
    left = replace(left, notes=note_exclusions(scan, names).notes)
    assert [item.path.relative_to(tmp_path).as_posix() for item in left.files] == [
        "a/0.png",
        "a/2.png",
        "b/1.png",
        "b/2.png",
    ]
    assert left.notes[0] == "a note"
    assert "2" in left.notes[1]
    assert "1" in left.notes[2]
    assert "'b/9.png'" in left.notes[2]
    assert len(left.notes) == 3


def test_activated_entries_stay_active(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_exclusion(
        path,
        "first",
        [Exclusion("a.png", "outlier", "an outlier", active=False), Exclusion("b.png", "duplicate", "a copy")],
    )
    path.write_text(path.read_text().replace("# a.png", "a.png"))
    write_exclusion(path, "second", [Exclusion("a.png", "outlier", "an outlier", active=False)])
    assert sorted(read_exclusion(path)) == ["a.png", "b.png"]
    assert path.read_text().count("a.png") == 1


@pytest.mark.parametrize("odd", ["\udcff.png", "two\nlines.png", "carriage\rreturn.png", "\u2028.png"])
def test_names_in_reasons_and_heads_never_become_entries(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "x.txt"
    write_exclusion(
        path, f"of {odd}", [Exclusion("b.png", "duplicate", f"exact copy of {odd}"), Exclusion(odd, "by_hand", "odd")]
    )
    assert read_exclusion(path) == {"b.png": "duplicate", odd: "by_hand"}


def image(name: str, split: SplitName = "train") -> LabelledImage:
    return LabelledImage(Path(name), name, name, "cat", split, name)


def active(entries: list[Exclusion]) -> dict[str, bool]:
    return {one.name: one.active for one in entries}


def test_unreadable_images_are_proposed_with_the_reason() -> None:
    (one,) = propose_exclusions({"a.jpg": "broken: truncated"}, [], [], [])
    assert (one.name, one.active) == ("a.jpg", True)
    assert "broken: truncated" in one.explanation


def test_of_copies_the_one_that_is_not_measured_on_is_proposed() -> None:
    leak = (image("t.jpg", "test"), image("a.jpg"), 0.93)
    exact = (image("b.jpg"), image("c.jpg"), None)
    near = (image("d.jpg"), image("e.jpg"), 0.9)
    proposed = propose_exclusions({}, [leak, exact, near], [], [])
    assert active(proposed) == {"a.jpg": True, "c.jpg": True, "e.jpg": False}
    for one, parts in zip(proposed, [("t.jpg", "0.93", "(test)"), ("b.jpg", "train"), ("d.jpg", "0.90")], strict=True):
        assert all(part in one.explanation for part in parts)


def test_doubted_labels_are_inactive_with_both_labels_and_probabilities() -> None:
    proposed = propose_exclusions(
        {}, [], [(image("a.jpg"), "dog", 0.04, 0.91), (image("v.jpg", "validation"), "dog", 0.05, 0.9)], []
    )
    assert active(proposed) == {"a.jpg": False, "v.jpg": False}
    assert {one.reason for one in proposed} == {"label"}
    assert all(part in proposed[0].explanation for part in ("train", "cat", "dog", "0.04", "0.91"))


def test_each_image_is_proposed_once_and_an_active_entry_wins() -> None:
    outlier = (image("a.jpg"), 0.8)
    issue = (image("a.jpg"), "dog", 0.04, 0.9)
    leak = (image("d.jpg", "test"), image("a.jpg"), 0.9)
    (one,) = propose_exclusions({}, [leak], [issue], [outlier])
    assert (one.active, one.reason) == (True, "near_duplicate")
    assert active(propose_exclusions({}, [], [], [outlier])) == {"a.jpg": False}


OLDER = "# Images to exclude, written by tlcli inspect\n# train image labelled cat; dog is more likely\na.png\n"
DETACHED = "# [label] doubted\n\na.png\n# [outlier] far\n# b.png\nc.png\n# [strange] odd\nd.png\n"


def test_reasons_are_read_only_directly_above_a_name(tmp_path: Path) -> None:
    for text, expected in (
        (OLDER, {"a.png": "by_hand"}),
        (DETACHED, {"a.png": "by_hand", "c.png": "by_hand", "d.png": "by_hand"}),
        ("#[label]\na.png\nb.png\n", {"a.png": "label", "b.png": "by_hand"}),
    ):
        (tmp_path / "x.txt").write_text(text)
        assert read_exclusion(tmp_path / "x.txt") == expected


def test_of_copies_with_two_labels_people_decide() -> None:
    right = LabelledImage(Path("p"), "predator/1.jpg", "0" * 64, "predator", "train", "u")
    wrong = replace(right, name="alien/1.jpg", label="alien", given="alien")
    proposed = propose_exclusions({}, [(wrong, right, None)], [], [])
    assert {one.name: one.active for one in proposed} == {"alien/1.jpg": False, "predator/1.jpg": False}
    measured = replace(right, split="test")
    assert [one.name for one in propose_exclusions({}, [(measured, wrong, 0.95)], [], [])] == ["alien/1.jpg"]
