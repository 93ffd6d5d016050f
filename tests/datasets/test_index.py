"""The index: given and created splits, groups, digests, and unreadable images."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tlcli.datasets.index import Index, build_index, without
from tlcli.datasets.labelled_files import LabelledFile, Scan
from tlcli.datasets.layout import scan_folders
from tlcli.datasets.split_names import SplitName
from tlcli.datasets.splits import SplitShares, group_by_folder, group_by_pattern
from tlcli.errors import DataError

Put = Callable[[Path, int], Path]

SHARES = SplitShares(validation=0.2, test=0.1)
NO_SHARES = SplitShares(validation=0, test=0)


def scan_of(root: Path, put: Put, counts: dict[str, int], split: SplitName | None = None, start: int = 0) -> Scan:
    """``counts`` images a class, all different, in ``root/split/class``."""
    files = []
    for label, count in counts.items():
        for _ in range(count):
            files.append(LabelledFile(put(root / (split or "all") / label / f"{start}.png", start), label, split))
            start += 1
    return Scan(root, tuple(files))


def joined(*scans: Scan) -> Scan:
    return Scan(scans[0].root, tuple(item for scan in scans for item in scan.files))


def sizes(index: Index) -> dict[str, int]:
    return {split: sum(counts.values()) for split, counts in index.counts().items()}


def test_image_has_name_digest_label_and_split(tmp_path: Path, put: Put) -> None:
    index = build_index(scan_of(tmp_path, put, {"cat": 10, "dog": 10}), SHARES)

    assert index.labels == ("cat", "dog")
    assert [image.name for image in index.images[:2]] == ["all/cat/0.png", "all/cat/1.png"]
    for image in index.images:
        assert image.sha256 == hashlib.sha256(image.path.read_bytes()).hexdigest() == image.group
    assert index.counts() == {
        "train": {"cat": 7, "dog": 7},
        "validation": {"cat": 2, "dog": 2},
        "test": {"cat": 1, "dog": 1},
    }
    assert index.of("test") == [image for image in index.images if image.split == "test"]


def test_labels_are_in_the_given_order(tmp_path: Path, put: Put) -> None:
    scan = scan_of(tmp_path, put, {"cat": 5, "dog": 5})

    assert build_index(scan, SHARES, ("dog", "cat")).labels == ("dog", "cat")


def test_test_split_is_taken_from_given_validation(tmp_path: Path, put: Put) -> None:
    train = scan_of(tmp_path, put, {"cat": 10, "dog": 10}, "train")
    validation = scan_of(tmp_path, put, {"cat": 10, "dog": 20}, "validation", 100)

    index = build_index(joined(train, validation), SplitShares(validation=0.2, test=0.5))

    assert index.counts() == {
        "train": {"cat": 10, "dog": 10},
        "validation": {"cat": 5, "dog": 10},
        "test": {"cat": 5, "dog": 10},
    }
    assert {image.name.split("/")[0] for image in index.of("test")} == {"validation"}


def test_validation_split_is_taken_from_train_if_test_is_given(tmp_path: Path, put: Put) -> None:
    train = scan_of(tmp_path, put, {"cat": 10, "dog": 20}, "train")
    test = scan_of(tmp_path, put, {"cat": 3, "dog": 3}, "test", 100)

    index = build_index(joined(train, test), SHARES)

    assert index.counts() == {
        "train": {"cat": 8, "dog": 16},
        "validation": {"cat": 2, "dog": 4},
        "test": {"cat": 3, "dog": 3},
    }


def test_given_splits_are_kept(tmp_path: Path, put: Put) -> None:
    splits: tuple[SplitName, ...] = ("train", "validation", "test")
    scan = joined(*(scan_of(tmp_path, put, {"a": 4, "b": 5}, split, 100 * n) for n, split in enumerate(splits)))

    index = build_index(scan, SHARES)

    assert sizes(index) == {"train": 9, "validation": 9, "test": 9}
    assert all(image.name.startswith(f"{image.split}/") for image in index.images)


def test_shares_are_of_all_images(tmp_path: Path, put: Put) -> None:
    index = build_index(scan_of(tmp_path, put, {"a": 40, "b": 20}), SplitShares(validation=0.25, test=0.25))

    assert [list(counts.values()) for counts in index.counts().values()] == [[20, 10], [10, 5], [10, 5]]


def test_share_of_0_creates_no_test_split(tmp_path: Path, put: Put) -> None:
    index = build_index(scan_of(tmp_path, put, {"a": 10, "b": 10}), SplitShares(validation=0.3, test=0))

    assert sizes(index) == {"train": 14, "validation": 6, "test": 0}


def test_seed_changes_the_splits_and_names_do_not(tmp_path: Path, put: Put) -> None:
    scan = scan_of(tmp_path / "one", put, {"a": 30, "b": 30})
    shutil.copytree(tmp_path / "one" / "all" / "a", tmp_path / "two" / "renamed")
    renamed = Scan(tmp_path, tuple(
        replace(item, path=tmp_path / "two" / "renamed" / item.path.name) if item.label == "a" else item
        for item in reversed(scan.files)
    ))  # fmt: skip

    def test_digests(scan: Scan, seed: int = 0) -> set[str]:
        return {image.sha256 for image in build_index(scan, replace(SHARES, seed=seed)).of("test")}

    assert test_digests(renamed) == test_digests(scan)
    assert test_digests(scan, seed=1) != test_digests(scan)


def test_copies_stay_in_one_split(tmp_path: Path, put: Put) -> None:
    scan = scan_of(tmp_path, put, {"a": 20, "b": 20})
    copies = []
    for item in scan.files:
        copy = item.path.with_name(f"copy of {item.path.name}")
        shutil.copy(item.path, copy)
        copies.append(replace(item, path=copy))

    index = build_index(Scan(tmp_path, (*scan.files, *copies)), SHARES)

    assert sizes(index) == {"train": 56, "validation": 16, "test": 8}
    assert len({(image.sha256, image.split) for image in index.images}) == 40


@pytest.mark.parametrize(
    ("shares", "group"),
    [
        (replace(SHARES, group_of=group_by_folder), "ill/p3"),
        (replace(SHARES, group_of=partial(group_by_pattern, r"/(p\d+)/")), "p3"),
        (replace(SHARES, group_of=partial(group_by_pattern, r"p\d+")), "p3"),
    ],
)
def test_groups_stay_in_one_split(tmp_path: Path, put: Put, shares: SplitShares, group: str) -> None:
    files = [
        LabelledFile(put(tmp_path / label / f"p{patient}" / f"{shot}.png", 100 * patient + shot), label)
        for label, patients in (("ill", range(10)), ("well", range(10, 20)))
        for patient in patients
        for shot in range(3)
    ]

    index = build_index(Scan(tmp_path, tuple(files)), shares)

    assert {image.group for image in index.images if "/p3/" in image.name} == {group}
    assert len({(image.group, image.split) for image in index.images}) == 20
    assert sizes(index) == {"train": 42, "validation": 12, "test": 6}


def test_group_of_a_label_table_has_priority(tmp_path: Path, put: Put) -> None:
    scan = scan_of(tmp_path, put, {"a": 20, "b": 20})
    grouped = Scan(tmp_path, tuple(replace(item, group=f"{n // 4}") for n, item in enumerate(scan.files)))

    index = build_index(grouped, replace(SHARES, group_of=group_by_folder))

    assert {image.group for image in index.images} == {str(number) for number in range(10)}


def test_group_pattern_without_match_names_the_image(tmp_path: Path, put: Put) -> None:
    scan = scan_of(tmp_path, put, {"a": 5, "b": 5})

    with pytest.raises(DataError) as error:
        build_index(scan, replace(SHARES, group_of=partial(group_by_pattern, r"patient\d")))
    assert error.value.code == "data.group_pattern_no_match"
    assert "'all/a/0.png'" in error.value.message


def test_digest_changes_with_content_label_and_split_but_not_with_names(tmp_path: Path, put: Put) -> None:
    index = build_index(scan_of(tmp_path, put, {"a": 5, "b": 5}), SHARES)
    first, *rest = index.images
    changed = [
        replace(index, images=(replace(first, **change), *rest))  # type: ignore[arg-type]
        for change in ({"sha256": "0" * 64}, {"label": "b"}, {"split": "test"})
    ]

    assert index.images[0].split != "test"
    assert len({index.digest(), *(other.digest() for other in changed)}) == 4
    assert replace(index, images=(replace(first, name="other.png"), *rest)).digest() == index.digest()
    assert replace(index, images=index.images[::-1]).digest() == index.digest()
    assert build_index(scan_of(tmp_path / "moved", put, {"a": 5, "b": 5}), SHARES).digest() == index.digest()


def test_unreadable_files_are_reported_with_the_reason(tmp_path: Path, put: Put) -> None:
    scan = scan_of(tmp_path, put, {"a": 6, "b": 6})
    (tmp_path / "folder.png").mkdir()
    broken = (
        LabelledFile(tmp_path / "gone.png", "a"),
        LabelledFile(tmp_path / "folder.png", "b"),
        LabelledFile(tmp_path / "x\0.png", "b"),
    )

    index = build_index(Scan(tmp_path, (*scan.files, *broken)), SHARES)

    assert len(index.images) == 12
    assert set(index.bad) == {"gone.png", "folder.png", "x\0.png"}
    assert os.strerror(errno.ENOENT) in index.bad["gone.png"]


def test_without_readable_files_the_first_is_named(tmp_path: Path) -> None:
    scan = Scan(tmp_path, (LabelledFile(tmp_path / "gone.png", "a"), LabelledFile(tmp_path / "lost.png", "b")))

    with pytest.raises(DataError) as error:
        build_index(scan, SHARES)
    assert error.value.code == "data.no_usable_images"
    assert "gone.png" in error.value.message


def test_without_removes_broken_images_and_moves_no_other(tmp_path: Path, put: Put) -> None:
    index = build_index(scan_of(tmp_path, put, {"a": 10, "b": 10}), SHARES)
    victim = index.of("train")[0]

    fewer = without(index, {victim.sha256: "broken: truncated"})

    assert fewer.images == tuple(image for image in index.images if image != victim)
    assert fewer.bad == {victim.name: "broken: truncated"}
    assert without(index, {}) is index


def test_without_refuses_to_empty_a_class(tmp_path: Path, put: Put) -> None:
    index = build_index(scan_of(tmp_path, put, {"a": 10, "b": 10}), SHARES)

    with pytest.raises(DataError) as error:
        without(index, {image.sha256: "broken" for image in index.of("train")[1:] if image.label == "a"})
    assert error.value.code == "data.class_too_small"
    assert "broken" in error.value.message  # the cause


def test_without_any_readable_image_the_first_reason_is_named(tmp_path: Path, put: Put) -> None:
    index = build_index(scan_of(tmp_path, put, {"a": 10, "b": 10}), SHARES)

    with pytest.raises(DataError) as error:
        without(index, {image.sha256: "a HEIC image" for image in index.images})
    assert error.value.code == "data.no_usable_images"
    assert "a HEIC image" in error.value.message


@pytest.mark.parametrize(
    ("counts", "shares", "classes", "code", "part"),
    [
        ({"a": 1, "b": 9}, SHARES, None, "data.class_too_small", "'a' (1)"),
        ({"a": 2, "b": 9}, SplitShares(0.2, 0), None, "data.class_too_small", "'a' (2)"),
        ({"a": 3, "b": 9, "c": 2}, SHARES, None, "data.class_too_small", "'a' (3), 'c' (2)"),
        ({"a": 9, "b": 9}, NO_SHARES, None, "data.no_validation_images", ""),
        ({"a": 9}, SHARES, None, "data.too_few_classes", "'a'"),
        ({"a": 9, "b": 9}, SHARES, ("a", "b", "c"), "data.class_too_small", "'c' (0)"),
    ],
)
def test_too_few_images_are_refused(
    tmp_path: Path, put: Put, counts: dict[str, int], shares: SplitShares, classes: tuple[str, ...] | None, code: str,
    part: str,
) -> None:  # fmt: skip
    with pytest.raises(DataError) as error:
        build_index(scan_of(tmp_path, put, counts), shares, classes)
    assert error.value.code == code
    assert part in error.value.message


def test_copies_keep_their_groups_together(tmp_path: Path) -> None:
    for group in range(30):
        folder = tmp_path / "ab"[group % 2] / f"g{group}"
        folder.mkdir(parents=True)
        for number in range(3):
            (folder / f"{number}.png").write_bytes(f"{group} {number}".encode())
    copied = tmp_path / "a/g0/0.png"
    for group in (2, 4, 6):
        (tmp_path / f"a/g{group}/copy.png").write_bytes(copied.read_bytes())
    index = build_index(scan_folders(tmp_path, "auto", None), SplitShares(0.2, 0.2, group_of=group_by_folder))
    splits_of_content: dict[str, set[str]] = {}
    splits_of_folder: dict[str, set[str]] = {}
    for image in index.images:
        splits_of_content.setdefault(image.sha256, set()).add(image.split)
        splits_of_folder.setdefault(str(image.path.parent), set()).add(image.split)
    assert all(len(splits) == 1 for splits in splits_of_content.values())
    assert all(len(splits) == 1 for splits in splits_of_folder.values())


def test_copies_across_given_splits_and_across_classes_are_counted(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for label in "ab":
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(3):
                (tmp_path / split / label / f"{number}.png").write_bytes(f"{split} {label} {number}".encode())
    (tmp_path / "val/a/0.png").write_bytes(b"train a 1")
    (tmp_path / "train/b/0.png").write_bytes(b"train a 2")
    _, copies, label_errors = build_index(scan_folders(tmp_path, "auto", None), SplitShares(0.2, 0.2)).notes
    assert "1 of 6 validation" in copies
    assert "1" in label_errors
