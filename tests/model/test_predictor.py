"""The predictor: images in, answers out, in their order, from any number of threads."""

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.special import logit
from tests.model.colours import (
    COLOURS,
    HEAD,
    PREPARATION,
    TRAINING,
    bundle,
    colour,
    drawn,
    predictor,
)

from tlcli.backbones.blocks import one_block
from tlcli.backbones.catalog import CATALOG
from tlcli.engines.double import FakeEngine
from tlcli.heads.head import Head
from tlcli.images.decode import prepare
from tlcli.images.items import Decoder
from tlcli.model.bundle import Bundle
from tlcli.model.prediction import NONE_OF_THESE, UNSURE, Prediction
from tlcli.model.predictor import Predictor
from tlcli.progress import Progress

WIDTH = 12


class Counting(Progress):
    """Counts the images done."""

    steps = 0

    def advance(self, steps: int = 1) -> None:
        self.steps += steps


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def noise(number: int) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (24, 20, 3), np.uint8)


def fake(engine: type[FakeEngine] = FakeEngine) -> tuple[Predictor, FakeEngine]:
    """A predictor of two classes on the double's features, and its engine."""
    random = np.random.default_rng(0)
    head = Head(random.normal(size=(WIDTH, 1)).astype(np.float32), np.zeros(1, np.float32), 1.5)
    reference = random.normal(size=(6, WIDTH)).astype(np.float32)
    opened = engine(Decoder(PREPARATION), one_block(WIDTH))
    return Predictor(bundle(("cat", "dog"), head, reference), opened), opened


# Answers


def test_predictions_come_in_order_and_are_those_of_each_image_alone() -> None:
    (model, _), progress = fake(), Counting()
    images = [encoded(noise(number)) for number in (0, 1, 0, 2, 3, 1, *range(4, 40))]
    found = model.predict(images, top_k=2, progress=progress)
    assert [one.path for one in found] == [f"image {number}" for number in range(1, 43)]
    assert progress.steps == 42
    alone = [model.predict([image], top_k=2)[0] for image in images]
    assert [one.probabilities for one in found] == [one.probabilities for one in alone]
    assert found[0].probabilities == found[2].probabilities != found[1].probabilities
    for one in found:
        assert sum(one.probabilities) == pytest.approx(1)
        assert (one.label, one.probability) == one.top[0] == max(one.top, key=lambda pair: pair[1])
        assert dict(one.top) == dict(zip(model.labels, one.probabilities, strict=True))
        assert one.answer == one.label
        assert one.distance is not None
        assert 0 <= one.distance <= 2
        assert (one.error, one.error_code) == (None, None)


def test_probabilities_are_those_of_the_calibrated_head() -> None:
    (found,) = predictor().predict([colour("green")])
    feature = np.array([COLOURS["green"]], np.float32) / np.float32(255)
    assert found.probabilities == pytest.approx(HEAD.probabilities(feature)[0])
    assert found.label == "green"
    assert found.distance == pytest.approx(0, abs=1e-3)


def test_paths_bytes_and_pixels_give_equal_answers(tmp_path: Path) -> None:
    path = tmp_path / "größe.png"
    path.write_bytes(encoded(noise(1)))
    found = fake()[0].predict([path, str(path), path.read_bytes(), noise(1)])
    assert [one.path for one in found] == [str(path), str(path), "image 3", "image 4"]
    assert len({(one.probabilities, one.distance) for one in found}) == 1


def test_unreadable_images_have_codes_and_the_others_answers(tmp_path: Path) -> None:
    good = noise(1)
    (tmp_path / "text.png").write_text("no image")
    whole = encoded(good)
    given: list[Path | bytes | NDArray[np.uint8]] = [
        tmp_path / "none.png",
        good,
        tmp_path,
        tmp_path / "text.png",
        b"",
        whole[:100],
        whole,
        b"no image",
    ]
    found = fake()[0].predict(given)
    assert [one.error_code for one in found] == [
        "image.unreadable", None, "image.not_a_file", "image.unknown_format", "image.empty", "image.broken", None,
        "image.unknown_format",
    ]  # fmt: skip
    assert found[1].probabilities == found[6].probabilities
    for one in found:
        assert (one.error is None) == (one.label is not None) == bool(one.probabilities) == (one.answer is not None)
    assert found[0].text == ""


@pytest.mark.parametrize(
    ("pixels", "code"),
    [
        (np.zeros((20, 20), np.uint8), "image.malformed_pixels"),
        (np.zeros((20, 20, 4), np.uint8), "image.malformed_pixels"),
        (np.zeros((20, 20, 3), np.float32), "image.malformed_pixels"),
        (np.zeros((0, 20, 3), np.uint8), "image.no_pixels"),
        (np.zeros((20_000, 1, 3), np.uint8), "image.too_large"),
    ],
)
def test_malformed_pixels_are_unreadable_images(pixels: NDArray[np.uint8], code: str) -> None:
    bad, good = fake()[0].predict([pixels, noise(1)])
    assert (bad.error_code, good.error_code) == (code, None)


def test_no_images_give_no_predictions() -> None:
    assert fake()[0].predict([]) == []
    assert fake()[0].predict(iter([])) == []


@pytest.mark.parametrize(("top_k", "names"), [(1, ["blue"]), (2, ["blue", "red"]), (9, ["blue", "red", "green"])])
def test_top_k_classes_come_in_descending_order(top_k: int, names: list[str]) -> None:
    pixels = np.full((16, 16, 3), (90, 20, 250), np.uint8)
    (found,) = predictor().predict([pixels], top_k)
    assert [label for label, _ in found.top] == names
    assert len(found.probabilities) == 3


def test_below_min_confidence_the_answer_is_unsure() -> None:
    clear, mixed = predictor().predict([colour("red"), colour("green", "blue")], min_confidence=0.9)
    assert (clear.answer, clear.text) == ("red", "red")
    assert mixed.answer == UNSURE
    assert mixed.label is None
    assert mixed.best_guess in ("green", "blue")
    assert mixed.text == f"{UNSURE} ({mixed.best_guess}?)"
    assert not mixed.is_none_of_these
    (exact,) = predictor().predict([colour("red")], min_confidence=clear.probability or 0)
    assert exact.answer == "red"


def test_beyond_the_limit_the_answer_is_none_of_these_however_sure_the_head_is() -> None:
    near, far = predictor(limit=0.2).predict([colour("red"), np.full((16, 16, 3), 255, np.uint8)], min_confidence=0.9)
    assert near.answer == "red"
    assert near.distance is not None
    assert near.distance <= 0.2
    assert far.distance is not None
    assert far.distance > 0.2
    assert (far.label, far.answer, far.is_none_of_these) == (None, NONE_OF_THESE, True)
    assert far.best_guess is not None


@pytest.mark.parametrize(
    ("guess", "refusal", "label", "answer", "text", "is_none"),
    [
        ("cat", None, "cat", "cat", "cat", False),
        ("cat", UNSURE, None, UNSURE, "unsure (cat?)", False),
        ("cat", NONE_OF_THESE, None, NONE_OF_THESE, "none of these (cat?)", True),
        (NONE_OF_THESE, None, NONE_OF_THESE, NONE_OF_THESE, "none of these", False),
        (UNSURE, UNSURE, None, UNSURE, "unsure (unsure?)", False),
        (None, None, None, None, "", False),
    ],
)
def test_text_of_an_answer(
    guess: str | None, refusal: str | None, label: str | None, answer: str | None, text: str, is_none: bool
) -> None:
    prediction = Prediction("x.png", guess, 0.9, (), (), refusal, 0.1)
    assert (prediction.label, prediction.answer) == (label, answer)
    assert (prediction.text, prediction.is_none_of_these) == (text, is_none)


@pytest.mark.parametrize("names", [("stage1.max",), ("stage1.avg", "last.max"), ("last.avg",)])
def test_the_head_takes_its_inputs_and_the_distance_is_always_of_the_last_layers_average(
    names: tuple[str, ...],
) -> None:
    given = bundle(("cat", "dog"), Head(np.ones((1, 1), np.float32), np.zeros(1, np.float32)))
    record = given.manifest.backbone.model_copy(update={"inputs": names})
    manifest = given.manifest.model_copy(update={"backbone": record})
    blocks = CATALOG[record.name].blocks
    inputs, random = blocks.named(names), np.random.default_rng(0)
    head = Head(random.normal(size=(inputs.width, 1)).astype(np.float32), np.zeros(1, np.float32))
    engine = FakeEngine(Decoder(PREPARATION), blocks)
    row = blocks.rounded(engine.feature(prepare(encoded(noise(1)), PREPARATION)))
    near = random.normal(size=(6, blocks.last.width)).astype(np.float32)
    near[4] = blocks.take(row, blocks.last)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    reference = replace(given.reference, features=near.astype(np.float16))
    (found,) = Predictor(Bundle(manifest, head, reference), engine).predict([encoded(noise(1))])
    assert found.distance == pytest.approx(0, abs=1e-3)
    assert found.probabilities == pytest.approx(head.probabilities(blocks.take(row, inputs)[None])[0])


# Threads and streams


def test_eight_threads_get_the_answers_of_one() -> None:
    model, _ = fake()
    images = [encoded(noise(number)) for number in range(20)]
    expected = model.predict(images)
    together = threading.Barrier(8)

    def work(_number: int) -> list[Prediction]:
        together.wait()
        return model.predict(images)

    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(work, range(8)))


def test_eight_threads_explain_alike() -> None:
    model, images = predictor(), [colour(name) for name in TRAINING]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: list(model.explain(images)), range(8)))
    for explanations in found:
        assert [one and one.neighbours for one in explanations] == [one and one.neighbours for one in found[0]]


def test_stream_reads_only_as_many_images_ahead_as_keep_the_engine_busy() -> None:
    model, engine = fake()
    given = 0

    def images() -> Iterator[NDArray[np.uint8]]:
        nonlocal given
        for number in range(30):
            given += 1
            yield noise(number)

    for done, _ in enumerate(model.stream(images()), 1):
        assert given == min(30, done - 1 + engine.window)
    assert given == 30


def test_stream_yields_answers_while_the_source_waits_for_more() -> None:
    """An answer needs the images before it and those that are read ahead, and no others."""
    model, engine = fake()
    more = threading.Event()

    def images() -> Iterator[NDArray[np.uint8]]:
        for number in range(engine.window + 2):
            yield noise(number)
        assert more.wait(20)
        yield noise(99)

    stream = model.stream(images())
    first = [next(stream) for _ in range(3)]
    assert not more.is_set()
    more.set()
    rest = list(stream)
    assert [one.path for one in first + rest] == [f"image {number}" for number in range(1, engine.window + 4)]


def test_stream_starts_nothing_before_the_first_answer_is_wanted_and_may_be_left() -> None:
    seen: list[int] = []

    class Watching(FakeEngine):
        def feature(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            seen.append(1)
            return super().feature(pixels)

    model, engine = fake(Watching)
    stream = model.stream(noise(number) for number in range(1000))
    assert seen == []
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(seen) <= engine.window
    assert model.predict([noise(1)])[0].label in model.labels


def test_an_error_of_the_source_reaches_the_caller() -> None:
    def images() -> Iterator[NDArray[np.uint8]]:
        yield noise(0)
        raise RuntimeError("the camera is gone")

    with pytest.raises(RuntimeError):
        list(fake()[0].stream(images()))


# Explanations


def test_explanations_show_pixels_evidence_and_neighbours(tmp_path: Path) -> None:
    model = predictor()
    paths = [drawn(tmp_path / "red.png", "red"), drawn(tmp_path / "both.png", "green", "blue")]
    red, both = model.explain(paths)
    answers = model.predict(paths)
    for path, found, answer in zip(paths, (red, both), answers, strict=True):
        assert found is not None
        assert np.array_equal(found.pixels, prepare(path.read_bytes(), PREPARATION))
        assert found.evidence is not None
        assert found.evidence.mean() == pytest.approx(logit(answer.probability), abs=1e-4)
    assert red is not None
    assert [(one.name, one.label) for one in red.neighbours[:2]] == [("0.png", "red"), ("3.png", "red")]
    assert len(red.neighbours) == 5
    similarities = [one.similarity for one in red.neighbours]
    assert similarities == sorted(similarities, reverse=True)
    assert similarities[0] == pytest.approx(1, abs=1e-3)
    assert both is not None
    assert both.evidence is not None
    own = 0 if answers[1].label == "green" else -1
    assert (both.evidence[:, own] > 0).all()
    assert (both.evidence[:, -1 - own] < 0).all()


def test_explanations_of_paths_bytes_and_pixels_are_equal(tmp_path: Path) -> None:
    path = drawn(tmp_path / "a.png", "red", "blue")
    first, *others = predictor().explain([path, path.read_bytes(), colour("red", "blue")])
    assert first is not None
    for other in others:
        assert other is not None
        assert np.array_equal(other.pixels, first.pixels)
        assert other.evidence is not None
        assert first.evidence is not None
        assert np.array_equal(other.evidence, first.evidence)
        assert other.neighbours == first.neighbours


def test_an_unreadable_image_has_no_explanation_and_the_others_keep_theirs(tmp_path: Path) -> None:
    names = [list(COLOURS)[number * number % 3] for number in range(70)]
    images: list[bytes | NDArray[np.uint8]] = [colour(name) for name in names]
    images[3] = images[69] = b"no image"
    found = list(predictor().explain(images))
    assert [one is None for one in found] == [number in (3, 69) for number in range(70)]
    assert all(one.neighbours[0].label == name for one, name in zip(found, names, strict=True) if one is not None)
    assert list(predictor().explain([])) == []
