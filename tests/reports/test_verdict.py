"""The verdict names the estimate that counts, and what to do first follows from evidence."""

from dataclasses import replace
from typing import Any

from tests.reports import sample

from tlcli.evaluation.assessment import BaselineAccuracy, DuplicatePair, OutOfDistribution, TrainTestDuplicates
from tlcli.evaluation.learning_curve import LearningCurve
from tlcli.evaluation.split_metrics import ClassMetrics, Metrics
from tlcli.reports.verdict import Evidence, verdict

RECALLS = {"a": 0.9, "b": 0.88}
NO_PAIRS = TrainTestDuplicates((), 525, 0.86, (0.83, 0.89))


def metrics(n: int = 525, low: float = 0.83, high: float = 0.89, recalls: dict[str, float] = RECALLS) -> Metrics:
    classes = {label: ClassMetrics(0.9, recall, 0.9, n // 2) for label, recall in recalls.items()}
    return Metrics(n, 0.86, (low, high), {"balanced_accuracy": 0.8}, classes, ((1,),), tuple(recalls))


def evidence(measured: Metrics | None = None, errors: tuple[int, float] = (3, 5.0), **found: Any) -> Evidence:
    """Of a run without anything that stands out, but for what is given."""
    quiet = {
        "near_duplicates": NO_PAIRS,
        "out_of_distribution": OutOfDistribution(0.3, 0.01, 0.01),
        "learning_curve": LearningCurve((), (), 1600, 0.004, (-0.001, 0.01)),
        **found,
    }
    changed = replace(sample.assessment(["a", "b"]), **quiet)
    training = {"a": 1200, "b": 500}
    return Evidence(measured or metrics(), changed, "a", 0.6, training, 390, errors, 2000)


def sections(of: Evidence) -> tuple[str, ...]:
    return tuple(one.section for one in verdict(of))


def test_a_run_without_findings_asks_for_nothing() -> None:
    good, sure, first = verdict(evidence())
    assert "86.0 %" in good.text
    assert "60.0 %" in good.text
    assert "83.0 to 89.0 %" in sure.text
    assert first.section == "metrics"
    assert "First" not in first.text


def test_what_comes_first_follows_from_the_evidence() -> None:
    pairs = tuple(DuplicatePair(f"{number}", "train", "near") for number in range(20))
    leaks = evidence(near_duplicates=TrainTestDuplicates(pairs, 505, 0.8, (0.7, 0.9)))
    assert sections(leaks)[-1] == "duplicates"
    assert "80.0 %" in verdict(leaks)[1].text
    assert sections(evidence(out_of_distribution=OutOfDistribution(0.3, 0.01, 0.2)))[-1] == "ood"
    assert sections(evidence(errors=(30, 5.0)))[-1] == "errors"
    assert sections(evidence(metrics(recalls={"a": 0.95, "b": 0.6})))[-1] == "classes"
    gain = LearningCurve((), (), 1600, 0.03, (0.01, 0.05))
    assert sections(evidence(learning_curve=gain))[-1] == "learning-curve"


def test_errors_that_a_calibrated_head_makes_say_nothing_about_labels() -> None:
    assert sections(evidence(errors=(40, 38.0)))[-1] == "metrics"


def test_a_weak_class_with_many_images_is_not_short_of_images() -> None:
    assert sections(evidence(metrics(recalls={"a": 0.6, "b": 0.95})))[-1] == "metrics"


def test_a_small_test_split_gives_way_to_cross_validation() -> None:
    good, sure, first = verdict(evidence(metrics(22, 0.77, 0.98)))
    assert "85.0 %" in good.text
    assert "2,099" in good.text
    assert "83.0 to 87.0 %" in sure.text
    assert "22" in sure.text
    assert "22" in first.text


def test_a_model_that_is_no_better_than_a_simple_way_is_called_so() -> None:
    worse = verdict(evidence(baselines=(BaselineAccuracy("nearest neighbours", 0.87, (0.8, 0.9)),)))[0].text
    close = verdict(evidence(baselines=(BaselineAccuracy("nearest neighbours", 0.84, (0.8, 0.9)),)))[0].text
    clear = verdict(evidence(baselines=(BaselineAccuracy("nearest neighbours", 0.7, (0.8, 0.9)),)))[0].text
    assert len({worse.replace("87.0", ""), close.replace("84.0", ""), clear.replace("70.0", "")}) == 3
    assert "87.0 %" in worse


def test_a_model_that_beats_the_majority_has_learnt_something() -> None:
    near = verdict(evidence(baselines=(BaselineAccuracy("nearest neighbours", 0.87, (0.8, 0.9)),)))[0].text
    useless = replace(evidence(), frequent_share=0.87, found=replace(evidence().found, baselines=()))
    assert ("learnt" in near, "learnt" in verdict(useless)[0].text) == (False, True)


def test_with_many_leaks_cross_validation_is_the_estimate() -> None:
    pairs = tuple(DuplicatePair(f"{number}", "train", "near") for number in range(200))
    good, sure, first = verdict(evidence(near_duplicates=TrainTestDuplicates(pairs, 325, 0.8, (0.7, 0.9))))
    assert "85.0 %" in good.text
    assert "83.0 to 87.0 %" in sure.text
    assert "200" in sure.text
    assert first.section == "duplicates"
