"""The sentences of the pages have the right numbers, and change where the result does."""

from dataclasses import replace

import pytest

from tlcli.evaluation.assessment import Calibration, CrossValidated, DuplicatePair, TrainTestDuplicates
from tlcli.evaluation.calibration import Coverage
from tlcli.evaluation.learning_curve import LearningCurve
from tlcli.evaluation.metrics import Metrics
from tlcli.reports import inspect_text, text

TEST = Metrics(525, 0.861, (0.829, 0.888), 0.8, 0.3, 0.9, 0.02, {}, [[1]], ["a"])
CROSS_VALIDATED = CrossValidated(0.85, (0.83, 0.87), 5, 3, 2099)


def has(said: str, *numbers: str) -> bool:
    """Whether a text has these parts, in that order."""
    position = 0
    for number in numbers:
        position = said.find(number, position) + 1
        if not position:
            return False
    return True


def curve(gain: float, low: float, high: float) -> LearningCurve:
    return LearningCurve((), (), 1706, gain, (low, high))


def calibration(temperature: float, *points: Coverage) -> Calibration:
    return Calibration(temperature, 0.05, 0.02, (), (), points)


def duplicates(*kinds: str, accuracy: float | None = 0.85) -> TrainTestDuplicates:
    pairs = tuple(DuplicatePair(f"{number}", "train", kind) for number, kind in enumerate(kinds))
    return TrainTestDuplicates(pairs, 525 - len(kinds), accuracy, accuracy and (0.8, 0.9))


def test_summary_has_the_accuracy_its_interval_and_that_of_the_majority() -> None:
    said = text.summary(TEST, "functional", 0.6876, duplicates=0)
    assert has(said, "525", "86.1 %", "82.9 to 88.8 %", "'functional'", "68.8 %")
    assert has(text.summary(TEST, "functional", 0.6876, duplicates=38), "525", "38", "86.1 %")


def test_the_cross_validated_method_is_named_where_the_head_is_another() -> None:
    for is_own_kind in (True, False):
        sentences = (
            text.cross_validation(CROSS_VALIDATED, is_own_kind),
            text.learning_curve(curve(0.01, 0.005, 0.02), is_own_kind),
            text.estimates(True, is_own_kind),
        )
        assert all(("logistic regression" in said) != is_own_kind for said in sentences)
    assert has(text.cross_validation(CROSS_VALIDATED), "3 x 5", "2,099", "85.0 %", "83.0 to 87.0 %")


def test_calibration_has_the_error_before_and_after() -> None:
    said = {temperature: text.calibration(calibration(temperature), 525) for temperature in (1.3, 0.8, 1.01)}
    assert all(has(one, f"{t:.2f}", "525", "5.0 %", "2.0 %") for t, one in said.items())
    effects = {one.replace(f"{t:.2f}", "") for t, one in said.items()}
    assert len(effects) == 3
    assert "less confident" in said[1.3]
    assert "more confident" in said[0.8]


def test_a_gain_that_may_be_0_is_called_so() -> None:
    sure, unsure = text.learning_curve(curve(0.012, 0.003, 0.021)), text.learning_curve(curve(0.012, -0.002, 0.021))
    assert has(sure, "1,706", "3,412", "1.2", "0.3 to 2.1")
    assert unsure.startswith(sure.replace("0.3 to", "-0.2 to"))
    assert len(unsure) > len(sure)


@pytest.mark.parametrize("kinds", [("exact",), ("exact", "exact", "near")])
def test_duplicates_are_counted_by_kind(kinds: tuple[str, ...]) -> None:
    said = text.near_duplicates(duplicates(*kinds), TEST)
    counted = (f"{kinds.count('exact')} exact", f"{kinds.count('near')} near")
    assert has(said, *counted, "85.0 %", f"{525 - len(kinds)}", "86.1 %")


def test_a_test_without_new_images_has_no_accuracy() -> None:
    assert "%" not in text.near_duplicates(duplicates("exact", accuracy=None), TEST)
    assert "%" not in text.near_duplicates(duplicates(), TEST)


def test_example_of_min_confidence_halves_the_errors() -> None:
    points = [Coverage(s, 1 - s / 5, 1 - s / 3) for s in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert has(text.coverage(calibration(1, *points), 0.8), "--min-confidence 0.83 ", "50 %", "90 %")
    sure = calibration(1, Coverage(0.4, 0.995, 0.99729), Coverage(1.0, 0.9, 0.5))
    assert has(text.coverage(sure, 0.9), "--min-confidence 0.9972 ")
    assert "%" not in text.coverage(calibration(1, Coverage(1.0, 0.5, 0.5)), 0.5)


def test_groups_are_mentioned_where_there_are_any() -> None:
    assert "group" in text.intervals(525, is_grouped=True).lower()
    assert "group" not in text.intervals(525, is_grouped=False).lower()


def test_repeated_use_of_the_test_images_is_mentioned_from_the_second_run(assessed: text.RunText) -> None:
    assert assessed.repeated_test_use == ""
    assert has(text.repeated_test_use(3), "3")


@pytest.fixture
def assessed() -> text.RunText:
    """Of the only run on its test images."""
    from tests.reports import sample

    found = replace(sample.assessment(["a", "b"]), cross_validation=None)
    return text.run_text(TEST, found, "a", 0.7, evaluated_runs=1)


def test_what_was_not_measured_has_no_sentence(assessed: text.RunText) -> None:
    assert assessed.cross_validation == ""


def test_findings_of_inspect_are_counted() -> None:
    assert has(inspect_text.summary(1100, 2, 0, 1, 2), "1,100", "2", "no leaks", "1 label issue ", "2 duplicates")
    leaks = inspect_text.leaks({"test and train": 9, "validation and train": 2}, 10)
    assert has(leaks, "11 pairs", "test and train 9", "validation and train 2", "10")
    for sentence in (inspect_text.label_issues, inspect_text.outliers, inspect_text.duplicates):
        assert not set("0123456789") & set(sentence(0, 10).replace("2021", ""))
        assert has(sentence(11, 10), "11", "10")
        assert not has(sentence(10, 10), "10", "10")


def test_class_weights_are_suggested_for_imbalanced_classes() -> None:
    assert "class_weight" in inspect_text.classes({"a": 10, "b": 100})
    assert "class_weight" not in inspect_text.classes({"a": 50, "b": 100})
