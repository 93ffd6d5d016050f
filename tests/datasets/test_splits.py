"""Held-out images: how many, which, and what changes when the data grows."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from tlcli.datasets.labelled_files import LabelledFile
from tlcli.datasets.splits import SplitShares, check_enough, hold_out
from tlcli.errors import DataError


def digests(count: int, salt: str = "") -> list[str]:
    return [hashlib.sha256(f"{salt}{number}".encode()).hexdigest() for number in range(count)]


@pytest.mark.parametrize(
    ("share", "cats", "dogs", "expected"),
    [
        (0.2, 50, 30, {"cat": 10, "dog": 6}),
        (0.15, 100, 10, {"cat": 15, "dog": 2}),
        (0.01, 40, 2, {"cat": 1, "dog": 1}),  # at least one of each class
        (0.9, 10, 2, {"cat": 9, "dog": 1}),  # and at least one stays
    ],
)
def test_share_is_held_out_of_each_class(share: float, cats: int, dogs: int, expected: dict[str, int]) -> None:
    labels = ["cat"] * cats + ["dog"] * dogs

    chosen = hold_out(digests(cats + dogs), labels, share, "test:0")

    assert Counter(label for label, out in zip(labels, chosen, strict=True) if out) == expected


def test_choice_depends_on_content_and_not_on_order() -> None:
    units = digests(60)
    labels = ["cat" if number % 3 else "dog" for number in range(60)]
    first = {unit for unit, out in zip(units, hold_out(units, labels, 0.25, "s"), strict=True) if out}

    backwards = hold_out(units[::-1], labels[::-1], 0.25, "s")

    assert {unit for unit, out in zip(units[::-1], backwards, strict=True) if out} == first


def test_another_salt_gives_another_choice() -> None:
    units, labels = digests(60), ["cat"] * 60

    assert hold_out(units, labels, 0.5, "test:0") != hold_out(units, labels, 0.5, "test:1")
    assert hold_out(units, labels, 0.5, "test:0") != hold_out(units, labels, 0.5, "validation:0")


def test_other_classes_do_not_change_the_choice_within_a_class() -> None:
    cats, dogs = digests(40, "cat"), digests(20, "dog")

    alone = hold_out(cats, ["cat"] * 40, 0.2, "s")
    together = hold_out([*cats, *dogs], ["cat"] * 40 + ["dog"] * 20, 0.2, "s")

    assert together[:40] == alone


@pytest.mark.parametrize("salt", [f"test:{seed}" for seed in range(20)])
def test_copies_and_groups_are_never_divided(salt: str) -> None:
    units = [unit for number, unit in enumerate(digests(40)) for _ in range(1 + number % 4)]

    chosen = hold_out(units, ["cat"] * len(units), 0.3, salt)

    for unit in set(units):
        assert len({out for other, out in zip(units, chosen, strict=True) if other == unit}) == 1
    assert sum(chosen) == pytest.approx(0.3 * len(units), abs=2)


@pytest.mark.parametrize("salt", [f"test:{seed}" for seed in range(20)])
def test_group_larger_than_the_share_stays_if_smaller_ones_fit(salt: str) -> None:
    units = ["patient A"] * 90 + ["patient B"] * 6 + ["patient C"] * 4

    chosen = hold_out(units, ["ill"] * 100, 0.1, salt)

    assert {unit for unit, out in zip(units, chosen, strict=True) if out} <= {"patient B", "patient C"}
    assert 4 <= sum(chosen) <= 10


@pytest.mark.parametrize("salt", [f"test:{seed}" for seed in range(6)])
def test_if_every_group_is_too_large_the_smallest_is_held_out(salt: str) -> None:
    units = ["patient A"] * 60 + ["patient B"] * 50 + ["patient C"] * 90

    chosen = hold_out(units, ["ill"] * 200, 0.1, salt)

    assert {unit for unit, out in zip(units, chosen, strict=True) if out} == {"patient B"}


def test_group_counts_for_its_most_frequent_class() -> None:
    units = ["mixed"] * 3 + digests(2, "cat") + digests(2, "dog")
    labels = ["cat", "cat", "dog", "cat", "cat", "dog", "dog"]

    chosen = hold_out(units, labels, 0.5, "s")

    assert len(set(chosen[:3])) == 1
    assert sum(chosen[5:]) == 1  # one of two dogs, whatever happens to the mixed group


def test_adding_images_moves_few_others() -> None:
    before = digests(400)
    after = before + digests(20, "new")

    old = hold_out(before, ["cat"] * 400, 0.2, "s")
    new = hold_out(after, ["cat"] * 420, 0.2, "s")

    moved = sum(a != b for a, b in zip(old, new[:400], strict=True))
    assert sum(old) == 80
    assert sum(new) == 84
    assert moved <= 8


@pytest.mark.parametrize("units", [["a"], ["a", "a", "a"]])
def test_only_unit_of_a_class_stays(units: list[str]) -> None:
    labels = ["cat"] * len(units) + ["dog"] * 5

    chosen = hold_out([*units, *digests(5)], labels, 0.2, "s")

    assert not any(chosen[: len(units)])
    assert sum(chosen) == 1


@pytest.mark.parametrize(
    ("counts", "offered", "not_offered"),
    [
        ({"cat": 3, "dog": 3}, "split.test=0", "min_images_per_class"),
        ({"cat": 1, "dog": 9, "owl": 9}, "min_images_per_class=4", "split.test=0"),
        ({"cat": 1, "dog": 9}, "Add images", "min_images_per_class"),
    ],
)
def test_small_classes_are_answered_with_what_helps(
    counts: dict[str, int], offered: str, not_offered: str
) -> None:  # fmt: skip
    labels = [label for label, count in counts.items() for _ in range(count)]
    files = [LabelledFile(Path(str(number)), label) for number, label in enumerate(labels)]
    with pytest.raises(DataError) as caught:
        check_enough(files, digests(len(files)), labels, SplitShares(0.2, 0.2))
    assert caught.value.code == "data.class_too_small"
    assert offered in caught.value.hint
    assert not_offered not in caught.value.hint


def test_copies_of_one_image_are_no_class() -> None:
    files = [LabelledFile(Path(str(number)), label) for label in ("cat", "dog", "owl") for number in range(6)]
    with pytest.raises(DataError) as caught:
        check_enough(files, ["copy"] * 6 + digests(12), [file.label for file in files], SplitShares(0.2, 0.2))
    assert "min_images_per_class" not in caught.value.hint  # it has enough images
    assert "dataset.classes" in caught.value.hint


def test_no_images_give_an_empty_result() -> None:
    assert hold_out([], [], 0.2, "s") == []
