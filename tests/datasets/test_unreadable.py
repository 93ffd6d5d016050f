"""Unreadable images: how many may be left out, and when the disk is to blame."""

import errno
import os
from pathlib import Path

import pytest

from tlcli.datasets.index import Index, LabelledImage
from tlcli.datasets.split_names import SplitName
from tlcli.datasets.unreadable import drop_unreadable
from tlcli.errors import DataError, ResourceError


def index_at(root: Path) -> Index:
    """Ten images, two of them for validation."""
    splits: tuple[SplitName, ...] = (*("train",) * 8, "validation", "validation")
    images = tuple(
        LabelledImage(root / f"{n}.png", f"{n}.png", f"{n:064x}", "ab"[n % 2], split, str(n))
        for n, split in enumerate(splits)
    )
    return Index(root, ("a", "b"), images, {}, ())


def test_a_folder_that_disappeared_is_reported_instead_of_its_images(tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as caught:
        drop_unreadable(index_at(tmp_path / "images"), {f"{3:064x}": "cannot be read: No such file"}, "skip", 1.0)
    assert caught.value.code == "resource.file_disappeared"


def test_too_many_are_reported_even_if_a_split_is_left_empty(tmp_path: Path) -> None:
    bad = {f"{n:064x}": "broken: the file ends early" for n in (8, 9)}
    with pytest.raises(DataError) as caught:
        drop_unreadable(index_at(tmp_path), bad, "skip", 0.01)
    assert caught.value.code == "data.unreadable_images"
    assert all(part in caught.value.message for part in ("2 of 10", "20.0%", "1.0%", "8.png", "the file ends early"))
    assert "max_bad_fraction" not in caught.value.hint  # without them there is no validation
    with pytest.raises(DataError) as empty:
        drop_unreadable(index_at(tmp_path), bad, "skip", 0.5)
    assert empty.value.code != "data.unreadable_images"


def test_the_share_to_allow_is_named_where_enough_images_are_left(tmp_path: Path) -> None:
    bad = {f"{n:064x}": "broken" for n in (2, 3)}
    with pytest.raises(DataError) as caught:
        drop_unreadable(index_at(tmp_path), bad, "skip", 0.01)
    assert "max_bad_fraction=0.21" in caught.value.hint


def test_images_that_were_not_read_do_not_count_as_readable(tmp_path: Path) -> None:
    index = index_at(tmp_path)
    bad = {image.sha256: "broken" for image in index.of("train")}
    with pytest.raises(DataError) as caught:
        drop_unreadable(index, bad, "skip", 0.01, examined=index.of("train"))
    assert caught.value.code == "data.no_usable_images"


def test_a_reason_is_named_once_for_all_its_images(tmp_path: Path) -> None:
    bad = {f"{n:064x}": "a HEIC image" for n in range(6)}
    with pytest.raises(DataError) as caught:
        drop_unreadable(index_at(tmp_path), bad, "skip", 0.01)
    assert caught.value.message.count("a HEIC image") == 1


def test_a_failing_disk_is_reported_instead_of_its_images(tmp_path: Path) -> None:
    bad = {f"{n:064x}": f"cannot be read: {os.strerror(errno.EIO)}" for n in (8, 9)}
    with pytest.raises(ResourceError):
        drop_unreadable(index_at(tmp_path), bad, "skip", 0.01)
    one = {f"{3:064x}": bad[f"{8:064x}"]}  # one bad sector is not a failing disk
    assert len(drop_unreadable(index_at(tmp_path), one, "skip", 0.1).images) == 9


def test_one_is_always_left_out_unless_none_is_allowed(tmp_path: Path) -> None:
    one = {f"{3:064x}": "broken"}
    assert len(drop_unreadable(index_at(tmp_path), one, "skip", 0.01).images) == 9
    with pytest.raises(DataError) as caught:
        drop_unreadable(index_at(tmp_path), one, "skip", 0.0)
    assert caught.value.code == "data.unreadable_images"


def test_if_none_is_readable_the_first_is_named(tmp_path: Path) -> None:
    bad = {f"{n:064x}": "broken" for n in range(10)}
    with pytest.raises(DataError) as caught:
        drop_unreadable(index_at(tmp_path), bad, "skip", 0.01)
    assert caught.value.code == "data.no_usable_images"


def test_few_are_left_out(tmp_path: Path) -> None:
    index = drop_unreadable(index_at(tmp_path), {f"{3:064x}": "broken"}, "skip", 0.2)
    assert len(index.images) == 9
    assert index.bad == {"3.png": "broken"}
    assert drop_unreadable(index_at(tmp_path), {}, "fail", 0.0) == index_at(tmp_path)
