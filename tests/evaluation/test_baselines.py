"""The baselines: each on data that it must, or cannot, tell apart."""

import numpy as np
import pytest

from tlcli.evaluation.baselines import Baseline, baselines, split_fold
from tlcli.evaluation.intervals import wilson
from tlcli.features.rows import Rows
from tlcli.heads.folds import folds_of
from tlcli.progress import Progress

N = 240


@pytest.fixture
def labels() -> "np.typing.NDArray[np.int64]":
    return (np.arange(N) % 5 < 2).astype(np.int64)  # 60 % of class 0


def rows(labels: "np.typing.NDArray[np.int64]", told: bool, seed: int) -> Rows:
    """Features that tell the classes, or noise."""
    random = np.random.default_rng(seed)
    features = random.normal(0, 1, (len(labels), 6)) + (6 * np.eye(6)[labels] if told else 0)
    return Rows.of(features.astype(np.float32), labels)


def by_name(found: list[Baseline]) -> dict[str, Baseline]:
    return {one.name: one for one in found}


@pytest.mark.parametrize("told_by", ["features", "colours"])
def test_each_baseline_knows_what_its_rows_tell(labels: "np.typing.NDArray[np.int64]", told_by: str) -> None:
    features, colours = rows(labels, told_by == "features", 0), rows(labels, told_by == "colours", 1)
    found = by_name(baselines(features, colours, split_fold(160, 80), 0))
    assert list(found) == ["majority class", "colour histogram", "nearest neighbours"]
    assert found["majority class"].accuracy == pytest.approx(np.mean(labels[160:] == 0))
    knows = "nearest neighbours" if told_by == "features" else "colour histogram"
    guesses = "colour histogram" if told_by == "features" else "nearest neighbours"
    assert found[knows].accuracy > 0.97
    assert found[guesses].accuracy < 0.75


def test_the_record_is_that_of_the_held_out_images(labels: "np.typing.NDArray[np.int64]") -> None:
    found = by_name(baselines(rows(labels, True, 0), rows(labels, True, 1), split_fold(160, 80), 0))
    right = int((labels[160:] == 0).sum())
    assert found["majority class"].record() == {
        "accuracy": right / 80,
        "accuracy_ci95": list(wilson(right, 80)),
        "n": 80,
        "how": "60.0% of the fitted images",
    }
    assert found["colour histogram"].record()["how"].startswith("logistic regression on 6 numbers, strength ")
    assert found["nearest neighbours"].record()["how"].endswith(" nearest of 160 by cosine")


def test_folds_give_an_answer_for_every_held_out_image(labels: "np.typing.NDArray[np.int64]") -> None:
    features, colours = rows(labels, True, 0), rows(labels, False, 1)
    folds = list(folds_of(features, 4, 0))
    for one in baselines(features, colours, folds, 0):
        assert [len(right) for right in one.right] == [len(held) for _, held in folds]
        assert len(one.how) == 4
        assert all(right.dtype == np.bool_ for right in one.right)
        assert one.accuracy == pytest.approx(sum(right.sum() for right in one.right) / N)


def test_a_fold_is_as_it_would_be_alone(labels: "np.typing.NDArray[np.int64]") -> None:
    features, colours = rows(labels, True, 0), rows(labels, True, 1)
    folds = list(folds_of(features, 3, 0))
    together = baselines(features, colours, folds, 0)
    alone = baselines(features, colours, folds[1:2], 0)
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.right[1], other.right[0])


def test_held_out_labels_are_not_looked_at(labels: "np.typing.NDArray[np.int64]") -> None:
    """With other labels of the held-out images, the same answers: those right before are wrong now."""
    turned = np.where(np.arange(N) < 160, labels, 1 - labels)
    features, colours = rows(labels, True, 0), rows(labels, True, 1)
    other, others = (Rows.of(one.features(), turned) for one in (features, colours))
    before = baselines(features, colours, split_fold(160, 80), 0)
    for one, now in zip(before, baselines(other, others, split_fold(160, 80), 0), strict=True):
        assert np.array_equal(one.right[0], ~now.right[0])


def test_a_part_of_very_many_rows_is_said(
    labels: "np.typing.NDArray[np.int64]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlcli.evaluation.neighbours.MOST_ROWS", 40)
    found = by_name(baselines(rows(labels, True, 0), rows(labels, True, 1), split_fold(160, 80), 0))
    assert found["nearest neighbours"].how[0].endswith(" nearest of 40 drawn from 160 by cosine")


def test_a_class_of_one_unit_leaves_the_others_and_is_told() -> None:
    class Notes(Progress):
        def note(self, message: str) -> None:
            notes.append(message)

    notes: list[str] = []
    labels = np.where(np.arange(30) == 3, 2, np.arange(30) % 2)
    found = baselines(rows(labels, True, 0), rows(labels, True, 1), split_fold(20, 10), 0, Notes())
    assert [one.name for one in found] == ["majority class", "nearest neighbours"]
    assert len(notes) == 1
    assert notes[0].startswith("Baseline colour histogram left out: ")
