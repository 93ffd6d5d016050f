"""From the scores of a search to its outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from tlcli.tuning.outcome import Contender, Outcome, PassCost, TriedPass
from tlcli.tuning.search import HeadScores, Search
from tlcli.tuning.selection import expected_of, importance, interval_of, score_interval
from tlcli.tuning.settings import HeadSetting, PassSetting

if TYPE_CHECKING:
    from numpy.typing import NDArray


def outcome_of(
    search: Search, scored: Mapping[PassSetting, HeadScores], costs: Mapping[PassSetting, PassCost],
    tried: Sequence[TriedPass], given: tuple[PassSetting, HeadSetting] | None, trials: int, resumed: int,
) -> Outcome:  # fmt: skip
    """Ranks what was tried.

    Args:
        search: the search, at its end.
        scored: heads of the passes that all images took; at least one.
        costs: of these passes.
        tried: how far the passes came.
        given: what the config says; among ``scored``, or None.
        trials: number of all trials.
        resumed: number of those that were known before.
    """
    folds = search.folds
    outer = list(folds.outer)
    pairs = [(setting, head) for setting, heads in scored.items() for head in heads]
    scores = np.stack([scored[setting][head] for setting, head in pairs])  # [S, F]
    means = scores[:, outer].mean(axis=1)
    scored_by_all = np.flatnonzero(np.isfinite(means)).tolist()  # not those of a sampler on inner folds
    order = sorted(scored_by_all, key=lambda number: (-means[number], number))
    best = scores[order[0]][outer]

    def contender(number: int) -> Contender:
        own, (setting, head) = scores[number][outer], pairs[number]
        behind = (0.0, 0.0) if number == order[0] else interval_of(best - own, folds.test_share)
        return Contender(setting, head, costs[setting], own, score_interval(own, folds.test_share), behind)

    leaders: dict[tuple[object, ...], int] = {}
    for number in order:
        setting, head = pairs[number]
        leaders.setdefault((setting, head.kind, head.layers), number)
    first = min((one.images for one in tried if one.images), default=0)
    compared = _on_first_sample(search, tried, first)
    return Outcome(
        metric=search.metric,
        images=len(search.images.all),
        passes=tuple(sorted(tried, key=lambda one: (-one.images, -(one.score or 0.0)))),
        contenders=tuple(contender(number) for number in leaders.values()),
        given=contender(pairs.index(given)) if given in pairs else None,
        expected=expected_of(scores, folds),
        importance=_importance(pairs, means),
        input_importance=importance(
            [asdict(setting) for setting in compared], [*compared.values()]
        ),
        trials=trials,
        resumed=resumed,
        ending="budget" if search.clock.is_cut else "exhausted",
        seconds=search.clock.seconds,
        no_minibatch=search.no_minibatch,
    )  # fmt: skip


def _on_first_sample(search: Search, tried: Sequence[TriedPass], images: int) -> dict[PassSetting, float]:
    """Mean scores of all passes on the smallest sample, those that went on included."""
    found = dict[PassSetting, float]()
    for one in tried:
        if known := search.trials.get({"stage": "pass", "pass": asdict(one.setting), "images": images}):
            found[one.setting] = float(np.mean(known.scores))
    return found


def _importance(
    pairs: Sequence[tuple[PassSetting, HeadSetting]], means: "NDArray[np.float64]"
) -> dict[str, float]:  # fmt: skip
    """Of a linear head's settings, on the pass that has most of them: the others were tried on fewer."""
    linear = [number for number, (_, head) in enumerate(pairs) if head.kind == "logistic_regression"]
    counts: dict[PassSetting, int] = {}
    for number in linear:
        counts[pairs[number][0]] = counts.get(pairs[number][0], 0) + 1
    if not counts:
        return {}
    most = max(counts, key=lambda setting: counts[setting])
    chosen = [number for number in linear if pairs[number][0] == most]
    values = [
        {"layers": head.layers, "pooling": head.pooling, "standardize": head.standardize,
         "class weight": head.class_weight, "C": head.C}
        for head in (pairs[number][1] for number in chosen)
    ]  # fmt: skip
    return importance(values, [float(means[number]) for number in chosen])
