"""The sentences of the pages say what the numbers do."""

import pytest

from tlcli.reports import inspect_text as inspect_words
from tlcli.reports import text as words

TEST = {"n": 525, "accuracy": 0.861, "accuracy_ci95": [0.829, 0.888]}


def test_summary_has_the_accuracy_its_interval_and_what_it_is_worth() -> None:
    assert words.summary(TEST, "functional", 0.6876, twins=0) == (
        "Of 525 test images that no part of it had seen, 86.1 % are named right (95 % interval 82.9 to 88.8 %). "
        "Always answering 'functional' would give 68.8 %."
    )


def test_summary_does_not_call_copies_unseen() -> None:
    said = words.summary(TEST, "functional", 0.6876, twins=38)
    assert said.startswith("Of 525 test images (38 with a twin in training), 86.1 % are named right")


def test_what_was_cross_validated_is_called_by_its_name() -> None:
    for is_convex in (True, False):
        sentences = (
            words.cross_validation(5, 3, 2099, 0.85, (0.83, 0.87), is_convex=is_convex),
            words.learning_curve(0.01, 0.005, 0.02, 1706, is_convex=is_convex),
            words.estimates(True, is_convex=is_convex),
        )
        assert all(("logistic regression" in said) != is_convex for said in sentences)


@pytest.mark.parametrize(
    ("temperature", "said"), [(1.3, "made less sure"), (0.8, "made more sure"), (1.01, "left as they were")]
)
def test_temperature_above_1_makes_less_sure(temperature: float, said: str) -> None:
    assert f"probabilities are {said} by it" in words.calibration(temperature, 0.05, 0.02, 525)


def test_more_images_that_are_not_sure_to_help_are_not_promised() -> None:
    assert "There is no evidence" in words.learning_curve(0.004, -0.002, 0.01, 1706)
    said = words.learning_curve(0.012, 0.003, 0.021, 1706)
    assert said.startswith("Twice the images (3,412 instead of 1,706) would bring about 1.2 points of accuracy (95 %")
    assert "no evidence" not in said


@pytest.mark.parametrize(
    ("exact", "near", "said"),
    [
        (0, 0, "None of the 525 test images has a copy"),
        (1, 0, "training: 1 exact copy. Without them"),
        (2, 1, "training: 2 exact copies and 1 near copy. Without them"),
    ],
)
def test_copies_are_counted_in_words(exact: int, near: int, said: str) -> None:
    assert said in words.leaks(exact, near, TEST, {"accuracy": 0.85, "n": 522})


def test_test_of_copies_alone_says_nothing() -> None:
    assert "says nothing about new images" in words.leaks(525, 0, TEST, None)


def test_careful_answers_are_those_that_halve_the_errors() -> None:
    points = [{"share": s, "accuracy": 1 - s / 5, "threshold": 1 - s / 3} for s in (0.1, 0.3, 0.5, 0.7, 0.9)]
    said = words.coverage(points, 0.8)
    assert "--min-confidence 0.83 it would answer about 50 % of the test images, and be right in about 90 %" in said
    sure = [{"share": 0.4, "accuracy": 0.995, "threshold": 0.99729}, {"share": 1.0, "accuracy": 0.9, "threshold": 0.5}]
    assert "--min-confidence 0.9972 it" in words.coverage(sure, 0.9)
    assert "of your choice" in words.coverage([{"share": 1.0, "accuracy": 0.5, "threshold": 0.5}], 0.5)


def test_groups_are_said_to_be_taken_whole() -> None:
    assert "take groups as a whole" in words.intervals(525, is_grouped=True)
    assert "group" not in words.intervals(525, is_grouped=False)


def test_nothing_found_is_said_too() -> None:
    assert inspect_words.inspected(100, 2, 0, 1, 2) == (
        "100 images of 2 classes: no leak between splits, 1 suspicious label and 2 copies within a split."
    )
    assert inspect_words.found_leaks({}, 10).startswith("No ")
    leaks = inspect_words.found_leaks({"test and train": 9, "validation and train": 2}, 10)
    assert leaks.startswith("11 pairs of images that show the same lie in two splits (test and train 9, validation")
    assert leaks.endswith(" The first 10 are shown.")
    for said in (inspect_words.found_suspects, inspect_words.found_outliers):
        assert said(0, 10).startswith("No ")
        assert "The first 10 are shown." in said(11, 10)
        assert "shown" not in said(10, 10)


def test_uneven_classes_get_a_hint() -> None:
    assert "class_weight" in inspect_words.found_classes({"a": 10, "b": 100})
    assert "class_weight" not in inspect_words.found_classes({"a": 50, "b": 100})
