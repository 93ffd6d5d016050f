"""The extractor and the features of splits, with real images and the engine double."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.features.extractors import extractor_of, row_of

from tlcli.datasets.index import Index, LabelledImage
from tlcli.datasets.split_names import SplitName
from tlcli.engines.double import FakeEngine
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.pipeline import Extraction
from tlcli.features.split_features import SplitFeatures
from tlcli.features.store import Store, row_key
from tlcli.images.augmentation import Augmentation, view_names
from tlcli.images.decode import prepare
from tlcli.images.items import Decoder
from tlcli.images.preparation import Preparation

WIDTH = 6
BLOCKS = row_of(WIDTH).blocks
LABELS = ("dark", "light")
SPLITS: tuple[SplitName, ...] = ("train", "train", "validation", "test")


@pytest.fixture
def index(tmp_path: Path) -> Index:
    images = []
    for number in range(12):
        path = tmp_path / f"{number}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        split = SPLITS[number % 4]
        images.append(LabelledImage(path, path.name, sha, LABELS[number % 2], split, f"{split}-{number // 8}"))
    return Index(tmp_path, LABELS, tuple(images), {}, ())


@pytest.fixture
def extractor(index: Index) -> FeatureExtractor:
    made = extractor_of(Store("a" * 64, BLOCKS), WIDTH)
    assert made.extract([(index.images, made.views)]) == Extraction(12, 0, {})
    return made


def test_rows_have_the_features_labels_and_units_of_their_images(index: Index, extractor: FeatureExtractor) -> None:
    images = index.of("train")
    rows = extractor.rows(images, LABELS)
    engine = FakeEngine(extractor.decoder, BLOCKS.last)
    expected = [engine.feature(prepare(one.path.read_bytes(), Preparation((32, 32), "squash"))) for one in images]
    assert np.array_equal(rows.features(), np.stack(expected))
    assert np.array_equal(extractor.features(images), np.stack(expected))
    assert rows.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert rows.units.tolist() == [0, 0, 0, 0, 1, 1]
    assert rows.width == WIDTH


def test_views_follow_each_other(index: Index, extractor: FeatureExtractor) -> None:
    augmentation = Augmentation("horizontal", brightness=0.3)
    views = tuple(view_names(2, augmentation))
    augmented = replace(extractor, decoder=Decoder(extractor.decoder.preparation, augmentation), views=views)
    images = index.of("validation")
    assert augmented.extract([(images, views)]) == Extraction(6, 3, {})
    rows = augmented.rows(images, LABELS, views)
    assert len(rows) == 9
    assert rows.units.tolist() == 3 * rows.units[:3].tolist()
    keys = [row_key(one.sha256, view) for view in views for one in images]
    expected = extractor.store.read(keys, extractor.blocks)
    assert np.array_equal(rows.features(), expected)


@pytest.mark.parametrize("memory_bytes", [1 << 20, 0, 6 * WIDTH * 4])
@pytest.mark.parametrize("splits", [("train",), ("test", "train"), ("train", "validation")])
def test_the_features_of_splits_are_those_of_the_extractor(
    index: Index, extractor: FeatureExtractor, splits: tuple[SplitName, ...], memory_bytes: int
) -> None:
    images = [image for split in splits for image in index.of(split)]
    expected = extractor.rows(images, LABELS)
    found = SplitFeatures(index, extractor, memory_bytes).rows(*splits)
    assert np.array_equal(found.features(), expected.features())
    assert np.array_equal(found.labels, expected.labels)
    assert np.array_equal(found.units, expected.units)
    some = np.array([2, 0, len(images) - 1])
    assert np.array_equal(found.take(some).features(), expected.take(some).features())


def test_each_split_is_read_from_the_store_once(
    index: Index, extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = SplitFeatures(index, extractor)
    first = features.rows("train", "test").features()
    monkeypatch.setattr(Store, "_rows", lambda *_: pytest.fail("read again"))
    again = features.rows("train", "test")
    assert np.array_equal(again.features(), first)
    again.features()[:] = 0  # a copy
    assert np.array_equal(features.rows("test").features(), first[6:])
