"""The baselines: each on data whose classes it must, or cannot, distinguish."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcli.datasets.index import LabelledImage
from tlcli.evaluation.baselines import Baseline, measure_baselines
from tlcli.features.colour_histogram import COLOURS, colour_histogram
from tlcli.features.rows import Rows
from tlcli.images.decode import prepare
from tlcli.images.preparation import Preparation
from tlcli.progress import Progress

N = 240
HELD = np.arange(N) >= 160


@pytest.fixture
def labels() -> "np.typing.NDArray[np.int64]":
    return (np.arange(N) % 5 < 2).astype(np.int64)  # 60 % of class 0


def rows(labels: "np.typing.NDArray[np.int64]", informative: bool, seed: int) -> Rows:
    """Separable features, or noise."""
    random = np.random.default_rng(seed)
    features = random.normal(0, 1, (len(labels), 6)) + (6 * np.eye(6)[labels] if informative else 0)
    return Rows.of(features.astype(np.float32), labels)


def by_name(found: list[Baseline]) -> dict[str, Baseline]:
    return {one.name: one for one in found}


@pytest.mark.parametrize("known_by", ["features", "colours"])
def test_each_baseline_uses_its_own_features(labels: "np.typing.NDArray[np.int64]", known_by: str) -> None:
    features, colours = rows(labels, known_by == "features", 0), rows(labels, known_by == "colours", 1)
    found = by_name(measure_baselines(features, colours, HELD, 0))
    assert list(found) == ["majority class", "colour histogram", "nearest neighbours"]
    assert found["majority class"].accuracy == pytest.approx(np.mean(labels[160:] == 0))
    knows = "nearest neighbours" if known_by == "features" else "colour histogram"
    guesses = "colour histogram" if known_by == "features" else "nearest neighbours"
    assert found[knows].accuracy > 0.97
    assert found[guesses].accuracy < 0.75


def test_held_out_labels_are_not_used(labels: "np.typing.NDArray[np.int64]") -> None:
    """With other labels of the held-out images, the predictions are the same: the correct ones become wrong."""
    turned = np.where(np.arange(N) < 160, labels, 1 - labels)
    features, colours = rows(labels, True, 0), rows(labels, True, 1)
    other, others = (Rows.of(one.features(), turned) for one in (features, colours))
    before = measure_baselines(features, colours, HELD, 0)
    for one, now in zip(before, measure_baselines(other, others, HELD, 0), strict=True):
        assert np.array_equal(one.correct, ~now.correct)


def test_a_class_of_one_unit_leaves_the_others_and_informative() -> None:
    class Notes(Progress):
        def note(self, message: str) -> None:
            notes.append(message)

    notes: list[str] = []
    labels = np.where(np.arange(30) == 3, 2, np.arange(30) % 2)
    found = measure_baselines(rows(labels, True, 0), rows(labels, True, 1), np.arange(30) >= 20, 0, Notes())
    assert [one.name for one in found] == ["majority class", "nearest neighbours"]
    assert len(notes) == 1


class Counting(Progress):
    """Counts images whose colours are computed."""

    steps = 0

    def advance(self, steps: int = 1) -> None:
        self.steps += steps


def test_colours_are_computed_once_and_belong_to_their_images(tmp_path: Path) -> None:
    images = []
    for number in range(40):
        path = tmp_path / f"{number}.png"
        pixels = np.random.default_rng(number).integers(0, 255, (20, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        images.append(LabelledImage(path, path.name, sha, "a", "train", sha))
    preparation, first, second = Preparation((16, 16), "squash"), Counting(), Counting()
    features = Rows.of(np.zeros((40, 4), np.float32), np.arange(40) % 2, np.arange(40) // 2)
    COLOURS.rows(images[:30], features.part(np.arange(30)), preparation, first)
    found = COLOURS.rows(images[::-1], features, preparation, second)
    assert (first.steps, second.steps) == (30, 10)
    expected = [colour_histogram(prepare(one.path.read_bytes(), preparation)) for one in images[::-1]]
    assert np.array_equal(found.features(), np.stack(expected))
    assert np.array_equal(found.labels, features.labels)
    assert np.array_equal(found.units, features.units)
