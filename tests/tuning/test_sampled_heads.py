"""Mini-batch heads whose settings a sampler chooses."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from tests.tuning.test_head_search import BLOCKS, clouds

from tlcli.evaluation.objectives import Objective
from tlcli.features.rows import Rows
from tlcli.heads.minibatch_folds import Minibatch
from tlcli.tuning.head_search import NestedFolds
from tlcli.tuning.sampled_heads import SampledFits, Study
from tlcli.tuning.selection import expected_of
from tlcli.tuning.settings import HeadSetting, MinibatchSetting

pytest.importorskip("optuna")

FIRST = MinibatchSetting("adam", 0.003, 48, 0.1)
HOW = Minibatch(5, 32, "adam", 0.001, None, 2, 0.0)


def as_is(rows: Rows) -> Rows:
    return rows


def studies(folds: NestedFolds) -> list[Study]:
    return Study.all(folds, BLOCKS, ("none", "balanced"), FIRST, 3)


def test_studies_that_are_told_the_same_ask_for_the_same() -> None:
    folds = NestedFolds.of(clouds(60), 3, 3, 0)

    def asked() -> list[HeadSetting]:
        found, study = [], studies(folds)[1]
        for number in range(14):  # the first ten are random
            trial, head = study.ask()
            study.tell(trial, np.full(len(folds.all), np.nan if number == 4 else number % 5))
            found.append(head)
        return found

    first = asked()
    assert first == asked()
    assert first[0].minibatch == FIRST
    assert len(set(first)) == len(first)


def test_a_study_within_an_outer_fold_never_learns_of_what_that_fold_holds_out() -> None:
    folds = NestedFolds.of(clouds(60), 3, 3, 0)
    for outer, study in zip(folds.outer, studies(folds)[1:], strict=True):
        held = set(folds.all[outer][1].tolist())
        assert study.measured == (*study.folds, outer)
        for number in study.folds:
            assert held.isdisjoint(np.concatenate(folds.all[number]).tolist())


def test_a_setting_is_scored_on_its_folds_alone_and_on_rows_that_training_never_saw() -> None:
    rows = clouds(120)
    folds = NestedFolds.of(rows, 3, 3, 0)
    head = HeadSetting("minibatch", ("stage1", "last"), "avg_max", True, "none", 0.0, None, FIRST)

    def scores(given: np.ndarray) -> np.ndarray:
        changed = rows.with_features(given)
        fits = SampledFits(lambda: changed, folds, BLOCKS, HOW, Objective.parse("log_loss").score, 0)
        return fits.scores(head, "none", (0,))

    features = rows.features()
    found = scores(features)
    assert np.isfinite(found[0])
    assert np.isnan(found[1:]).all()
    seen: list[np.ndarray] = []

    def kept(_labels: np.ndarray, probabilities: np.ndarray) -> float:
        seen.append(probabilities)
        return 0.0

    for number in range(2):  # another held-out row changes its own probabilities and no other's
        one = features.copy()
        one[folds.all[0][1][0]] += 9 * number
        changed = rows.with_features(one)
        SampledFits(partial(as_is, changed), folds, BLOCKS, HOW, kept, 0).scores(head, "none", (0,))
    np.testing.assert_array_equal(seen[0][1:], seen[1][1:])
    assert not np.array_equal(seen[0][0], seen[1][0])


def test_what_diverges_has_no_score() -> None:
    rows = clouds(60)
    folds = NestedFolds.of(rows, 3, 0, 0)
    wild = MinibatchSetting("sgd", 1e39, 32, 0.0)
    head = HeadSetting("minibatch", ("last",), "avg_max", True, "none", 0.0, None, wild)
    to_the_end = replace(HOW, early_stopping=None, epochs=9)
    fits = SampledFits(lambda: rows, folds, BLOCKS, to_the_end, Objective.parse("accuracy").score, 0)
    assert np.isnan(fits.scores(head, "none", (0, 1, 2))).all()


def test_a_choice_knows_only_what_was_scored_on_its_folds() -> None:
    folds = NestedFolds.of(clouds(60), 2, 2, 0)  # outer 0 and 1, then two inner folds of each
    nan = np.nan
    scores = np.array([
        [0.6, 0.6, 0.6, 0.6, 0.6, 0.6],
        [0.9, 0.9, nan, nan, nan, nan],
        [0.7, nan, 0.8, 0.8, nan, nan],
        [nan, 0.5, nan, nan, 0.9, 0.9],
    ])  # fmt: skip
    found = expected_of(scores, folds)
    assert found
    assert found.chosen == (2, 3)
    assert found.shown == 0.9
    assert found.expected == pytest.approx(0.6)
