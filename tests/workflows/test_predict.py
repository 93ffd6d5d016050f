"""Predict: files, directories and patterns in, predictions and cards out."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.model.colours import COLOURS, PREPARATION, TRAINING, drawn, predictor
from tests.situations.inputs import served

from tlcli.datasets.index import Index, LabelledImage
from tlcli.errors import ResourceError, UsageError
from tlcli.images.decode import prepare
from tlcli.model.predictor import Predictor
from tlcli.model.sorting import OTHERS, Sorting, folder_names
from tlcli.progress import Progress
from tlcli.reports import cards
from tlcli.runs.images import write_images
from tlcli.runs.records import FeatureCounts, RunBackbone, RunHead, RunRecord, write_record
from tlcli.system.files import sha256_file
from tlcli.workflows.predict import Predicted, card_names, predict

Answer = Callable[..., Predicted]


class Counting(Progress):
    """Counts the images done."""

    steps = 0

    def advance(self, steps: int = 1) -> None:
        self.steps += steps


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """``predict`` with a run of the three colours, whose training image 0 was deleted and 1 was replaced."""
    monkeypatch.setattr(Predictor, "load", lambda *_: predictor())
    root, run = tmp_path / "training", tmp_path / "run"
    for number, name in enumerate(TRAINING):
        drawn(root / f"{number}.png", name)
    run.mkdir()
    images = tuple(
        LabelledImage(path, path.name, sha256_file(path), "red", "train", "") for path in sorted(root.iterdir())
    )
    index = Index(root, ("red",), images, {}, ())
    write_images(run, index)
    write_record(run, record_of(root).model_copy(update={"data_digest": index.digest()}))
    (root / "0.png").unlink()
    drawn(root / "1.png", "green", "blue")

    def call(*inputs: object, **options: object) -> Predicted:
        return predict(run, [str(one) for one in inputs], **options)  # type: ignore[arg-type]

    return call


def record_of(root: Path) -> RunRecord:
    return RunRecord(
        config="colours",
        seconds={},
        images={"train": {"red": 6}},
        skipped=(),
        features=FeatureCounts(computed=6, reused=0, views=1),
        backbone=RunBackbone(
            name="mobilenet_v2", weights="random", weights_sha256="0" * 64, engine="openvino", precision="f32"
        ),
        head=RunHead(fit="logistic_regression", steps=1, chosen_step=1, C=1.0, temperature=1.0),
        trainable_parameters=12, seeds={}, versions={}, data_digest="", data_root=str(root),
    )  # fmt: skip


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


# Inputs


def test_files_directories_and_patterns_are_expanded_in_order(tmp_path: Path, answer: Answer) -> None:
    for name in ("b/2.png", "b/1.png", "b/deep/3.png", "c10.png", "c1.png"):
        drawn(tmp_path / name, "red")
    (tmp_path / "b/notes.txt").write_text("no image")
    found = answer(tmp_path / "none.png", tmp_path / "b", tmp_path / "c*.png")
    names = [Path(one.path).relative_to(tmp_path).as_posix() for one in found.predictions]
    assert names == ["none.png", "b/1.png", "b/2.png", "b/deep/3.png", "c1.png", "c10.png"]
    assert [one.error_code for one in found.predictions] == ["image.unreadable", *[None] * 5]
    assert found.labels == tuple(COLOURS)
    assert found.explained == ()


def test_a_pattern_that_matches_nothing_says_so(tmp_path: Path, answer: Answer) -> None:
    literal = drawn(tmp_path / "[1]*.png", "red")
    found = answer(tmp_path / "*.jpg", literal)
    assert [one.error_code for one in found.predictions] == ["image.no_match", None]


def test_copies_and_broken_copies_each_have_their_own_answer(tmp_path: Path, answer: Answer) -> None:
    one, two = drawn(tmp_path / "1.png", "red"), drawn(tmp_path / "2.png", "blue")
    copy, bad = tmp_path / "copy.png", tmp_path / "bad.png"
    copy.write_bytes(one.read_bytes())
    bad.write_text("no image")
    paths = [one, one, bad, two, copy, two, bad, one]
    found = answer(*paths).predictions
    assert [p.path for p in found] == [str(path) for path in paths]
    assert [p.label for p in found] == ["red", "red", None, "blue", "red", "blue", None, "red"]
    assert found == tuple(answer(path).predictions[0] for path in paths)


def test_top_k_is_at_most_the_number_of_classes(tmp_path: Path, answer: Answer) -> None:
    path = drawn(tmp_path / "1.png", "red")
    assert len(answer(path, top_k=2).predictions[0].top) == 2
    assert len(answer(path, top_k=50).predictions[0].top) == 3


def test_addresses_are_answered_without_their_secrets_and_explained(
    tmp_path: Path, answer: Answer, shown: dict[str, cards.Card]
) -> None:
    drawn(tmp_path / "site" / "red.png", "red")
    with served(tmp_path / "site") as site:
        address = f"{site}/red.png"
        inputs = [f"{address}?token=SECRET", f"{site}/gone.png", f"{address}?token=SECRET"]
        found = answer(*inputs, explain=tmp_path / "why")
    assert [one.path for one in found.predictions] == [address, f"{site}/gone.png", address]
    assert [one.error_code for one in found.predictions] == [None, "network.not_found", None]
    assert [one.label for one in found.predictions] == ["red", None, "red"]
    assert sorted(shown) == ["red-why-2.png", "red-why.png"]
    assert "SECRET" not in str(found)


# Cards


def test_every_answer_has_a_card_with_its_evidence_and_neighbours(
    tmp_path: Path, answer: Answer, shown: dict[str, cards.Card]
) -> None:
    paths = [drawn(tmp_path / "red.png", "red"), drawn(tmp_path / "both.png", "green", "blue")]
    found = answer(*paths, explain=tmp_path / "why")
    assert [one.card for one in found.explained] == [tmp_path / "why/red-why.png", tmp_path / "why/both-why.png"]
    for path, one, prediction in zip(paths, found.explained, found.predictions, strict=True):
        assert one.card is not None
        assert one.explanation is not None
        with Image.open(one.card) as image:
            assert image.format == "PNG"
        card = shown[one.card.name]
        assert (card.name, card.label, card.probability) == (str(path), prediction.label, prediction.probability)
        assert np.array_equal(card.pixels, prepare(path.read_bytes(), PREPARATION))
        assert card.heat is not None
        assert card.heat is one.explanation.evidence
        assert [n.name for n in card.neighbours] == [n.name for n in one.explanation.neighbours]
    # Of two training images the files are gone or others; they are named all the same.
    assert [n.name for n in shown["red-why.png"].neighbours][:2] == ["0.png", "3.png"]
    assert [n.pixels is None for n in shown["red-why.png"].neighbours] == [True, False, True, False, False]


def test_an_unreadable_image_has_no_card_and_the_others_keep_theirs(
    tmp_path: Path, answer: Answer, shown: dict[str, cards.Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [drawn(tmp_path / f"{name}.png", name) for name in COLOURS]
    (tmp_path / "broken.png").write_bytes(b"no image")
    explain = Predictor.explain

    def deleting(model: Predictor, images: list[Path]) -> object:
        paths[1].unlink()  # after it was classified
        return explain(model, images)

    monkeypatch.setattr(Predictor, "explain", deleting)
    found = answer(paths[0], tmp_path / "broken.png", paths[1], paths[2], explain=tmp_path / "why")
    assert [one.card and one.card.name for one in found.explained] == ["red-why.png", None, None, "blue-why.png"]
    assert [one.explanation is None for one in found.explained] == [False, True, True, False]
    assert {name: card.label for name, card in shown.items()} == {"red-why.png": "red", "blue-why.png": "blue"}


def test_no_answers_give_no_cards(tmp_path: Path, answer: Answer) -> None:
    found = answer(tmp_path / "none.png", explain=tmp_path / "why")
    assert [(one.card, one.explanation) for one in found.explained] == [(None, None)]
    assert not (tmp_path / "why").exists()


def test_cards_of_many_images_stay_in_order(tmp_path: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "draw", lambda path, card: path.write_text(card.label))
    names = [list(COLOURS)[number * number % 3] for number in range(70)]
    paths = [drawn(tmp_path / f"{number}.png", name) for number, name in enumerate(names)]
    progress = Counting()
    found = answer(*paths, explain=tmp_path, progress=progress)
    assert [one.card and one.card.read_text() for one in found.explained] == names
    assert [one.explanation and one.explanation.neighbours[0].label for one in found.explained] == names
    assert progress.steps == 2 * 70


def test_images_beside_the_cards_are_left_alone(tmp_path: Path, answer: Answer) -> None:
    paths = [drawn(tmp_path / f"{name}.png", name) for name in COLOURS]
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    answer(*paths, explain=tmp_path)
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths} == before
    assert len(list(tmp_path.glob("*-why.png"))) == 3


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path, answer: Answer) -> None:
    (tmp_path / "why").write_text("a file")
    with pytest.raises(ResourceError) as caught:
        answer(drawn(tmp_path / "a.png", "red"), explain=tmp_path / "why")
    assert caught.value.code == "resource.card_not_written"
    assert str(tmp_path / "why/a-why.png") in caught.value.message


def test_names_of_cards() -> None:
    assert card_names(["a/cat.jpg", "b/cat.png", "b/Cat.png", "dog", ".hidden"]) == [
        "cat-why.png", "cat-why-2.png", "Cat-why-3.png", "dog-why.png", ".hidden-why.png",
    ]  # fmt: skip
    (long,) = card_names(["日" * 80 + ".jpg"])
    assert len(long.encode()) < 255
    assert long == "日" * 66 + "-why.png"


# Sorting


def sorted_files(folder: Path) -> dict[str, list[str]]:
    return {one.name: sorted(file.name for file in one.iterdir()) for one in sorted(folder.iterdir())}


@pytest.mark.parametrize("links", [False, True])
def test_images_are_sorted_into_folders_of_their_answers(tmp_path: Path, answer: Answer, links: bool) -> None:
    mixed = drawn(tmp_path / "in/b/mixed.png", "green", "blue")
    paths = [drawn(tmp_path / "in/a/1.png", "red"), drawn(tmp_path / "in/b/1.png", "red"), mixed]
    bad = tmp_path / "in/bad.png"
    bad.write_text("no image")
    given = [*paths, bad, paths[0], tmp_path / "none.png"]
    before = {path: path.read_bytes() for path in (*paths, bad)}
    found = answer(*given, min_confidence=0.9, sorting=Sorting(tmp_path / "out", links))
    assert sorted_files(tmp_path / "out") == {
        "red": ["1-2.png", "1.png"], "unreadable": ["bad.png"], "unsure": ["mixed.png"],
    }  # fmt: skip
    assert found.sorted_to[-1] is None
    assert found.sorted_to[-2] == found.sorted_to[0] == tmp_path / "out/red/1.png"
    for source, target in zip(given[:4], found.sorted_to, strict=False):
        assert target is not None
        assert target.read_bytes() == before[source]
        assert target.is_symlink() == links
        assert not links or target.readlink() == source
    assert {path: path.read_bytes() for path in before} == before


def test_downloads_are_copied_even_where_links_are_asked_for(tmp_path: Path, answer: Answer) -> None:
    drawn(tmp_path / "site" / "red.png", "red")
    with served(tmp_path / "site") as site:
        given = [f"{site}/red.png?token=SECRET", f"{site}/gone.png"]
        found = answer(*given, sorting=Sorting(tmp_path / "out", links=True))
    assert found.sorted_to == (tmp_path / "out/red/red.png", None)
    assert (tmp_path / "out/red/red.png").read_bytes() == (tmp_path / "site/red.png").read_bytes()


def test_nothing_is_overwritten_and_no_folder_is_sorted_into_itself(tmp_path: Path, answer: Answer) -> None:
    image = drawn(tmp_path / "in/1.png", "red")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for folder, given, code in (
        ("full", image, "usage.folder_not_empty"),
        ("file", image, "usage.folder_not_empty"),
        ("in/out", tmp_path / "in", "usage.folder_inside_images"),
    ):
        with pytest.raises(UsageError) as error:
            answer(given, sorting=Sorting(tmp_path / folder, links=False))
        assert error.value.code == code
    assert not (tmp_path / "in/out").exists()
    (tmp_path / "empty").mkdir()
    assert answer(image, sorting=Sorting(tmp_path / "empty", links=False)).sorted_to == (tmp_path / "empty/red/1.png",)


def test_links_that_cannot_be_made_are_an_error(
    tmp_path: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refused)
    with pytest.raises(ResourceError) as error:
        answer(drawn(tmp_path / "1.png", "red"), sorting=Sorting(tmp_path / "out", links=True))
    assert error.value.code == "resource.image_not_sorted"


def test_folder_names_are_allowed_everywhere_and_all_different() -> None:
    labels = ("cat", "Cat", "a/b", "a\\b", "..", "", "CON", "unsure", "None of these", "unreadable", "x" * 300, "dog. ")
    names = folder_names(labels)
    assert [names[label] for label in labels[:5]] == ["cat", "Cat-2", "a_b", "a_b-2", "_"]
    assert [names[label] for label in labels[6:10]] == [
        "_CON", "unsure (class)", "None of these (class)", "unreadable (class)",
    ]  # fmt: skip
    assert names["dog. "] == "dog"
    assert len({name.casefold() for name in (*names.values(), *OTHERS)}) == len(labels) + len(OTHERS)
    assert max(len(name.encode()) for name in names.values()) <= 100
