"""What is tried once the best is known: augmented views of its images, and thresholds of its answers.

Shapes: N images, n held-out images, L classes, J outer folds.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from tlcli.evaluation.objectives import Objective
from tlcli.heads.minibatch_folds import Minibatch
from tlcli.tuning.candidates import Candidate
from tlcli.tuning.head_search import held_out_probabilities
from tlcli.tuning.sampled_heads import SampledFits
from tlcli.tuning.sampled_search import standardized
from tlcli.tuning.search import FOR_HEADS, HeadScores, Search
from tlcli.tuning.settings import AUGMENTATIONS, HeadSetting, PassSetting
from tlcli.tuning.threshold_choice import ThresholdChoice, threshold_choice, threshold_scores
from tlcli.tuning.trial_log import head_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BEST_HEADS = 5
"""Heads that are tried on augmented views."""


def try_augmented(
    search: Search, scored: Mapping[PassSetting, HeadScores], candidate_of: Callable[[PassSetting], Candidate]
) -> dict[PassSetting, HeadScores]:
    """Scores the best linear heads on augmented views of the best pass.

    Args:
        search: the search.
        scored: the heads of the passes without augmentation.
        candidate_of: makes a candidate.
    """
    outer, found = list(search.folds.outer), dict[PassSetting, HeadScores]()

    def mean(setting: PassSetting, head: HeadSetting) -> float:
        return float(scored[setting][head][outer].mean())

    winner = max(scored, key=lambda one: max(mean(one, head) for head in scored[one]))
    linear = [head for head in scored[winner] if head.kind == "logistic_regression"]
    heads = sorted(linear, key=lambda head: -mean(winner, head))[:_BEST_HEADS]
    for name in [*AUGMENTATIONS][1:]:
        candidate = candidate_of(replace(winner, augmentation=name))
        is_known = search.trials.get(head_key(candidate, heads[0])) if heads else None
        if not is_known and search.too_slow(candidate, np.arange(len(search.images.all)), FOR_HEADS):
            search.clock.is_cut = True
        elif tried := search.heads(candidate, heads):
            found[candidate.setting] = tried
    return found


def thresholds(search: Search, candidate: Candidate, head: HeadSetting, objective: Objective) -> ThresholdChoice | None:
    """Whether thresholds improve a head's answers; None where the metric does not depend on them, the folds are not
    nested, the budget is spent, or the head is a mini-batch one, whose inner folds are scored for the choice of its
    settings alone.

    Args:
        search: the search.
        candidate: the pass of the head, which all images took.
        head: whose folds are fitted again, unless the answer is known.
        objective: the metric.
    """
    if head.minibatch or not objective.is_of_decisions or not search.folds.inner:
        return None
    if objective.precision is not None and len(search.images.labels) > 2:  # a recall of the second of two classes
        return None
    what, started = head_key(candidate, head) | {"stage": "thresholds"}, monotonic()
    known = search.trials.get(what)
    if known is None:
        if not search.clock.allows(0, 1):
            search.clock.is_cut = True
            return None
        with search.progress.stage("Choosing thresholds"):
            rows, folds = search.divided_rows(candidate, np.arange(len(search.images.all)))
            probabilities = held_out_probabilities(
                rows, candidate.blocks, folds, head, search.images.seed, search.class_weights
            )
            scores = threshold_scores(rows.labels, folds, probabilities, objective)
        known = search.trials.add(what, tuple(map(float, scores.ravel())), monotonic() - started)
    return threshold_choice(objective, np.array(known.scores).reshape(2, -1), search.folds.test_share)


def outer_probabilities(
    search: Search, candidate: Candidate, head: HeadSetting, how: Minibatch
) -> "list[NDArray[np.float64]]":
    """The probabilities of the images that each outer fold holds out [n, L], by the head that is fitted on the others.

    Args:
        search: the search.
        candidate: the pass of the head, which all images took.
        head: of any kind.
        how: what a mini-batch head's setting does not say.
    """
    weight = search.class_weights.get(head.class_weight, head.class_weight)
    if head.minibatch:
        rows, seed = standardized(search, candidate), search.images.seed
        fits = SampledFits(rows, search.folds, candidate.blocks, how, search.score, seed)
        return fits.probabilities(head, weight, search.folds.outer)
    rows_of_all, folds = search.divided_rows(candidate, np.arange(len(search.images.all)))
    outer = replace(folds, all=[folds.all[number] for number in folds.outer], inner=())
    return held_out_probabilities(
        rows_of_all, candidate.blocks, outer, head, search.images.seed, search.class_weights
    )  # fmt: skip
