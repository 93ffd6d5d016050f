"""From the scores of a search to its outcome."""

from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from tests.reports.tune_sample import outcome, with_answers, with_fine_tuning

from tlcli.reports.tune_text import reasons
from tlcli.tuning.leaderboard import outcome_of
from tlcli.tuning.outcome import PassCost, TriedPass
from tlcli.tuning.settings import HeadSetting, PassSetting


class Known:
    """Trials of passes, by backbone and number of images."""

    def __init__(self, scores: dict[tuple[str, int], float]) -> None:
        self._scores = scores

    def get(self, what: dict[str, Any]) -> SimpleNamespace | None:
        score = self._scores.get((what["pass"]["backbone"], what["images"]))
        return None if score is None or what["stage"] != "pass" else SimpleNamespace(scores=(score, score))


def test_what_mattered_of_passes_is_told_from_all_on_the_smallest_sample() -> None:
    """The losers differ in size alone, and so do not tell that the network matters."""
    cost, folds = PassCost(1.0, 1.0), SimpleNamespace(outer=(0, 1), inner=(), test_share=0.5)
    small, large = (PassSetting("a", (side, side), "crop") for side in (32, 64))
    winner = PassSetting("b", (32, 32), "crop")
    known = Known({("a", 200): 0.5, ("b", 200): 0.9, ("b", 600): 0.95})
    tried = [TriedPass(one, cost, 200, np.array([0.5, 0.5]), "behind") for one in (small, large)]
    tried.append(TriedPass(winner, cost, 600, np.array([0.95, 0.95])))
    search: Any = SimpleNamespace(
        folds=folds, trials=known, metric="accuracy", images=SimpleNamespace(all=range(600)),
        clock=SimpleNamespace(is_cut=False, seconds=1.0), no_minibatch=None,
    )  # fmt: skip
    head = HeadSetting("logistic_regression", ("last",), "avg", True, "none", 1.0)
    scored = {winner: {head: np.array([0.9, 1.0])}}
    found = outcome_of(search, scored, {winner: cost}, tried, None, 3, 0)
    assert found.input_importance["backbone"] == 1.0
    assert asdict(winner)["backbone"] == "b"


def test_every_setting_of_tuned_yaml_has_a_reason() -> None:
    linear = reasons(outcome())
    assert {"backbone.pooling", "head.standardize", "head.class_weight", "head.Cs", "augment.views"} <= set(linear)
    best = outcome().best
    kernel = replace(best, head=replace(best.head, kind="kernel", gamma=0.5))
    found = reasons(replace(outcome(), contenders=(kernel, *outcome().contenders[1:])))
    assert "head.Cs" not in found
    assert found["head.fit"].startswith("kernel")
    assert found["head.fit"] != linear["head.fit"]
    tuned = reasons(with_fine_tuning(with_answers(outcome())))
    assert {"finetune.keep", "head.fit", "head.Cs", "backbone.layers"} <= set(tuned)
    assert "head.thresholds" not in tuned  # those that help were those of the frozen winner
