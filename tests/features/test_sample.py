from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from tlcli.datasets.index import LabelledImage
from tlcli.features.sample import decoded, shuffled, stratified
from tlcli.images.preparation import Preparation
from tlcli.system.files import sha256_file


def one(number: int, label: str, folder: Path = Path()) -> LabelledImage:
    return LabelledImage(folder / f"{number}.png", f"{number}.png", f"{number:064x}", label, "train", str(number))


IMAGES = [one(number, "rare" if number < 5 else "common") for number in range(100)]


def test_classes_take_turns_while_they_last() -> None:
    labels = [p.label for p in stratified(IMAGES, "calibration")]
    assert all(set(labels[turn : turn + 2]) == {"rare", "common"} for turn in range(0, 10, 2))
    assert labels[10:] == ["common"] * 90


def test_the_order_is_that_of_the_digests_and_the_purpose() -> None:
    for order in (stratified, shuffled):
        assert order(IMAGES[::-1], "calibration") == order(IMAGES, "calibration")
        assert order(IMAGES, "agreement") != order(IMAGES, "calibration")
        assert sorted(p.sha256 for p in order(IMAGES, "calibration")) == sorted(p.sha256 for p in IMAGES)


def test_copies_are_taken_once() -> None:
    copy = LabelledImage(Path("copy.png"), "copy.png", IMAGES[0].sha256, "rare", "train", "0")
    assert len(stratified([*IMAGES, copy], "calibration")) == len(shuffled([*IMAGES, copy], "x")) == 100


def test_images_added_move_few_of_those_taken() -> None:
    before = {p.sha256 for p in stratified(IMAGES, "calibration")[:40]}
    more = [*IMAGES, *(one(number, "common") for number in range(100, 110))]
    assert len(before & {p.sha256 for p in stratified(more, "calibration")[:40]}) >= 32


def test_unreadable_images_are_replaced_by_the_next(tmp_path: Path) -> None:
    images = []
    for number in range(7):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((9, 9, 3), number, np.uint8)).save(path)
        images.append(replace(one(number, "a", tmp_path), sha256=sha256_file(path)))
    images[1].path.write_bytes(b"no image")
    images[2].path.unlink()
    images[6].path.write_bytes(images[0].path.read_bytes())  # another image than when it was indexed
    found = decoded(images, 3, Preparation((8, 8), "squash"))
    assert list(found) == [images[number].sha256 for number in (0, 3, 4)]
    assert [int(array[0, 0, 0]) for array in found.values()] == [0, 3, 4]
    assert len(decoded(images, 100, Preparation((8, 8), "squash"))) == 4
