"""The sentences of the pages have the right numbers, and change where the result does."""

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest
from tests.reports import sample

from tlcli.evaluation.assessment import Calibration, Confidence, DuplicatePair, TrainTestDuplicates
from tlcli.evaluation.calibration import Coverage
from tlcli.evaluation.learning_curve import LearningCurve
from tlcli.evaluation.split_metrics import Metrics
from tlcli.reports.inspect_text import InspectText
from tlcli.reports.text import RunText

if TYPE_CHECKING:
    from tlcli.evaluation.inspection import Inspection

SCORES: dict[str, float | None] = {"balanced_accuracy": 0.8, "roc_auc": 0.9, "log_loss": 0.3, "ece": 0.02}
TEST = Metrics(525, 0.861, (0.829, 0.888), SCORES, {}, ((1,),), ("a",))


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


def calibration(temperature: float) -> Calibration:
    return Calibration(temperature, 0.05, 0.02, (), ())


def confidence(*points: Coverage) -> Confidence:
    return Confidence("out_of_fold", 2099, points, ())


def duplicates(*kinds: Literal["exact", "near"], accuracy: float | None = 0.85) -> TrainTestDuplicates:
    pairs = tuple(DuplicatePair(f"{number}", "train", kind) for number, kind in enumerate(kinds))
    return TrainTestDuplicates(pairs, 525 - len(kinds), accuracy, (0.8, 0.9) if accuracy else None)


def text(accuracy: float = 0.861, runs: int = 1, **found: object) -> RunText:
    """Of a run whose assessment has these fields, and beside them no duplicates."""
    given: Any = {"near_duplicates": duplicates(), **found}
    changed = replace(sample.assessment(["a", "b"]), **given)
    return RunText(replace(TEST, accuracy=accuracy), changed, "functional", 0.6876, runs)


def inspected(leaks: dict[str, int], issues: int = 0, within: int = 0, outliers: int = 0, **sizes: int) -> InspectText:
    """Of a data set with that many findings, and with classes of these sizes."""
    index = SimpleNamespace(images=range(1100), labels=list(sizes), counts=lambda: {"train": sizes})
    made = SimpleNamespace(
        index=index, leaks=range(sum(leaks.values())), leaks_by_splits=leaks, label_issues=range(issues),
        is_blind=False, within_splits=range(within), outliers=range(outliers), farthest=range(outliers),
    )  # fmt: skip
    return InspectText(cast("Inspection", made))


def test_the_cross_validated_method_is_named_where_the_head_is_another() -> None:
    for own in (True, False):
        made = text(is_logistic_regression=own, learning_curve=curve(0.01, 0.005, 0.02))
        for sentence in (made.cross_validation, made.learning_curve, made.estimates):
            assert ("logistic regression" in sentence) != own
    assert has(text().cross_validation, "3 x 5", "2,099", "85.0 %", "83.0 to 87.0 %")


def test_calibration_has_the_error_before_and_after() -> None:
    said = {temperature: text(calibration=calibration(temperature)).calibration for temperature in (1.3, 0.8, 1.01)}
    assert all(has(one, f"{t:.2f}", "525", "5.0 %", "2.0 %") for t, one in said.items())
    assert len({one.replace(f"{t:.2f}", "") for t, one in said.items()}) == 3
    assert "less confident" in said[1.3]
    assert "more confident" in said[0.8]


def test_a_gain_that_may_be_0_is_called_so() -> None:
    sure, unsure = (text(learning_curve=curve(0.012, low, 0.0191)).learning_curve for low in (0.0039, 0.0009))
    assert has(sure, "1,706", "3,412", "1.2", "0.3 to 2.0")
    assert unsure.startswith(sure.replace("0.3 to", "0.0 to"))
    assert len(unsure) > len(sure)


@pytest.mark.parametrize("kinds", [("exact",), ("exact", "exact", "near")])
def test_duplicates_are_counted_by_kind(kinds: tuple[Literal["exact", "near"], ...]) -> None:
    said = text(near_duplicates=duplicates(*kinds)).near_duplicates
    counted = (f"{kinds.count('exact')} exact", f"{kinds.count('near')} near")
    assert has(said, *counted, "85.0 %", f"{525 - len(kinds)}", "86.1 %")


def test_a_test_without_new_images_has_no_accuracy() -> None:
    assert "%" not in text(near_duplicates=duplicates("exact", accuracy=None)).near_duplicates
    assert "%" not in text().near_duplicates


def test_example_of_min_confidence_halves_the_errors() -> None:
    points = [Coverage(s, 1 - s / 5, 1 - s / 3) for s in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)]
    assert has(text(confidence=confidence(*points)).coverage, "--min-confidence 0.83 ", "50 %", "90 %", "2,099")
    sure = confidence(Coverage(0.4, 0.995, 0.99729), Coverage(1.0, 0.9, 0.5))
    assert has(text(confidence=sure).coverage, "--min-confidence 0.9972 ")
    assert "%" not in text(confidence=confidence(Coverage(1.0, 0.5, 0.5))).coverage
    assert "%" not in text(confidence=None).coverage


def test_prediction_sets_name_their_coverage_and_size() -> None:
    assert has(text().prediction_sets, "95 %", "1.30", "70 %", "94.0 %")
    assert text(confidence=None).prediction_sets == ""


def test_a_test_split_that_decides_nothing_is_said_to_be_small() -> None:
    assert text().small_test == ""
    small = replace(text(), test=replace(TEST, n=22, accuracy_ci95=(0.77, 0.98)))
    assert has(small.small_test, "22", "21", "2,099", "85.0 %", "83.0 to 87.0 %")


def test_without_test_images_nothing_is_said_of_them() -> None:
    found = text(measured="out_of_fold", baselines=())
    assert found.images.startswith("525 images")
    assert found.near_duplicates == ""
    assert found.small_test == ""


def test_groups_are_mentioned_where_there_are_any() -> None:
    assert "group" in text(is_grouped=True).intervals.lower()
    assert "group" not in text(is_grouped=False).intervals.lower()


def test_repeated_use_of_the_test_images_is_mentioned_from_the_second_run() -> None:
    assert text().repeated_test_use == ""
    assert has(text(runs=3).repeated_test_use, "3")


def test_fewer_repeats_than_the_config_asks_for_are_mentioned() -> None:
    few = replace(sample.CROSS_VALIDATED, repeats=1)
    said = text(cross_validation=few).cross_validation
    assert has(said, "1 x 5", "3 repeats")
    assert len(said) > len(text().cross_validation)


def test_what_was_not_measured_has_no_numbers() -> None:
    assert text(cross_validation=None).cross_validation == ""
    assert not re.search(r"\d", text(learning_curve=None).learning_curve)


def test_findings_of_inspect_are_counted() -> None:
    assert has(inspected({}, 1, 2, a=1, b=1).summary, "1,100", "2", "no leaks", "1 doubted label ", "2 duplicates")
    leaks = inspected({"test and train": 35, "validation and train": 2}).leaks
    assert has(leaks, "37 pairs", "test and train 35", "validation and train 2", "36")
    for name, most in (("label_issues", 48), ("outliers", 24), ("duplicates", 24)):
        none, few, many = (getattr(inspected({}, n, n, n), name) for n in (0, most, most + 1))
        assert not re.search(r"\d", none)
        assert few.count(f"{most}") == 1
        assert has(many, f"{most + 1}", f"{most}")


def test_class_weights_are_suggested_for_imbalanced_classes() -> None:
    assert "class_weight" in inspected({}, a=10, b=100).classes
    assert "class_weight" not in inspected({}, a=50, b=100).classes
