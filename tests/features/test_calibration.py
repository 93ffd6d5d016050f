from pathlib import Path

import numpy as np
from PIL import Image

from tlcli.data.index import Picture
from tlcli.data.sizing import Preparation
from tlcli.features.calibration import decoded, drawn, spread


def one(number: int, label: str, folder: Path = Path()) -> Picture:
    return Picture(folder / f"{number}.png", f"{number}.png", f"{number:064x}", label, "train", str(number))


PICTURES = [one(number, "rare" if number < 5 else "common") for number in range(100)]


def test_classes_take_turns_while_they_last() -> None:
    labels = [p.label for p in spread(PICTURES, "calibration")]
    assert all(set(labels[turn : turn + 2]) == {"rare", "common"} for turn in range(0, 10, 2))
    assert labels[10:] == ["common"] * 90


def test_the_order_is_that_of_the_digests_and_the_purpose() -> None:
    for order in (spread, drawn):
        assert order(PICTURES[::-1], "calibration") == order(PICTURES, "calibration")
        assert order(PICTURES, "agreement") != order(PICTURES, "calibration")
        assert sorted(p.sha256 for p in order(PICTURES, "calibration")) == sorted(p.sha256 for p in PICTURES)


def test_copies_are_taken_once() -> None:
    copy = Picture(Path("copy.png"), "copy.png", PICTURES[0].sha256, "rare", "train", "0")
    assert len(spread([*PICTURES, copy], "calibration")) == len(drawn([*PICTURES, copy], "x")) == 100


def test_pictures_added_move_few_of_those_taken() -> None:
    before = {p.sha256 for p in spread(PICTURES, "calibration")[:40]}
    more = [*PICTURES, *(one(number, "common") for number in range(100, 110))]
    assert len(before & {p.sha256 for p in spread(more, "calibration")[:40]}) >= 32


def test_broken_pictures_give_way_to_the_next(tmp_path: Path) -> None:
    pictures = [one(number, "a", tmp_path) for number in range(6)]
    for number, picture in enumerate(pictures):
        Image.fromarray(np.full((9, 9, 3), number, np.uint8)).save(picture.path)
    pictures[1].path.write_bytes(b"no picture")
    pictures[2].path.unlink()
    found = decoded(pictures, 3, Preparation(8, "squash"))
    assert list(found) == [pictures[number].sha256 for number in (0, 3, 4)]
    assert [int(array[0, 0, 0]) for array in found.values()] == [0, 3, 4]
    assert len(decoded(pictures, 100, Preparation(8, "squash"))) == 4
