"""Decisions on single images: they leave or get another class, and no image ever moves to another split."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tlcli.datasets.decisions import Decisions, ExclusionReason
from tlcli.datasets.index import Index, build_index, without
from tlcli.datasets.labelled_files import LabelledFile, Scan
from tlcli.datasets.splits import SplitShares
from tlcli.errors import DataError

SHARES = SplitShares(validation=0.2, test=0.2)
NOTHING: Mapping[str, ExclusionReason] = {}


def scan_of(folder: Path, counts: Mapping[str, int]) -> Scan:
    """A data set of files with different bytes, named after their class."""
    files = []
    for label, count in counts.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = folder / label / f"{number}.png"
            path.write_text(f"{label} {number}")
            files.append(LabelledFile(path, label))
    return Scan(folder, tuple(files))


def splits_of(index: Index) -> dict[str, str]:
    return {image.name: image.split for image in (*index.images, *index.set_aside)}


def decided(scan: Scan, excluded: Mapping[str, ExclusionReason] = NOTHING, **relabelled: str) -> Index:
    """Names of relabelled images are written with an underscore for the slash."""
    names = {name.replace("_", "/") + ".png": label for name, label in relabelled.items()}
    return build_index(scan, SHARES, decisions=Decisions(excluded, names))


def test_no_decision_moves_an_image_between_splits(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, {"cat": 40, "dog": 40})
    before = splits_of(build_index(scan, SHARES))
    reasons: tuple[ExclusionReason, ...] = ("label", "by_hand", "duplicate")
    excluded = {f"cat/{number}.png": reasons[number % 3] for number in range(20)}
    relabelled = {f"dog_{number}": "cat" for number in range(20)}
    after = splits_of(decided(scan, excluded, **relabelled))
    assert after.items() <= before.items()
    assert set(before) - set(after) == {name for name, reason in excluded.items() if reason != "label"}


def test_doubted_images_are_set_aside_and_measured_with_the_label_given(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, {"cat": 40, "dog": 40})
    plain = build_index(scan, SHARES)
    train = [image.name for image in plain.of("train") if image.label == "cat"]
    index = build_index(scan, SHARES, decisions=Decisions({train[0]: "label"}, {train[1]: "dog"}))
    assert [image.name for image in index.set_aside] == [train[0]]
    assert train[0] not in {image.name for image in index.images}
    assert {one.name: (one.label, one.given) for one in index.images}[train[1]] == ("dog", "cat")
    given = {image.name: image.label for image in index.as_given().images}
    assert given == {image.name: image.label for image in plain.images}
    assert plain.as_given() is plain
    assert len({plain.digest(), index.digest(), replace(index, set_aside=()).digest()}) == 3


def test_test_images_keep_the_label_given(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, {"cat": 40, "dog": 40})
    names = {image.name: "dog" for image in build_index(scan, SHARES).of("test")}
    index = build_index(scan, SHARES, decisions=Decisions(relabelled=names))
    assert {image.label for image in index.of("test")} == {"cat", "dog"}
    assert not any(image.is_relabelled for image in index.images)


@pytest.mark.parametrize("reason", ["label", "unreadable"])
def test_excluded_files_may_be_unreadable(tmp_path: Path, reason: ExclusionReason) -> None:
    scan = scan_of(tmp_path, {"cat": 10, "dog": 10})
    gone = tmp_path / "cat/3.png"
    gone.unlink()
    index = decided(scan, {"cat/3.png": reason})
    assert (index.bad, len(index.images), index.set_aside) == ({}, 19, ())
    assert [(one.name, one.split) for one in index.excluded] == [("cat/3.png", None)]
    assert set(decided(scan).bad) == {"cat/3.png"}


def test_images_set_aside_may_turn_out_to_be_unreadable(tmp_path: Path) -> None:
    index = decided(scan_of(tmp_path, {"cat": 10, "dog": 10}), {"cat/3.png": "label"})
    left = without(index, {index.set_aside[0].sha256: "broken"})
    assert (left.set_aside, left.bad) == ((), {"cat/3.png": "broken"})


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_classes_are_counted_by_what_remains(tmp_path: Path, kept: int) -> None:
    scan = scan_of(tmp_path, {"cat": 10, "dog": 10, "owl": 10})
    excluded: dict[str, ExclusionReason] = {f"owl/{number}.png": "label" for number in range(10 - kept)}
    with pytest.raises(DataError) as error:
        decided(scan, excluded)
    assert error.value.code == "data.class_too_small"
    index = build_index(scan, SHARES, decisions=Decisions(excluded), min_images_per_class=4)
    assert index.labels == ("cat", "dog")
    assert (len(index.images), index.set_aside, sum(one.count for one in index.left_out)) == (20, (), kept)


def test_a_class_without_training_images_left_is_too_small(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, {"cat": 20, "dog": 20})
    training = [one.name for one in build_index(scan, SHARES).of("train") if one.label == "cat"]
    with pytest.raises(DataError) as error:
        decided(scan, dict.fromkeys(training, "by_hand"))
    assert error.value.code == "data.class_too_small"
    with pytest.raises(DataError) as error:
        decided(scan, dict.fromkeys(splits_of(build_index(scan, SHARES)), "by_hand"))
    assert error.value.code == "data.no_usable_images"


def test_a_class_excluded_by_hand_is_no_class(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, {"cat": 10, "dog": 10, "owl": 10})
    assert decided(scan, {f"owl/{number}.png": "by_hand" for number in range(10)}).labels == ("cat", "dog")
