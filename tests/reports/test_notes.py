"""Notes appear where their numbers say so, and name these."""

from collections.abc import Sequence

import numpy as np
import pytest

from tlcli.datasets.split_names import SplitName
from tlcli.evaluation.class_balance import class_balance
from tlcli.evaluation.cross_validation import CrossValidation, LayerGain
from tlcli.evaluation.split_metrics import Metrics, measure
from tlcli.heads.task import Task
from tlcli.model.prediction import NONE_OF_THESE, Prediction
from tlcli.reports.notes import (
    headline,
    is_unequal,
    layers_used,
    majority,
    many_rejected,
    mostly_none_of_these,
    never_measured,
    repeated_in_training,
)


def measured(truth: Sequence[int], predicted: Sequence[int]) -> Metrics:
    """Of the classes ok, crack and stain."""
    return measure(np.array(truth), 0.1 + 0.7 * np.eye(3)[list(predicted)], Task(("ok", "crack", "stain")))


EQUAL = measured([0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 1])
RARE = measured([0] * 90 + [1] * 5 + [2] * 5, [0] * 100)
HOLE = measured([0, 0, 1, 1], [0, 0, 1, 2])


def test_the_headline_of_equal_classes_is_the_accuracy() -> None:
    metrics: dict[SplitName, Metrics] = {"train": EQUAL, "validation": EQUAL, "test": EQUAL}
    assert headline(metrics, "validation") == "Validation accuracy 0.8333"
    assert "balanced" not in headline(metrics, "test")
    assert "6 images" in headline(metrics, "test")


@pytest.mark.parametrize(("train", "test"), [(RARE, RARE), (EQUAL, RARE)])
def test_the_headline_of_unequal_classes_has_what_the_accuracy_hides(train: Metrics, test: Metrics) -> None:
    text = headline({"train": train, "test": test}, "test")
    assert "Test accuracy 0.9000" in text
    assert "balanced accuracy 0.3333" in text
    assert text.endswith("'ok' reaches 0.9000")
    assert is_unequal(train, test)


def test_the_majority_class_is_that_of_training() -> None:
    train = measured([1, 1, 1, 0, 2], [1, 1, 1, 0, 2])
    assert majority(train, RARE) == ("crack", 0.05)


def test_classes_that_were_never_measured_are_named_for_each_split() -> None:
    found = list(never_measured({"train": EQUAL, "validation": HOLE, "test": HOLE}))
    assert len(found) == 2
    assert all("'stain'" in note and "over the other 2" in note for note in found)


def test_classes_without_images_do_not_count_for_the_balance() -> None:
    found = class_balance({"a": 30, "b": 10, "c": 0})
    assert (found.most, found.least, found.is_unequal, found.majority_share) == ("a", "b", False, 0.75)


def test_a_high_share_of_rejected_images_is_counted() -> None:
    assert "12.0 %" in many_rejected("validation", 0.12, 50, 0.25)
    assert "6 of 50" in many_rejected("validation", 0.12, 50, 0.25)
    assert many_rejected("validation", 0.0, 0, 0.25) == ""


def test_unreadable_images_and_a_class_called_none_of_these_do_not_count() -> None:
    named = Prediction("a", NONE_OF_THESE, 0.9, (), (), None, 0.1)
    unreadable = Prediction("a", None, None, (), (), error="broken", error_code="image.broken")
    rejected = Prediction("a", "cat", 0.9, (), (), NONE_OF_THESE, 0.9)
    assert mostly_none_of_these([named] * 20, 0.1) == ""
    assert mostly_none_of_these([rejected] * 9 + [unreadable] * 20, 0.1) == ""
    assert "10 of 10" in mostly_none_of_these([rejected] * 10 + [unreadable] * 20, 0.1)


def with_layers(gain: LayerGain | None) -> CrossValidation:
    return CrossValidation(
        accuracy=0.9, accuracy_ci95=(0.8, 1.0), balanced_accuracy=None, log_loss=None, images=10, folds=5, repeats=1,
        repeats_requested=1, reduced_sizes=False, near_duplicates=0, is_own_head=True, test_share=0.2, sizes=(8,),
        accuracies=((0.9,),), layers=gain,
    )  # fmt: skip


@pytest.mark.parametrize(("low", "is_chance"), [(0.002, False), (0.0, True), (-0.01, True)])
def test_layers_are_told_in_words_with_what_they_are_compared_with(low: float, is_chance: bool) -> None:
    gain = LayerGain(("stage1", "stage2", "last"), 0.01, (low, 0.03), ("avg", "max"))
    assert gain.may_be_chance == is_chance
    text = layers_used(with_layers(gain)) or ""
    assert "stage1" not in text
    assert "+1.0" in text
    assert "average and maximum" in text
    assert ("chance" in text) == is_chance
    assert layers_used(with_layers(gain)) != layers_used(with_layers(LayerGain(("stage1", "stage2"), 0.01, gain.ci95)))
    assert layers_used(with_layers(None)) is None


def test_validation_images_that_are_repeated_in_training_are_counted() -> None:
    assert repeated_in_training(0, 6, True) == ""
    assert repeated_in_training(2, 6, True).startswith("2 of 6 ")
    assert repeated_in_training(2, 6, True) != repeated_in_training(2, 6, False)
