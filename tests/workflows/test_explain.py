import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from PIL import Image
from scipy.special import logit

from tlcli.errors import ResourceError
from tlcli.heads.head import Head
from tlcli.images.decode import prepare
from tlcli.images.preparation import Preparation
from tlcli.model.bundle import Bundle, Reference
from tlcli.progress import Progress
from tlcli.reports import cards
from tlcli.workflows.answer import Prediction, answers
from tlcli.workflows.explain import card_names, explain

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREPARATION = Preparation(16, "squash")
HEAD = Head(np.array([[8.0, 0, 0], [0, 8, 0], [0, 0, 8]], np.float32), np.zeros(3, np.float32))
COLOURS = {"red": (250, 20, 20), "green": (20, 250, 20), "blue": (20, 20, 250)}


class Colours:
    """An engine whose feature is the mean colour, 0..1, and whose map has four positions."""

    def features(self, images: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
        return (maps.mean(axis=(0, 1)) for maps in self.maps(images))

    def maps(self, images: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
        for pixels in images:
            blocks = pixels.reshape(2, 8, 2, 8, 3).mean(axis=(1, 3)) / 255
            yield blocks.astype(np.float32)


TRAINING = ["red", "green", "blue", "red", "green", "blue"]
FEATURES = np.array([COLOURS[name] for name in TRAINING], np.float32) / np.float32(255)
REFERENCE = Reference(
    (FEATURES / np.linalg.norm(FEATURES, axis=1, keepdims=True)).astype(np.float16),
    np.array([list(COLOURS).index(name) for name in TRAINING]),
    tuple(f"{number}.png" for number in range(6)),
    2.0,
)


@pytest.fixture
def bundle() -> Bundle:
    made = SimpleNamespace(
        head=HEAD, preparation=PREPARATION, manifest=SimpleNamespace(labels=tuple(COLOURS)), reference=REFERENCE
    )
    return cast("Bundle", made)


def drawn(path: Path, *names: str) -> str:
    """An image of one colour, or of two halves."""
    pixels = np.concatenate([np.full((20, 20, 3), COLOURS[name], np.uint8) for name in names], axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return str(path)


def answered(bundle: Bundle, paths: list[str]) -> list[Prediction]:
    return list(answers(bundle, Colours(), paths, 1, 0.0, Progress()))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, cards.Card]:
    """The cards that are drawn, by their file's name."""
    kept: dict[str, cards.Card] = {}
    draw = cards.draw

    def keeping(path: Path, card: cards.Card) -> None:
        kept[path.name] = card
        draw(path, card)

    monkeypatch.setattr(cards, "draw", keeping)
    return kept


def training(folder: Path) -> Path:
    """The data folder, from which two images have gone."""
    for number, name in enumerate(TRAINING):
        drawn(folder / f"{number}.png", name)
    (folder / "0.png").unlink()
    (folder / "1.png").unlink()
    return folder


def test_every_answer_gets_a_card_with_its_heat_and_its_like(
    tmp_path: Path, bundle: Bundle, shown: dict[str, cards.Card]
) -> None:
    paths = [drawn(tmp_path / "red.png", "red"), drawn(tmp_path / "both.png", "green", "blue")]
    predictions = answered(bundle, paths)
    found = explain(bundle, Colours(), predictions, tmp_path / "why", training(tmp_path / "train"))
    assert [one.path for one in found] == paths
    assert [one.card for one in found] == [tmp_path / "why/red-why.png", tmp_path / "why/both-why.png"]
    for one, prediction in zip(found, predictions, strict=True):
        assert one.card is not None
        with Image.open(one.card) as image:
            assert image.format == "PNG"
        card = shown[one.card.name]
        assert (card.label, card.probability) == (prediction.label, prediction.probability)
        assert np.array_equal(card.pixels, prepare(Path(one.path).read_bytes(), PREPARATION))
        assert card.heat.mean() == pytest.approx(logit(prediction.probability), abs=1e-4)
    assert [label for _, label, _ in found[0].neighbours[:2]] == ["red", "red"]
    assert found[0].neighbours[0][0] == "0.png"
    assert found[0].neighbours[0][2] == pytest.approx(1, abs=1e-3)
    assert [n.pixels is None for n in shown["red-why.png"].neighbours] == [True, False, True, False, False]
    halves = shown["both-why.png"]
    own = 0 if halves.label == "green" else 1
    assert (halves.heat[:, own] > 0).all()
    assert (halves.heat[:, 1 - own] < 0).all()


def test_without_the_data_folder_neighbours_are_named_alone(
    tmp_path: Path, bundle: Bundle, shown: dict[str, cards.Card]
) -> None:
    (found,) = explain(bundle, Colours(), answered(bundle, [drawn(tmp_path / "a.png", "red")]), tmp_path)
    assert [name for name, _, _ in found.neighbours[:2]] == ["0.png", "3.png"]
    assert all(neighbour.pixels is None for neighbour in shown["a-why.png"].neighbours)
    assert found.card is not None
    assert found.card.is_file()


def test_what_cannot_be_read_has_no_card_and_the_others_keep_theirs(
    tmp_path: Path, bundle: Bundle, shown: dict[str, cards.Card]
) -> None:
    paths = [drawn(tmp_path / f"{name}.png", name) for name in COLOURS]
    (tmp_path / "broken.png").write_bytes(b"no image")
    predictions = answered(bundle, [paths[0], str(tmp_path / "broken.png"), paths[1], paths[2]])
    Path(paths[1]).unlink()  # after it was answered
    found = explain(bundle, Colours(), predictions, tmp_path / "why")
    assert [one.card and one.card.name for one in found] == ["red-why.png", None, None, "blue-why.png"]
    assert {name: card.label for name, card in shown.items()} == {"red-why.png": "red", "blue-why.png": "blue"}


def test_no_answers_give_no_cards(tmp_path: Path, bundle: Bundle) -> None:
    assert explain(bundle, Colours(), [], tmp_path / "why") == []


def test_many_images_stay_in_order(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "draw", lambda path, card: path.write_text(card.label))
    names = [list(COLOURS)[n * n % 3] for n in range(70)]
    paths = [drawn(tmp_path / f"{n}.png", name) for n, name in enumerate(names)]
    told: list[int] = []
    progress = cast("Any", Progress())
    progress.advance = lambda steps=1: told.append(steps)
    found = explain(bundle, Colours(), answered(bundle, paths), tmp_path, training(tmp_path / "train"), progress)
    assert [one.card and one.card.read_text() for one in found] == names
    assert [one.neighbours[0][1] for one in found] == names
    assert sum(told) == 70


def test_images_beside_the_cards_are_left_alone(tmp_path: Path, bundle: Bundle) -> None:
    paths = [drawn(tmp_path / f"{name}.png", name) for name in COLOURS]
    before = {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths}
    explain(bundle, Colours(), answered(bundle, paths), tmp_path)
    assert {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths} == before
    assert len(list(tmp_path.glob("*-why.png"))) == 3


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "why").write_text("a file")
    predictions = answered(bundle, [drawn(tmp_path / "a.png", "red")])
    with pytest.raises(ResourceError, match=r"The explanation .*why/a-why\.png cannot be written \(.*\); name another"):
        explain(bundle, Colours(), predictions, tmp_path / "why")


def test_names_of_cards() -> None:
    assert card_names(["a/cat.jpg", "b/cat.png", "b/Cat.png", "dog", ".hidden"]) == [
        "cat-why.png", "cat-why-2.png", "Cat-why-3.png", "dog-why.png", ".hidden-why.png",
    ]  # fmt: skip
    (long,) = card_names(["日" * 80 + ".jpg"])
    assert len(long.encode()) < 255
    assert long == "日" * 66 + "-why.png"
