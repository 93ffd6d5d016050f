"""Whether thresholds improve a winner: on folds that had no part in choosing them."""

from dataclasses import replace

import numpy as np
import pytest
from tests.reports.tune_sample import outcome
from tests.tuning.test_head_search import BLOCKS

from tlcli.config.build_tune import config_of_winner, tuned_yaml
from tlcli.config.load import find_config, load_config
from tlcli.evaluation.objectives import Objective
from tlcli.evaluation.thresholds import choose_thresholds
from tlcli.features.rows import Rows
from tlcli.reports.tune_text import TuneText, reasons
from tlcli.tuning.head_search import NestedFolds, held_out_probabilities, score_heads
from tlcli.tuning.settings import HeadSetting, PassSetting
from tlcli.tuning.threshold_choice import ThresholdChoice, threshold_choice, threshold_scores

BALANCED = Objective.parse("balanced_accuracy")


def unequal(count: int = 600) -> Rows:
    """One image in six is of the second class, and the classes overlap."""
    random = np.random.default_rng(1)
    labels = (np.arange(count) % 6 == 0).astype(np.int64)
    features = random.normal(0, 1, (count, BLOCKS.width)) + 0.25 * labels[:, None]
    return Rows.of(features.astype(np.float32), labels, widths=BLOCKS.widths)


def held_out(rows: Rows, folds: NestedFolds, head: HeadSetting) -> "list[np.ndarray]":
    return held_out_probabilities(rows, BLOCKS, folds, head)


HEAD = HeadSetting("logistic_regression", ("stage1", "last"), "avg_max", True, "none", 0.01)


def test_thresholds_help_the_balanced_accuracy_of_unequal_classes() -> None:
    rows = unequal()
    folds = NestedFolds.of(rows, 5, 5, 0)
    scores = threshold_scores(rows.labels, folds, held_out(rows, folds, HEAD), BALANCED)
    assert scores.shape == (2, 5)
    found = threshold_choice(BALANCED, scores, folds.test_share)
    assert found is not None
    assert found.helps
    assert found.gain > 0.05
    assert found.gain == pytest.approx(scores[1].mean() - scores[0].mean())
    assert found.gain_ci95[0] < found.gain < found.gain_ci95[1]
    equal = threshold_choice(Objective.parse("accuracy"), scores[[0, 0]], folds.test_share)
    assert equal is not None
    assert (equal.gain, equal.helps, equal.hurts) == (0, False, False)


@pytest.mark.parametrize("kind", ["logistic_regression", "kernel"])
def test_without_thresholds_it_is_the_score_of_the_search(kind: str) -> None:
    rows = unequal()
    folds = NestedFolds.of(rows, 4, 3, 0)
    head = HEAD if kind == "logistic_regression" else replace(HEAD, kind="kernel", C=10.0, gamma=1.0)
    ((_, expected),) = score_heads(rows, BLOCKS, folds, [head], BALANCED.score)
    probabilities = held_out(rows, folds, head)
    assert [len(one) for one in probabilities] == [len(held) for _, held in folds.all]
    before, _ = threshold_scores(rows.labels, folds, probabilities, BALANCED)
    np.testing.assert_allclose(before, expected[list(folds.outer)], atol=1e-9)


def test_the_thresholds_of_a_fold_know_nothing_of_what_it_holds_out() -> None:
    """They are those chosen on the images that its inner folds hold out, all of which it was fitted on."""
    rows = unequal()
    folds = NestedFolds.of(rows, 4, 3, 0)
    probabilities = held_out(rows, folds, HEAD)
    _, after = threshold_scores(rows.labels, folds, probabilities, BALANCED)
    for place, (outer, within) in enumerate(zip(folds.outer, folds.inner, strict=True)):
        fitted, held = folds.all[outer]
        inside = np.concatenate([folds.all[number][1] for number in within])
        assert sorted(inside) == sorted(fitted)
        assert not set(inside) & set(held)
        chosen = choose_thresholds(rows.labels[inside], np.concatenate([probabilities[n] for n in within]), BALANCED)
        answers = chosen.decide(probabilities[outer])
        assert after[place] == pytest.approx(BALANCED.of_decisions(rows.labels[held], answers, 2))


def test_a_fold_without_the_class_does_not_count() -> None:
    scores = np.array([[0.5, np.nan, 0.4], [0.6, np.nan, 0.7]])
    found = threshold_choice(Objective.parse("recall@precision=0.9"), scores, 0.2)
    assert found is not None
    assert found.most_probable == pytest.approx(0.45)
    assert found.chosen == pytest.approx(0.65)
    assert threshold_choice(BALANCED, scores[:, 1:2], 0.2) is None


# What becomes of them

HELP = ThresholdChoice("balanced_accuracy", 0.8, 0.85, (0.02, 0.08))
NOTHING = replace(HELP, gain_ci95=(-0.01, 0.11))
HARM = replace(HELP, chosen=0.7, gain_ci95=(-0.15, -0.05))


@pytest.mark.parametrize(
    ("given", "found", "expected"),
    [
        ("none", HELP, "balanced_accuracy"),
        ("none", NOTHING, "none"),
        ("none", HARM, "none"),
        ("none", None, "none"),
        ("balanced_accuracy", NOTHING, "balanced_accuracy"),
        ("balanced_accuracy", HARM, "none"),
        ("f1_macro", HARM, "f1_macro"),
        ("f1_macro", HELP, "balanced_accuracy"),
        ("f1_macro", None, "f1_macro"),
    ],
)
def test_the_config_has_them_with_evidence_alone(given: str, found: ThresholdChoice | None, expected: str) -> None:
    config = load_config(find_config("my_images"), ("dataset.path=none", f"head.thresholds={given}")).config
    setting = PassSetting("efficientnet_lite0", (224, 224), "squash")
    winner = config_of_winner(config, setting, replace(HEAD, layers=("last",)), ("stage1", "last"), found)
    assert winner.head.thresholds == expected
    result = replace(outcome(), thresholds=found)
    why = reasons(result, given != "none")
    assert ("head.thresholds" in why) == (found is not None and (found.helps or given != "none"))
    written = tuned_yaml(winner, [], why)
    assert ("thresholds:" in written) == (expected != "none" or "head.thresholds" in why)


def test_three_answers_are_told_apart() -> None:
    told = {TuneText(replace(outcome(), thresholds=one)).thresholds[:22] for one in (HELP, NOTHING, HARM)}
    assert len(told) == 3
    assert not TuneText(outcome()).thresholds
