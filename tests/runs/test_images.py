"""images.csv, and how the images found now differ from it."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.runs.run_folders import sha

from tlcli.datasets.index import Index, LabelledImage
from tlcli.errors import ModelError
from tlcli.runs.images import Difference, difference, read_images, write_images

IMAGES = ("cat/1 a train", "cat/2 b train", "cat/3 b train", "dog/1 c validation", "dog/2 d test")


def index(*images: str) -> Index:
    """Of images that are given as name, content and split; the folder is the class."""
    parts = [image.rsplit(" ", 2) for image in images]
    found = (
        LabelledImage(Path(name), name, sha(content), name.split("/")[0], split, sha(content))  # type: ignore[arg-type]
        for name, content, split in parts
    )
    return Index(Path("data"), ("cat", "dog"), tuple(found), {}, ())


def compared(run: Path, *now: str) -> Difference:
    before = index(*IMAGES)
    write_images(run, before)
    return difference(read_images(run, before.digest()), index(*now).images)


@pytest.mark.parametrize(
    ("now", "counts"),
    [
        (IMAGES, {}),
        (IMAGES[::-1], {}),
        (("x/../cat/1 a train", *IMAGES[1:]), {"relabelled": 1}),
        (("cat/9 a train", *IMAGES[1:]), {"renamed": 1}),
        (("cat/2 a train", "cat/1 b train", *IMAGES[2:]), {"renamed": 2}),
        (("cat/8 a train", "cat/9 a train", *IMAGES[1:]), {"renamed": 1, "added": 1}),
        (IMAGES[1:], {"removed": 1}),
        (("cat/1 a train", *IMAGES[2:]), {"removed": 1}),  # one of two copies
        (("cat/1 new train", *IMAGES[1:]), {"edited": 1}),
        (("cat/1 a test", *IMAGES[1:]), {"moved": 1}),
        (("dog/9 a test", *IMAGES[1:]), {"relabelled": 1}),
        (("cat/1 x train", "cat/9 y train", *IMAGES[2:]), {"edited": 1, "added": 1, "removed": 1}),
    ],
)
def test_every_kind_of_change_is_counted(tmp_path: Path, now: tuple[str, ...], counts: dict[str, int]) -> None:
    found = compared(tmp_path, *now)
    assert found.counts() == counts
    is_same = index(*now).digest() == index(*IMAGES).digest()
    assert is_same == (not counts.keys() - {"renamed"})


def test_labels_given_and_images_set_aside_are_recorded(tmp_path: Path) -> None:
    one = index("cat/1 a train", "dog/2 b train", "dog/3 c train")
    first, second, third = one.images
    one = replace(one, images=(first, replace(second, label="cat")), set_aside=(replace(third, is_set_aside=True),))
    write_images(tmp_path, one)
    recorded = read_images(tmp_path, one.digest())
    assert [(row.label, row.given, row.is_fitted) for row in recorded] == [
        ("cat", "cat", True), ("cat", "dog", True), ("dog", "dog", False),
    ]  # fmt: skip
    assert difference(recorded, (*one.images, *one.set_aside)).counts() == {}
    assert difference(recorded, one.images).counts() == {"removed": 1}


def test_files_of_older_runs_are_read(tmp_path: Path) -> None:
    one = index(*IMAGES)
    write_images(tmp_path, one)
    rows = [line.split(",")[:4] for line in (tmp_path / "images.csv").read_text().splitlines()]
    (tmp_path / "images.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    assert difference(read_images(tmp_path, one.digest()), one.images).counts() == {}


@pytest.mark.parametrize("name", ["cat/a,b\n\"c'.png", "cat/\udcff.png", "cat/ü.png", "cat/\r.png"])
def test_any_name_is_found_again(tmp_path: Path, name: str) -> None:
    one = index("dog/1 c test", f"{name} a train")
    write_images(tmp_path, one)
    assert difference(read_images(tmp_path, one.digest()), one.images).counts() == {}


@pytest.mark.parametrize(
    "text", [None, "", "path,sha256\n", "path,sha256,split,label\na,b\n", "\x00", "one,two\n1,2\n"]
)
def test_a_damaged_file_is_an_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "images.csv").write_text(text)
    with pytest.raises(ModelError) as error:
        read_images(tmp_path, index(*IMAGES).digest())
    assert error.value.code in ("model.run_unreadable", "model.run_malformed")


def test_images_of_another_run_are_an_error(tmp_path: Path) -> None:
    write_images(tmp_path, index(*IMAGES))
    with pytest.raises(ModelError) as error:
        read_images(tmp_path, index(*IMAGES[1:]).digest())
    assert error.value.code == "model.run_malformed"
