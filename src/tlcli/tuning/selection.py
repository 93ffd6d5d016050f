"""What the scores of a search say: the best, those that are no worse, what the best may expect, and what mattered.

Shapes: S settings, F folds, J outer folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.evaluation.intervals import corrected_resampled_t
from tlcli.tuning.head_search import NestedFolds

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Expected:
    """What a search promises, and what it can be expected to keep."""

    shown: float
    """Mean score of the best setting on the outer folds, which it was chosen by."""
    expected: float
    """Mean score on the outer folds of the settings that the inner folds chose, without them."""
    interval: tuple[float, float]
    """95 %, of ``expected``"""
    chosen: tuple[int, ...]
    """[J], the setting that the inner folds of each outer one chose"""

    @property
    def optimism(self) -> float:
        """How much the choice flatters its own score."""
        return self.shown - self.expected


def interval_of(scores: "NDArray[np.float64]", test_share: float) -> tuple[float, float]:
    """95 % interval of a mean over folds [J], or of differences, corrected for overlapping training folds."""
    if len(scores) < 2 or np.ptp(scores) == 0:
        return float(scores.mean()), float(scores.mean())
    return corrected_resampled_t(scores, test_share)


def score_interval(scores: "NDArray[np.float64]", test_share: float) -> tuple[float, float]:
    """The same of scores [J], which are at most 1, or, of a negated loss, at most 0."""
    low, high = interval_of(scores, test_share)
    return low, min(high, 1.0 if scores.max() > 0 else 0.0)


def expected_of(scores: "NDArray[np.float64]", folds: NestedFolds) -> Expected | None:
    """What the best of all settings may expect, by nested cross-validation (Varma and Simon 2006).

    Args:
        scores: [S, F]; NaN where a setting was not scored on a fold, so that this fold's choice does not know it: what
            a sampler learned from some folds is scored on these only.
        folds: F folds; None is returned where they are not nested, or no setting was scored on all inner folds of one.
    """
    if not folds.inner:
        return None

    def best_of(within: Sequence[int]) -> int:
        return int(np.nan_to_num(scores[:, within].mean(axis=1), nan=-np.inf).argmax())

    if not all(np.isfinite(scores[:, within].mean(axis=1)).any() for within in folds.inner):
        return None
    best, chosen = best_of(folds.outer), tuple(map(best_of, folds.inner))
    kept = np.array([scores[setting, fold] for setting, fold in zip(chosen, folds.outer, strict=True)])
    shown = float(scores[best, folds.outer].mean())
    return Expected(shown, float(kept.mean()), score_interval(kept, folds.test_share), chosen)


def no_worse(scores: "NDArray[np.float64]", test_share: float) -> "NDArray[np.bool_]":
    """[S]: settings whose paired difference from the best, on the same folds [S, J], could be 0 (95 % interval)."""
    best = scores[scores.mean(axis=1).argmax()]
    return np.array([interval_of(best - one, test_share)[0] <= 0 for one in scores])


def survivors(
    scores: "Mapping[int, NDArray[np.float64]]", test_share: float, least: int, most: int
) -> list[int]:  # fmt: skip
    """The passes that go on, the best first: a third of them, and those that could be as good, within limits.

    Args:
        scores: of each pass, on the same folds [J].
        test_share: of the folds.
        least: number that go on.
        most: number that go on at most.
    """
    ranked = sorted(scores, key=lambda number: (-float(scores[number].mean()), number))
    equal = no_worse(np.stack([scores[number] for number in ranked]), test_share)
    wanted = max(least, -(-len(ranked) // 3))
    kept = ranked[:wanted] + [number for number, same in list(zip(ranked, equal, strict=True))[wanted:] if same]
    return kept[: max(most, least)]


def importance(values: Sequence[Mapping[str, object]], scores: Sequence[float]) -> dict[str, float]:
    """How much of the variance of the scores each setting's value explains alone (main effects of an analysis of
    variance), the largest first; 0 for one with a single value.

    Args:
        values: of each trial, the value of each setting by name.
        scores: of each trial.
    """
    found, of_all = {}, np.asarray(scores, np.float64)
    total = float(np.sum((of_all - of_all.mean()) ** 2)) if len(of_all) else 0.0
    for name in values[0] if values else ():
        groups: dict[object, list[float]] = {}
        for one, score in zip(values, of_all, strict=True):
            groups.setdefault(one[name], []).append(float(score))
        between = sum(len(group) * (float(np.mean(group)) - float(of_all.mean())) ** 2 for group in groups.values())
        found[name] = between / total if total > 0 else 0.0
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))
