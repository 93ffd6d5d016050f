"""Scores many heads on the folds of a nested cross-validation.

The outer folds tell how good each head is; the inner ones, which divide what an outer fold is fitted on, how good the
choice of the best is (:mod:`tlcli.tuning.selection`). All folds of a head are solved at once, and heads that differ
only in C one after the other, each from the solution of the last.

Shapes: N images, L classes, F folds, D features.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from tlcli.backbones.blocks import Blocks
from tlcli.features.rows import Rows
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
    rows: Rows, blocks: Blocks, folds: NestedFolds, settings: Sequence[HeadSetting], score: Score, seed: int = 0
) -> Iterator[tuple[HeadSetting, "NDArray[np.float64]"]]:
    """Yields each head with its scores on the held-out rows of all folds [F]; heads of one group follow one another.

    Args:
        rows: features of all blocks of a pass, with augmented views behind the plain rows where there are some.
        blocks: of the features.
        folds: of the rows.
        settings: the heads.
        score: computes the figure.
        seed: of a kernel's landmarks.
    """
    groups: dict[HeadSetting, list[HeadSetting]] = {}
    for setting in settings:
        groups.setdefault(setting.group, []).append(setting)
    features = rows.features()
    rows = rows.with_features(features)
    bases: dict[HeadSetting, list[HeadSetting]] = {}
    for group in groups:
        bases.setdefault(replace(group, class_weight="none"), []).append(group)
    # Side by side in threads, each with one thread for its products: these are too small to be divided.
    with threadpool_limits(1), ThreadPoolExecutor(threads()) as pool:

        def work(base: HeadSetting) -> list[tuple[HeadSetting, "NDArray[np.float64]"]]:
            fits = _prepared(rows, blocks, folds, base, seed)
            return [
                pair for group in bases[base]
                for pair in _path(replace(fits, class_weight=group.class_weight), groups[group], score)
            ]  # fmt: skip

        waiting = list(bases)
        running = [pool.submit(work, base) for base in waiting[: threads() + 1]]
        for number in range(len(waiting)):
            found = running[number].result()
            if number + len(running[number:]) < len(waiting):
                running.append(pool.submit(work, waiting[len(running)]))
            yield from found


def _prepared(rows: Rows, blocks: Blocks, folds: NestedFolds, base: HeadSetting, seed: int) -> FoldFits:
    """The rows as the heads of a group take them."""
    part = rows.of_blocks(blocks_of_setting(base, blocks))
    if base.kind == "kernel":
        gamma = base.gamma or 1.0
        ((_, expansion),) = expansions(part, LANDMARKS, len(folds.outer), base.standardize, seed, (gamma,))
        expanded = expansion.rows(part)
        return FoldFits.of(expanded, folds.all, Standardizer.of(expanded, False), False, base.class_weight)
    standardizer = Standardizer.of(part, base.standardize)
    standardized = part.with_features(standardizer.apply(part.features()))
    return FoldFits.of(standardized, folds.all, standardizer, base.standardize, base.class_weight)


def _path(
    fits: FoldFits, settings: Sequence[HeadSetting], score: Score
) -> Iterator[tuple[HeadSetting, "NDArray[np.float64]"]]:
    solutions: list[Solution] | None = None
    for setting in sorted(settings, key=lambda one: one.C):
        solutions = fits.solve(setting.C, solutions)
        yield setting, _scores(fits, solutions, score)


def _scores(fits: FoldFits, solutions: Sequence[Solution], score: Score) -> "NDArray[np.float64]":
    features, labels = fits.rows.features(), fits.rows.labels
    found = []
    for one, (_, held) in zip(solutions, fits.folds, strict=True):
        probabilities = Head(one.weights[:, 0], one.bias[0]).probabilities(features[held])
        found.append(score(labels[held], probabilities))
    return np.array(found)
