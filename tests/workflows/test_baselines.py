"""Baselines from images on disk: their colours are counted once, and belong to the right images."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from PIL import Image

from tlcli.datasets.index import Index, LabelledImage
from tlcli.datasets.layout import SplitName
from tlcli.features import colour_histogram as colours
from tlcli.features.store import Store, row_key
from tlcli.images.decode import prepare
from tlcli.images.preparation import Preparation
from tlcli.progress import Progress
from tlcli.workflows.baselines import rows_for_baselines, split_baselines
from tlcli.workflows.frozen_pass import FrozenPass

PREPARATION = Preparation(16, "squash")
LABELS = ("dark", "light")


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Dark and light noise, 20 each; every fourth is for testing."""
    images = []
    for number in range(40):
        level, path = (60, 190)[number % 2], tmp_path / f"{number}.png"
        pixels = np.random.default_rng(number).normal(level, 40, (20, 30, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        split: SplitName = "test" if number % 8 < 2 else "train"
        images.append(LabelledImage(path, path.name, sha, LABELS[number % 2], split, sha))
    return Index(tmp_path, LABELS, tuple(images), {}, ())


@pytest.fixture
def frozen(index: Index) -> FrozenPass:
    """A backbone that tells nothing: its stored features are noise."""
    store = Store("a" * 64, 4)
    noise = np.random.default_rng(0).normal(size=(len(index.images), 4)).astype(np.float32)
    store.append([row_key(p.sha256, "0") for p in index.images], noise)
    made = SimpleNamespace(preparation=PREPARATION, store=store, row=SimpleNamespace(features=4))
    return cast("FrozenPass", made)


class Counting(Progress):
    """Counts what was computed."""

    steps = 0

    def advance(self, steps: int = 1) -> None:
        self.steps += steps


def test_rows_are_those_of_the_images_in_their_order(index: Index, frozen: FrozenPass) -> None:
    turned = index.images[::-1]
    both = rows_for_baselines(turned, LABELS, frozen)
    expected = [colours.colours(prepare(p.path.read_bytes(), PREPARATION)) for p in turned]
    assert np.array_equal(both.colours.features(), np.stack(expected))
    assert np.array_equal(both.features.features(), frozen.store.read(row_key(p.sha256, "0") for p in turned))
    assert both.colours.labels.tolist() == [LABELS.index(p.label) for p in turned]
    assert np.array_equal(both.colours.units, both.features.units)


def test_colours_are_counted_once(index: Index, frozen: FrozenPass) -> None:
    first, second = Counting(), Counting()
    rows_for_baselines(index.of("train"), LABELS, frozen, first)
    rows_for_baselines(index.images, LABELS, frozen, second)
    assert (first.steps, second.steps) == (30, 10)


def test_what_only_colours_tell_is_told_by_colours_alone(index: Index, frozen: FrozenPass) -> None:
    found = {one.name: one for one in split_baselines(index, "test", frozen, 0)}
    assert {name: len(one.right[0]) for name, one in found.items()} == {
        "majority class": 10,
        "colour histogram": 10,
        "nearest neighbours": 10,
    }
    assert found["colour histogram"].accuracy == 1
    assert found["majority class"].accuracy == 0.5
