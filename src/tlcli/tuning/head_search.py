"""Scores many heads on the folds of a nested cross-validation.

The outer folds tell how good each head is; the inner ones, which divide what an outer fold is fitted on, how good the
choice of the best is (:mod:`tlcli.tuning.selection`). All folds of a head are solved at once, and heads that differ
only in C one after the other, each from the solution of the last.

Shapes: N images, L classes, F folds, D features.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from tlcli.backbones.blocks import Blocks
from tlcli.features.rows import Rows
from tlcli.heads.class_weight import ClassWeight
from tlcli.heads.fold_fits import FoldFits
from tlcli.heads.folds import Folds, folds_of
from tlcli.heads.head import Head
from tlcli.heads.kernel import expansions
from tlcli.heads.solver import Solution
from tlcli.heads.standardize import Standardizer
from tlcli.system.cpu import threads
from tlcli.tuning.settings import HeadSetting, blocks_of_setting

if TYPE_CHECKING:
    from numpy.typing import NDArray

Score = Callable[["NDArray[np.int64]", "NDArray[np.float64]"], float]
"""Labels [n] and probabilities [n, L] -> a figure, of which more is better."""
LANDMARKS = 1000
"""Of a kernel, at most."""
_RISING = 2
"""Values of C in a row with a rising loss, after which larger ones are not tried where the score is lower, too."""
_LEAST = 1e-12
"""Of a probability, for its logarithm."""
Scored = tuple[HeadSetting, "NDArray[np.float64]"]


@dataclass(frozen=True)
class NestedFolds:
    """Folds of the rows, and of the rows that each of them is fitted on."""

    all: Folds
    """The outer ones first."""
    outer: tuple[int, ...]
    """Numbers of folds."""
    inner: tuple[tuple[int, ...], ...]
    """Numbers of the folds within the fitted rows of each outer one; empty without."""

    @classmethod
    def of(cls, rows: Rows, outer: int, inner: int, seed: int) -> "NestedFolds":
        """Divides rows; whole units, stratified.

        Args:
            rows: plain rows [N].
            outer: number of folds.
            inner: number of folds within each; 0 for none.
            seed: of the divisions.

        Raises:
            DataError: a class has only one unit, or the groups cannot be divided.
        """
        folds: Folds = list(folds_of(rows, outer, seed))
        count, within = len(folds), []
        for number in range(count if inner else 0):
            fitted = folds[number][0]
            part = replace(rows, labels=rows.labels[fitted], units=rows.units[fitted])
            divided = [(fitted[kept], fitted[held]) for kept, held in folds_of(part, inner, seed + 1 + number)]
            within.append(tuple(range(len(folds), len(folds) + len(divided))))
            folds += divided
        return cls(folds, tuple(range(count)), tuple(within))

    def with_views(self, rows: int, views: int) -> "NestedFolds":
        """The same folds of rows that are followed by their augmented views, which are fitted on and never held out.

        Args:
            rows: N.
            views: how many times the rows follow, view after view.
        """
        more = np.arange(views + 1)[:, None] * rows
        folds = [((fitted + more).ravel(), held) for fitted, held in self.all]
        return replace(self, all=folds)

    @property
    def test_share(self) -> float:
        """Share of the rows that an outer fold holds out."""
        pairs = [self.all[number] for number in self.outer]
        return float(np.mean([len(held) / (len(held) + len(fitted)) for fitted, held in pairs]))


def score_heads(
    rows: Rows,
    blocks: Blocks,
    folds: NestedFolds,
    settings: Sequence[HeadSetting],
    score: Score,
    seed: int = 0,
    class_weights: Mapping[str, ClassWeight] | None = None,
    exhaustive: bool = False,
) -> "Iterator[Scored]":
    """Yields heads with their scores on the held-out rows of all folds [F]; heads of one group follow one another.
    Values of C that are clearly too large are left out.

    Args:
        rows: features of all blocks of a pass, with augmented views behind the plain rows where there are some.
        blocks: of the features.
        folds: of the rows.
        settings: the heads.
        score: computes the figure.
        seed: of a kernel's landmarks.
        class_weights: what the settings' class weights stand for, where they are no words of their own.
        exhaustive: leave no value of C out.
    """
    for _, of_group in score_groups(rows, blocks, folds, settings, score, seed, class_weights, exhaustive):
        yield from of_group


def score_groups(
    rows: Rows,
    blocks: Blocks,
    folds: NestedFolds,
    settings: Sequence[HeadSetting],
    score: Score,
    seed: int = 0,
    class_weights: Mapping[str, ClassWeight] | None = None,
    exhaustive: bool = False,
) -> "Iterator[tuple[HeadSetting, list[Scored]]]":
    """As :func:`score_heads`, group after group: yields what heads that differ in C only have in common, and the heads.
    Whoever stops after a group waits for those that are being fitted, one a processor."""
    weights, groups = class_weights or {}, dict[HeadSetting, dict[HeadSetting, list[HeadSetting]]]()
    for setting in settings:
        base = replace(setting.group, class_weight="")
        groups.setdefault(base, {}).setdefault(setting.group, []).append(setting)
    rows = rows.with_features(rows.features())

    stopped = Event()

    def work(base: HeadSetting) -> "list[tuple[HeadSetting, list[Scored]]]":
        """All groups that take the same rows."""
        fits, found = _prepared(rows, blocks, folds, base, seed), []
        for group, of_group in groups[base].items():
            if stopped.is_set():
                break
            weighted = replace(fits, class_weight=weights.get(group.class_weight, group.class_weight))
            found.append((group, _path(weighted, of_group, score, exhaustive)))
        return found

    # Side by side in threads, each with one thread for its products: these are too small to be divided.
    with threadpool_limits(1), ThreadPoolExecutor(threads()) as pool:
        running: deque[Future[list[tuple[HeadSetting, list[Scored]]]]] = deque()
        try:
            for base in groups:
                running.append(pool.submit(work, base))
                if len(running) > threads():
                    yield from running.popleft().result()
            while running:
                yield from running.popleft().result()
        finally:
            stopped.set()
            for one in running:
                one.cancel()


def held_out_probabilities(
    rows: Rows, blocks: Blocks, folds: NestedFolds, setting: HeadSetting, seed: int = 0,
    class_weights: Mapping[str, ClassWeight] | None = None,
) -> "list[NDArray[np.float64]]":  # fmt: skip
    """The probabilities of the rows that each of all folds holds out [n, L], by the head that is fitted on the others.

    Args:
        rows: as in :func:`score_heads`, and so the others.
        blocks: of the features.
        folds: of the rows.
        setting: the head.
        seed: of a kernel's landmarks.
        class_weights: what the setting's class weight stands for, where it is no word of its own.
    """
    rows = rows.with_features(rows.features())
    with threadpool_limits(1):
        fits = _prepared(rows, blocks, folds, replace(setting.group, class_weight=""), seed)
        weight = (class_weights or {}).get(setting.class_weight, setting.class_weight)
        solutions = replace(fits, class_weight=weight).solve(setting.C)
        features = fits.rows.features()
        return [
            Head(one.weights[:, 0], one.bias[0]).probabilities(features[held])
            for one, (_, held) in zip(solutions, fits.folds, strict=True)
        ]


def _prepared(rows: Rows, blocks: Blocks, folds: NestedFolds, base: HeadSetting, seed: int) -> FoldFits:
    """The rows as the heads of some groups take them."""
    part = rows.of_blocks(blocks_of_setting(base, blocks))
    if base.kind == "kernel":
        gamma = base.gamma or 1.0
        ((_, expansion),) = expansions(part, LANDMARKS, len(folds.outer), base.standardize, seed, (gamma,))
        part = expansion.rows(part)
    else:
        part = part.with_features(Standardizer.of(part, base.standardize).apply(part.features()))
    return FoldFits.turned(part, folds.all, base.class_weight)


def _path(fits: FoldFits, settings: Sequence[HeadSetting], score: Score, exhaustive: bool) -> "list[Scored]":
    """All values of C from the smallest, until they are clearly too large."""
    found: list[Scored] = []
    solutions: list[Solution] | None = None
    least, rising = np.inf, 0
    for setting in sorted(settings, key=lambda one: one.C):
        solutions = fits.solve(setting.C, solutions)
        losses, scores = _scores(fits, solutions, score)
        found.append((setting, scores))
        rising = rising + 1 if losses.mean() > least else 0
        least = min(least, float(losses.mean()))
        best = max(found, key=lambda one: float(one[1].mean()))[1]
        if (
            not exhaustive
            and rising >= _RISING
            and float((best - scores).mean()) > float((best - scores).std()) / len(scores) ** 0.5
        ):
            break
    return found


def _scores(
    fits: FoldFits, solutions: Sequence[Solution], score: Score
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Log losses and scores of all folds on the rows that they hold out."""
    features, labels = fits.rows.features(), fits.rows.labels
    losses, found = [], []
    for one, (_, held) in zip(solutions, fits.folds, strict=True):
        probabilities = Head(one.weights[:, 0], one.bias[0]).probabilities(features[held])
        truth = labels[held]
        losses.append(-np.log(np.maximum(probabilities[np.arange(len(held)), truth], _LEAST)).mean())
        found.append(score(truth, probabilities))
    return np.array(losses), np.array(found)
