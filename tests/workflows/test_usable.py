"""Images that cannot be read: how many may be left out, and when they are not to blame."""

import errno
import os
from pathlib import Path

import pytest

from tlcli.datasets.index import Index, LabelledImage
from tlcli.datasets.layout import SplitName
from tlcli.errors import DataError, ResourceError
from tlcli.workflows.frozen_pass import usable


def index_at(root: Path) -> Index:
    """Ten images, two of them for validation."""
    splits: tuple[SplitName, ...] = (*("train",) * 8, "validation", "validation")
    images = tuple(
        LabelledImage(root / f"{n}.png", f"{n}.png", f"{n:064x}", "ab"[n % 2], split, str(n))
        for n, split in enumerate(splits)
    )
    return Index(root, ("a", "b"), images, {}, ())


def test_images_that_went_away_with_their_folder_are_not_to_blame(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"images went away .* bring it back and run the same command again"):
        usable(index_at(tmp_path / "images"), {f"{3:064x}": "cannot be read: No such file"}, "skip", 1.0)


def test_too_many_are_told_as_that_also_where_a_split_is_left_empty(tmp_path: Path) -> None:
    bad = {f"{n:064x}": "broken: the file ends early" for n in (8, 9)}
    with pytest.raises(DataError, match=r"2 of 10 images cannot be read \(20.0%\), and 1.0% are allowed"):
        usable(index_at(tmp_path), bad, "skip", 0.01)
    with pytest.raises(DataError, match="No image is left for validation"):
        usable(index_at(tmp_path), bad, "skip", 0.5)


def test_a_disk_that_fails_is_no_reason_to_leave_images_out(tmp_path: Path) -> None:
    bad = {f"{n:064x}": f"cannot be read: {os.strerror(errno.EIO)}" for n in (8, 9)}
    with pytest.raises(ResourceError, match=r"2 of 10 images could not be read from their disk, for example .*8\.png"):
        usable(index_at(tmp_path), bad, "skip", 0.01)
    one = {f"{3:064x}": bad[f"{8:064x}"]}  # a bad place of the disk is no end of it
    assert len(usable(index_at(tmp_path), one, "skip", 0.1).images) == 9
    with pytest.raises(DataError, match="max_bad_fraction"):
        usable(index_at(tmp_path), one, "skip", 0.01)


def test_few_are_left_out(tmp_path: Path) -> None:
    index = usable(index_at(tmp_path), {f"{3:064x}": "broken"}, "skip", 0.2)
    assert len(index.images) == 9
    assert index.bad == {"3.png": "broken"}
    assert usable(index_at(tmp_path), {}, "fail", 0.0) == index_at(tmp_path)
