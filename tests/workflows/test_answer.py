"""Answers, image by image: copies pass the engine once, and what cannot be read says why."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tlcli.heads.head import Head
from tlcli.images.preparation import Preparation
from tlcli.model.bundle import Bundle, Reference
from tlcli.progress import Progress
from tlcli.workflows.answer import Prediction, answers


class Counting:
    """An engine whose feature is the mean colour, and that counts."""

    seen = 0

    def features(self, images: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
        waiting: list[NDArray[np.float32]] = []
        for pixels in images:  # one image behind, as engines are that compute while the next is read
            self.seen += 1
            waiting.append(pixels.mean(axis=(0, 1), dtype=np.float32))
            if len(waiting) > 1:
                yield waiting.pop(0)
        yield from waiting


def answered(paths: list[str], engine: Counting) -> list[Prediction]:
    reference = Reference(np.eye(3, dtype=np.float16), np.array([0, 1, 0]), ("a", "b", "c"), 2.0)
    head = Head(np.eye(3, 2, dtype=np.float32), np.zeros(2, np.float32), 1.0)
    made = SimpleNamespace(
        head=head, preparation=Preparation(32, "squash"), manifest=SimpleNamespace(labels=("a", "b")),
        reference=reference,
    )  # fmt: skip
    return list(answers(cast("Bundle", made), engine, paths, 1, 0.0, Progress()))


def drawn(path: Path, level: int) -> str:
    Image.new("RGB", (20, 20), (level, 99, 0)).save(path)
    return str(path)


def test_copies_pass_the_engine_once_and_each_has_its_own_row(tmp_path: Path) -> None:
    one, two = drawn(tmp_path / "1.png", 10), drawn(tmp_path / "2.png", 200)
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(one).read_bytes())
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    paths = [one, one, str(bad), two, str(copy), two, str(bad), one]
    engine = Counting()
    found = answered(paths, engine)
    assert engine.seen == 2
    assert [p.path for p in found] == paths
    assert [p.label for p in found] == ["b", "b", None, "a", "b", "a", None, "b"]
    alone = {path: answered([path], Counting())[0] for path in paths}
    assert found == [alone[path] for path in paths]


def test_nothing_but_copies_of_broken_images(tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    engine = Counting()
    assert [p.error is None for p in answered([str(bad)] * 3, engine)] == [False] * 3
    assert engine.seen == 0


def test_pattern_that_fits_nothing_says_so(tmp_path: Path) -> None:
    (found,) = answered([str(tmp_path / "*.jpg")], Counting())
    assert found.error == "no file fits this pattern"
    (found,) = answered([drawn(tmp_path / "[1]*.png", 3)], Counting())
    assert found.error is None


@pytest.mark.parametrize(
    ("label", "answer", "named", "is_none"),
    [
        ("cat", "cat", "cat", False),
        ("cat", "unsure", "unsure (cat?)", False),
        ("cat", "none of these", "none of these (cat?)", True),
        ("none of these", "none of these", "none of these", False),
    ],
)
def test_an_answer_that_is_no_class_has_its_name(label: str, answer: str, named: str, is_none: bool) -> None:
    prediction = Prediction("x.png", label, 0.9, ((label, 0.9),), (0.9, 0.1), None, 0.1, answer)
    assert (prediction.named, prediction.is_none_of_these) == (named, is_none)
