"""What transfer is measured on, and when it is not: without a network."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from tests.features.extractors import SMALL, extractor_of, row_of

from tlcli.config import build_small_network, build_transfer
from tlcli.config.build_cross_validation import Divided, ValidationDuplicates
from tlcli.config.build_small_network import FromScratch
from tlcli.config.build_transfer import (
    Sample,
    compare,
    measure_divided,
    measure_transfer,
    sample_size,
    sampled_images,
    why_not,
)
from tlcli.config.load import find_config, load_config
from tlcli.config.schema import Config, Transfer
from tlcli.datasets.index import Index, LabelledImage
from tlcli.datasets.split_names import SplitName
from tlcli.engines.double import FakeEngine
from tlcli.errors import ModelError
from tlcli.evaluation.transfer_gap import TransferGap
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.features.store import Store
from tlcli.heads.folds import folds_of
from tlcli.heads.small_network import Training
from tlcli.images.items import Decoder
from tlcli.images.preparation import Preparation
from tlcli.tuning.clock import Clock

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.heads.folds import Folds


BLOCKS = row_of(4).blocks


def config_of(*settings: str) -> Config:
    return load_config(find_config("my_images"), ("dataset.path=none", *settings)).config


def labelled(path: Path, label: str, split: SplitName = "train") -> LabelledImage:
    """An image whose file may not exist."""
    content = path.read_bytes() if path.is_file() else path.name.encode()
    sha256 = hashlib.sha256(content).hexdigest()
    return LabelledImage(path, path.name, sha256, label, split, sha256)


def divided_of(labels: Sequence[int], units: Sequence[int] | None = None) -> Divided:
    numbers = np.array(labels, np.int64)
    images = [labelled(Path(f"{n}.png"), f"c{label:03d}") for n, label in enumerate(labels)]
    features = np.random.default_rng(0).normal(size=(len(labels), 3)).astype(np.float32)
    rows = Rows.of(features, numbers, np.array(units, np.int64) if units is not None else None)
    return Divided(images, rows, np.arange(len(labels)), 0, ValidationDuplicates(0, 0))


def test_a_sample_keeps_the_shares_of_classes_and_whole_units() -> None:
    labels = [0] * 600 + [1] * 200
    divided = divided_of(labels, [n // 4 for n in range(800)])
    found = sampled_images(divided, 200, 5, 0)
    assert 180 <= len(found.images) <= 200
    assert np.mean(found.rows.labels == 1) == pytest.approx(0.25, abs=0.02)
    assert set(np.bincount(found.rows.units)) == {0, 4}
    assert [image.label for image in found.images] == [f"c{label:03d}" for label in found.rows.labels]
    assert found.of_images == 800
    assert [one.name for one in sampled_images(divided, 200, 5, 0).images] == [one.name for one in found.images]


def test_few_images_are_all_taken() -> None:
    found = sampled_images(divided_of([0, 1] * 60), 500, 5, 0)
    assert len(found.images) == len(found.rows) == 120


def test_of_very_many_classes_some_are_taken() -> None:
    found = sampled_images(divided_of([n % 300 for n in range(6000)]), 200, 5, 0)
    assert len(np.unique(found.rows.labels)) == len({image.label for image in found.images}) == 20
    assert found.rows.labels.max() == 19
    assert 180 <= len(found.images) <= 400


@pytest.mark.parametrize(
    ("preparation", "images"),
    [
        (Preparation((224, 224), "squash"), 500),
        (Preparation((64, 64), "squash"), 500),
        (Preparation((448, 448), "squash"), 125),
        (Preparation((224, 224), "squash", tiles=(2, 2)), 125),
        (Preparation((224, 224), "squash", tiles="native"), 100),
    ],
)
def test_where_an_image_takes_several_passes_the_sample_is_smaller(preparation: Preparation, images: int) -> None:
    extractor = extractor_of(Store("a" * 64, BLOCKS), 4)
    extractor = replace(extractor, decoder=Decoder(preparation))
    assert sample_size(Transfer(), extractor) == images
    assert sample_size(Transfer(images=60), extractor) == 60


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("evaluate.transfer=null",), "off"),
        (("backbone.weights=random",), "random_weights"),
        (("backbone.name=null", "backbone.path=net.onnx"), None),
        ((), None),
    ],
)
def test_reasons_that_the_config_gives(settings: tuple[str, ...], reason: str | None) -> None:
    assert why_not(config_of(*settings)) == reason


class Bright(FakeEngine):
    """A network that sees how bright an image is, and nothing else."""

    def feature(self, pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        return super().feature(pixels) + np.float32(pixels.mean())


def drawn(folder: Path, count: int = 80, of_test: int = 20) -> Index:
    """Bright and dark images with noise; the files of the test images do not exist."""
    random, images = np.random.default_rng(0), []
    for number in range(count):
        path, label = folder / f"{number}.png", "ab"[number % 2]
        level = random.normal(90 + 60 * (number % 2), 20)
        Image.fromarray(np.clip(random.normal(level, 30, (40, 40, 3)), 0, 255).astype(np.uint8)).save(path)
        images.append(labelled(path, label, "validation" if number >= count - 20 else "train"))
    images += [labelled(folder / f"test{n}.png", "ab"[n % 2], "test") for n in range(of_test)]
    return Index(folder, ("a", "b"), tuple(images), {}, ())


def extractors() -> tuple[FeatureExtractor, FeatureExtractor]:
    """A network that sees something, and one that does not."""
    sees = extractor_of(Store("a" * 64, BLOCKS), 4)
    blind = extractor_of(Store("b" * 64, BLOCKS), 4)
    return replace(sees, opener=Bright.open), blind


def test_pretrained_features_are_compared_without_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    index, (sees, blind) = drawn(tmp_path), extractors()
    sees.extract([([*index.of("train"), *index.of("validation")], sees.views)])
    monkeypatch.setattr(build_transfer, "random_extractor", lambda *_: blind)
    found = measure_transfer(config_of("evaluate.transfer.images=80"), index, sees)
    assert isinstance(found, TransferGap)
    assert (found.images, found.of_images, found.classes, found.folds, found.repeats) == (80, 80, 2, 5, 3)
    assert [one.reference for one in found.comparisons] == ["random_weights", "pixels", "colour_histogram"]
    assert found.against("random_weights").verdict == "helps"
    assert found.against("pixels").accuracy > 0.8
    assert all(one.gain == pytest.approx(found.accuracy - one.accuracy) for one in found.comparisons)
    assert found.is_own_head
    assert measure_transfer(config_of("evaluate.transfer.images=80"), index, sees) == found


def test_one_network_twice_is_no_evidence(tmp_path: Path) -> None:
    index, (sees, _) = drawn(tmp_path), extractors()
    images = [*index.of("train"), *index.of("validation")]
    sees.extract([(images, sees.views)])
    rows = sees.rows(images, index.labels)
    sample = Sample(images, rows.take(np.arange(len(rows))), len(images))
    found = compare(config_of("head.fit=kernel"), sample, sees, sees)
    assert isinstance(found, TransferGap)
    same = found.against("random_weights")
    assert (same.gain, same.verdict) == (0, "no_evidence")
    assert same.ci95[0] < 0 < same.ci95[1]
    assert not found.is_own_head


def test_too_few_images_and_classes_that_cannot_be_divided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, (sees, blind) = drawn(tmp_path), extractors()
    monkeypatch.setattr(build_transfer, "random_extractor", lambda *_: blind)
    few = replace(index, images=tuple(index.of("train")[:49]))
    sees.extract([(index.of("train"), sees.views)])
    assert measure_transfer(config_of(), few, sees) == "few_images"
    one = labelled(index.of("train")[0].path, "c")
    lone = Index(tmp_path, ("a", "b", "c"), (one, *index.of("train")[1:]), {}, ())
    assert measure_transfer(config_of(), lone, sees) == "not_divisible"


def test_a_machine_without_random_weights_still_compares_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def fails(*_: object) -> FeatureExtractor:
        raise ModelError("model.engine_missing", "none here", "")

    index, (sees, _) = drawn(tmp_path), extractors()
    sees.extract([([*index.of("train"), *index.of("validation")], sees.views)])
    monkeypatch.setattr(build_transfer, "random_extractor", fails)
    found = measure_transfer(config_of(), index, sees)
    assert isinstance(found, TransferGap)
    assert found.left_out == {"random_weights": "unavailable"}
    assert [one.reference for one in found.comparisons] == ["pixels", "colour_histogram"]


def test_an_own_network_is_compared_with_what_needs_no_random_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(build_transfer, "random_extractor", None)
    index, (sees, _) = drawn(tmp_path), extractors()
    sees.extract([([*index.of("train"), *index.of("validation")], sees.views)])
    found = measure_transfer(config_of("backbone.name=null", "backbone.path=net.onnx"), index, sees)
    assert isinstance(found, TransferGap)
    assert found.left_out == {"random_weights": "own_network"}
    assert [one.reference for one in found.comparisons] == ["pixels", "colour_histogram"]


def test_references_choose_their_own_penalty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config of tune has one C, chosen for its own features."""
    index, (sees, blind) = drawn(tmp_path), extractors()
    sees.extract([([*index.of("train"), *index.of("validation")], sees.views)])
    monkeypatch.setattr(build_transfer, "random_extractor", lambda *_: blind)
    plain, tuned = (measure_transfer(config_of(*more), index, sees) for more in ((), ("head.Cs=[0.0000001]",)))
    assert isinstance(plain, TransferGap)
    assert isinstance(tuned, TransferGap)
    assert tuned.against("pixels").accuracy == pytest.approx(plain.against("pixels").accuracy, abs=0.02)


# A small network trained from scratch, as tune adds it


class Known:
    """The trials of a search, in memory."""

    class Trial(NamedTuple):
        scores: tuple[float, ...]
        seconds: float

    def __len__(self) -> int:
        return len(self.found)

    def __init__(self) -> None:
        self.found: dict[str, Known.Trial] = {}

    def get(self, what: Mapping[str, object]) -> "Known.Trial | None":
        return self.found.get(json.dumps(what))

    def add(self, what: Mapping[str, object], scores: tuple[float, ...], seconds: float) -> "Known.Trial":
        assert seconds >= 0
        return self.found.setdefault(json.dumps(what), Known.Trial(scores, seconds))


class Asked(NamedTuple):
    """What the network was to be trained on."""

    images: "NDArray[np.uint8]"
    rows: Rows
    folds: "Folds"
    class_weight: object
    training: Training
    seconds: float


class Trains:
    """In place of the network."""

    def __init__(self, found: "list[float] | Exception | None") -> None:
        self.found, self.asked = found, list[Asked]()

    def __call__(self, *given: Any) -> "NDArray[np.float64] | None":
        self.asked.append(Asked(*given))
        if isinstance(self.found, Exception):
            raise self.found
        return None if self.found is None else np.array(self.found)


def divided_of_drawn(index: Index, sees: FeatureExtractor) -> Divided:
    images = [*index.of("train"), *index.of("validation")]
    sees.extract([(images, sees.views)])
    return Divided(images, sees.rows(images, index.labels), np.arange(len(images)), 0, ValidationDuplicates(0, 0))


def with_network(
    folder: Path, monkeypatch: pytest.MonkeyPatch, trains: Trains, trials: Known, *settings: str, budget: float = 900
) -> TransferGap:
    (folder / "images").mkdir(exist_ok=True)
    index, (sees, blind) = drawn(folder / "images"), extractors()
    monkeypatch.setattr(build_small_network, "cross_validate_small_network", trains)
    monkeypatch.setattr(build_transfer, "random_extractor", lambda *_: blind)
    scratch = FromScratch(trials, Clock(budget), 5.0)
    found = measure_divided(config_of(*settings), divided_of_drawn(index, sees), sees, scratch=scratch)
    assert isinstance(found, TransferGap)
    return found


SCORES = [0.5, 0.6, 0.4, 0.5, 0.55]


def test_a_network_is_trained_on_the_folds_of_the_first_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trains = Trains(SCORES)
    found = with_network(tmp_path, monkeypatch, trains, Known())
    (asked,) = trains.asked
    assert asked.images.shape == (80, 32, 32, 3)
    assert asked.images.dtype == np.uint8
    expected = list(folds_of(asked.rows, 5, 0))
    for (fitted, held), (given_fitted, given_held) in zip(expected, asked.folds, strict=True):
        assert (fitted.tolist(), held.tolist()) == (given_fitted.tolist(), sorted(given_held.tolist()))
    assert asked.training == Training(0)
    assert 0 < asked.seconds <= 900
    one = found.against("from_scratch")
    assert one.accuracy == pytest.approx(np.mean(SCORES))
    assert (one.folds, one.verdict) == (5, "helps")
    assert found.against("pixels").folds == 15
    assert not found.left_out


def test_a_network_is_trained_once_in_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trains, trials = Trains(SCORES), Known()
    first = with_network(tmp_path, monkeypatch, trains, trials)
    assert with_network(tmp_path, monkeypatch, trains, trials) == first
    assert len(trains.asked) == 1
    with_network(tmp_path, monkeypatch, trains, trials, "augment.views=1", "augment.flip=both")
    assert trains.asked[1].training == Training(0, "both", 0.0)
    with_network(tmp_path, monkeypatch, trains, trials, "head.class_weight=balanced")
    with_network(tmp_path, monkeypatch, trains, trials, "evaluate.transfer.images=60")
    assert len(trains.asked) == 4


def test_a_search_without_time_leaves_out_what_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trains, trials = Trains(SCORES), Known()
    found = with_network(tmp_path, monkeypatch, trains, trials, budget=0.1)
    assert found.left_out == {"random_weights": "no_time", "from_scratch": "no_time"}
    assert not trains.asked
    with_network(tmp_path, monkeypatch, trains, trials)
    found = with_network(tmp_path, monkeypatch, trains, trials, budget=0.1)  # what is known costs nothing
    assert found.left_out == {"random_weights": "no_time"}


@pytest.mark.parametrize(
    ("answer", "reason"), [(None, "no_time"), (ModelError("model.process_failed", "none here", ""), "unavailable")]
)
def test_a_network_that_cannot_be_trained_is_left_out_and_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Exception | None, reason: str
) -> None:
    trials = Known()
    found = with_network(tmp_path, monkeypatch, Trains(answer), trials)
    assert found.left_out == {"from_scratch": reason}
    assert not trials.found


def test_random_weights_have_a_store_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another digest of the weights, the same engine, preparation and blocks."""
    sees, _ = extractors()
    spec = sees.spec
    monkeypatch.setattr(build_transfer, "find_weights", lambda *_: replace(spec.weights, sha256="f" * 64))
    found = build_transfer.random_extractor(config_of("image.size=32"), sees)
    assert found.store.key != sees.store.key
    assert (found.spec.engine, found.decoder, found.spec.size) == (spec.engine, sees.decoder, SMALL.size)
