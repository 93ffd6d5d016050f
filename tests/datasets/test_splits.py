"""Which images are set aside: how many, by what, and what moves when the data grows."""

import hashlib
from collections import Counter

import pytest

from tlcli.datasets.splits import set_aside
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
def test_each_class_gives_its_share(share: float, cats: int, dogs: int, expected: dict[str, int]) -> None:
    labels = ["cat"] * cats + ["dog"] * dogs

    chosen = set_aside(digests(cats + dogs), labels, share, "test:0")

    assert Counter(label for label, out in zip(labels, chosen, strict=True) if out) == expected


def test_choice_depends_on_content_not_on_order() -> None:
    units = digests(60)
    labels = ["cat" if number % 3 else "dog" for number in range(60)]
    first = {unit for unit, out in zip(units, set_aside(units, labels, 0.25, "s"), strict=True) if out}

    backwards = set_aside(units[::-1], labels[::-1], 0.25, "s")

    assert {unit for unit, out in zip(units[::-1], backwards, strict=True) if out} == first


def test_another_salt_gives_another_choice() -> None:
    units, labels = digests(60), ["cat"] * 60

    assert set_aside(units, labels, 0.5, "test:0") != set_aside(units, labels, 0.5, "test:1")
    assert set_aside(units, labels, 0.5, "test:0") != set_aside(units, labels, 0.5, "validation:0")


def test_other_classes_do_not_change_the_choice_within_a_class() -> None:
    cats, dogs = digests(40, "cat"), digests(20, "dog")

    alone = set_aside(cats, ["cat"] * 40, 0.2, "s")
    together = set_aside([*cats, *dogs], ["cat"] * 40 + ["dog"] * 20, 0.2, "s")

    assert together[:40] == alone


@pytest.mark.parametrize("salt", [f"test:{seed}" for seed in range(20)])
def test_copies_and_groups_are_never_divided(salt: str) -> None:
    units = [unit for number, unit in enumerate(digests(40)) for _ in range(1 + number % 4)]

    chosen = set_aside(units, ["cat"] * len(units), 0.3, salt)

    for unit in set(units):
        assert len({out for other, out in zip(units, chosen, strict=True) if other == unit}) == 1
    assert sum(chosen) == pytest.approx(0.3 * len(units), abs=2)


@pytest.mark.parametrize("salt", [f"test:{seed}" for seed in range(20)])
def test_a_group_larger_than_the_share_stays_while_smaller_ones_fit(salt: str) -> None:
    units = ["patient A"] * 90 + ["patient B"] * 6 + ["patient C"] * 4

    chosen = set_aside(units, ["ill"] * 100, 0.1, salt)

    assert {unit for unit, out in zip(units, chosen, strict=True) if out} <= {"patient B", "patient C"}
    assert 4 <= sum(chosen) <= 10


@pytest.mark.parametrize("salt", [f"test:{seed}" for seed in range(6)])
def test_where_every_group_is_too_large_the_smallest_is_set_aside(salt: str) -> None:
    units = ["patient A"] * 60 + ["patient B"] * 50 + ["patient C"] * 90

    chosen = set_aside(units, ["ill"] * 200, 0.1, salt)

    assert {unit for unit, out in zip(units, chosen, strict=True) if out} == {"patient B"}


def test_a_group_counts_for_the_class_most_of_its_images_have() -> None:
    units = ["mixed"] * 3 + digests(2, "cat") + digests(2, "dog")
    labels = ["cat", "cat", "dog", "cat", "cat", "dog", "dog"]

    chosen = set_aside(units, labels, 0.5, "s")

    assert len(set(chosen[:3])) == 1
    assert sum(chosen[5:]) == 1  # the dogs give one of two, whatever the mixed group does


def test_few_images_move_when_some_are_added() -> None:
    before = digests(400)
    after = before + digests(20, "new")

    old = set_aside(before, ["cat"] * 400, 0.2, "s")
    new = set_aside(after, ["cat"] * 420, 0.2, "s")

    moved = sum(a != b for a, b in zip(old, new[:400], strict=True))
    assert sum(old) == 80
    assert sum(new) == 84
    assert moved <= 8


@pytest.mark.parametrize("units", [["a"], ["a", "a", "a"]])
def test_a_class_with_one_unit_cannot_be_divided(units: list[str]) -> None:
    labels = ["cat"] * len(units) + ["dog"] * 5

    with pytest.raises(DataError, match=r"Class 'cat' has 1 different .* 2 is the least.*dataset\.split"):
        set_aside([*units, *digests(5)], labels, 0.2, "s")


def test_nothing_to_divide_gives_nothing() -> None:
    assert set_aside([], [], 0.2, "s") == []
