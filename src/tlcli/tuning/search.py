"""The search: passes by successive halving on growing samples, then all heads on those that all images took.

A search that is ended and begun again with the same trials takes the same decisions, as long as time allows all of
them: they depend on scores and measured costs, which the trials keep.

Shapes: N images, F folds, J outer folds.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from tlcli.errors import DataError
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.features.store import row_key
from tlcli.heads.class_weight import ClassWeight
from tlcli.heads.many_units import MANY_UNITS
from tlcli.heads.task import Task
from tlcli.images.augmentation import PLAIN
from tlcli.progress import SILENT, Progress
from tlcli.system.cpu import threads
from tlcli.tuning.candidates import FOLDS, Candidate, Images
from tlcli.tuning.clock import Clock, Pace
from tlcli.tuning.head_search import NestedFolds, Score, score_groups, score_heads
from tlcli.tuning.outcome import NoMinibatch, TriedPass
from tlcli.tuning.selection import score_interval, survivors
from tlcli.tuning.settings import (
    CLASS_WEIGHTS,
    HeadSetting,
    PassSetting,
    all_heads,
    coarse_heads,
)
from tlcli.tuning.trial_log import TrialLog, group_key, head_key, pass_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIRST, _OF_CLASS, _GROWTH = 200, 10, 3
"""Images of the smallest sample, of each class at least; and by how much the samples grow."""
_FINALISTS = 3
"""Passes whose heads are all tried, at most."""
FOR_PASSES, FOR_HEADS = 0.6, 0.95
"""Shares of the budget after which no more passes, and no more heads, are started."""
HeadScores = dict[HeadSetting, "NDArray[np.float64]"]
"""Of each head its scores on all folds [F]."""


@dataclass
class Search:
    """Scores passes and heads on the same folds of the same images."""

    images: Images
    score: Score
    metric: str
    trials: TrialLog
    clock: Clock
    progress: Progress = SILENT
    class_weights: Mapping[str, ClassWeight] = field(default_factory=dict)
    """What class weights stand for that are no words of their own; tried beside these."""
    reference: PassSetting | None = None
    """The pass that all images took before the search, by which near duplicates were found: it costs nothing more, so
    that there is always time for it. None: there was none."""
    pace: Pace = field(default_factory=Pace)
    """What was measured so far"""
    no_minibatch: "NoMinibatch | None" = None
    """Why mini-batch heads were left out, if not for want of time"""
    _folds: dict[int, NestedFolds] = field(default_factory=dict)

    @property
    def folds(self) -> NestedFolds:
        """Of all images."""
        return self._folds_of(np.arange(len(self.images.all)))

    def rows_of(self, extractor: FeatureExtractor) -> Rows:
        """The features of all images without augmentation [N], with the units of the search; what the store lacks is
        computed."""
        extractor.extract([(self.images.all, (PLAIN,))], self.progress)
        rows, divided = extractor.rows(self.images.all, self.images.labels), self.images.rows
        return replace(rows, labels=divided.labels, units=divided.units)

    def halve(self, candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[TriedPass]]:
        """Compares passes on growing samples; those that are clearly worse go no further.

        Args:
            candidates: the first is what the others are compared with: it goes along as long as there is time for it,
                and so does :attr:`reference`.

        Returns:
            The passes that all images took, the best first, and how far each came.
        """
        given, going, tried = candidates[0], list(candidates), list[TriedPass]()
        last = {one.setting: (0, np.empty(0)) for one in going}  # images that it took, and its scores on them
        always = {given.setting, self.reference or given.setting}
        for count in _samples(len(self.images.all), len(self.images.labels), len(going)):
            numbers = self.images.sample(count)
            is_last = len(numbers) == len(self.images.all)
            scores: dict[int, NDArray[np.float64]] = {}
            with self.progress.stage(f"Comparing passes on {len(numbers):,} images", len(going), "passes"):
                for place, one in enumerate(going):
                    if why := self.too_slow(one, numbers):
                        tried.append(TriedPass(one.setting, one.cost, *last[one.setting], why))
                        self.clock.is_cut = True
                    else:
                        scores[place] = self._pass_scores(one, numbers)
                        last[one.setting] = len(numbers), scores[place]
                    self.progress.advance()
            ranked = sorted(scores, key=lambda place: (-float(scores[place].mean()), place))
            share = self._folds_of(numbers).test_share
            kept = ranked if is_last else survivors(scores, share, 2, max(2, len(scores) // 2))
            kept += [place for place in scores if going[place].setting in always and place not in kept]
            done = f"{len(numbers):,} images, {len(ranked)} passes, {len(kept)} go on"
            self._note(done, going[ranked[0]].name, scores[ranked[0]], share)
            for place in ranked:
                if is_last or place not in kept:
                    why = "" if is_last else f"behind others after {len(numbers):,} images"
                    tried.append(TriedPass(going[place].setting, going[place].cost, len(numbers), scores[place], why))
            if is_last:
                return [going[place] for place in ranked[:_FINALISTS]], tried
            going = sorted((going[place] for place in kept), key=lambda one: one is not given)
        raise AssertionError("the last sample is all images")

    def heads(
        self, candidate: Candidate, only: Sequence[HeadSetting] | None = None, is_needed: bool = False
    ) -> HeadScores:  # fmt: skip
        """Scores all heads, or these, on a pass of all images; those that are known are not fitted again.

        Args:
            candidate: the pass.
            only: these heads.
            is_needed: some are scored even where the budget is spent.
        """
        groups: dict[HeadSetting, list[HeadSetting]] = {}
        for setting in self._all_heads(candidate) if only is None else only:
            groups.setdefault(setting.group, []).append(setting)
        found, missing = HeadScores(), dict[HeadSetting, list[HeadSetting]]()
        seconds, bases = 0.0, set[HeadSetting]()
        for group, settings in groups.items():
            if self.trials.get(group_key(candidate, settings)) is None:
                missing[group] = settings  # all of it: each C starts at the solution of the last
                continue
            for setting in settings:
                if trial := self.trials.get(head_key(candidate, setting)):
                    found[setting] = np.array(trial.scores)
                    seconds += trial.seconds
            bases.add(replace(group, class_weight=""))
        self.pace.heads_took(seconds, len(bases))
        with self.progress.stage(f"Heads on {candidate.name}", len(groups), "groups of heads"):
            self.progress.advance(len(groups) - len(missing))
            if missing and ((is_needed and not found) or self._has_time_for_heads(candidate)):
                self._fit_heads(candidate, missing, found)
            elif missing:
                self.clock.is_cut = True
        self.tell_heads(candidate.name, found)
        return found

    def _all_heads(self, candidate: Candidate) -> list[HeadSetting]:
        return all_heads(candidate.blocks, (*self.class_weights, *CLASS_WEIGHTS))

    def _fit_heads(
        self, candidate: Candidate, missing: Mapping[HeadSetting, Sequence[HeadSetting]], found: HeadScores
    ) -> None:
        started = monotonic()  # the seconds of the features are those of the first group
        rows, folds = self.divided_rows(candidate, np.arange(len(self.images.all)))
        settings = [setting for group in missing.values() for setting in group]
        scored = score_groups(
            rows, candidate.blocks, folds, settings, self.score, self.images.seed, self.class_weights
        )  # fmt: skip
        begun = monotonic()
        bases = set[HeadSetting]()
        for done, (group, pairs) in enumerate(scored, 1):
            bases.add(replace(group, class_weight=""))
            seconds, started = (monotonic() - started) / len(pairs), monotonic()
            for setting, scores in pairs:
                found[setting] = scores
                self.trials.add(head_key(candidate, setting), tuple(map(float, scores)), seconds)
            self.trials.add(group_key(candidate, missing[group]), (), 0.0)
            self.pace.heads_took(monotonic() - begun, len(bases))
            self.progress.advance()
            if done < len(missing) and not self.clock.allows(0, FOR_HEADS):
                self.clock.is_cut = True
                return

    def _has_time_for_heads(self, candidate: Candidate) -> bool:
        """Whether the first heads on a pass would be scored in time, as those on the last were."""
        views = len(candidate.extractor.views)
        return self.clock.allows(views * self.pace.heads_seconds(threads()), FOR_HEADS)

    def divided_rows(self, candidate: Candidate, numbers: "NDArray[np.int64]") -> tuple[Rows, NestedFolds]:
        """Features of images in all views, and their folds. What the store lacks is computed: it may be another cache
        than that of an earlier part of the search, or one that was pruned."""
        images, views = [self.images.all[number] for number in numbers], candidate.extractor.views
        candidate.extractor.extract([(images, views)], self.progress)
        rows = candidate.extractor.rows(images, self.images.labels, views)
        units = np.tile(self.images.rows.units[numbers], len(views))
        labels = np.tile(self.images.rows.labels[numbers], len(views))
        folds = self._folds_of(numbers).with_views(len(images), len(views) - 1)
        return replace(rows, labels=labels, units=units), folds

    def _folds_of(self, numbers: "NDArray[np.int64]") -> NestedFolds:
        """Nested where they are all images, and their classes neither too many nor too small."""
        if len(numbers) not in self._folds:
            rows = self.images.rows.part(numbers)
            is_all = len(numbers) == len(self.images.all) and Task.of(rows).units < MANY_UNITS
            self._folds[len(numbers)] = NestedFolds.of(rows, FOLDS, 0, self.images.seed)
            if is_all:
                with suppress(DataError):  # of a class of two images an outer fold leaves one, too few to divide
                    self._folds[len(numbers)] = NestedFolds.of(rows, FOLDS, FOLDS, self.images.seed)
        return self._folds[len(numbers)]

    def _pass_scores(self, candidate: Candidate, numbers: "NDArray[np.int64]") -> "NDArray[np.float64]":
        """[J], of the best of a few heads."""
        what = pass_key(candidate, len(numbers))
        if known := self.trials.get(what):
            return np.array(known.scores)
        begun, images = monotonic(), [self.images.all[number] for number in numbers]
        extractor, opening = self.pace.timed(candidate.extractor, candidate.setting)
        done = extractor.extract([(images, extractor.views)])
        started = monotonic()
        rows, folds = self.divided_rows(candidate, numbers)
        outer = replace(folds, all=[folds.all[number] for number in folds.outer], inner=())
        found = score_heads(rows, candidate.blocks, outer, coarse_heads(candidate.blocks), self.score)
        best = max((scores for _, scores in found), key=lambda scores: float(scores.mean()))
        self.trials.add(what, tuple(map(float, best)), monotonic() - begun)
        predicted = done.computed * candidate.cost.ms_per_image / 1000
        self.pace.passed(started - begun - sum(opening), predicted, monotonic() - started, len(numbers))
        return best

    def _missing(self, candidate: Candidate, numbers: "NDArray[np.int64]") -> int:
        """How many views of images the store lacks."""
        store, views = candidate.extractor.store, candidate.extractor.views
        shas = {self.images.all[number].sha256 for number in numbers}
        return sum(row_key(sha256, view) not in store for sha256 in shas for view in views)

    def too_slow(self, candidate: Candidate, numbers: "NDArray[np.int64]", share: float = FOR_PASSES) -> str:
        """Why a pass is not started; empty if it is."""
        if candidate.setting == self.reference or self.trials.get(pass_key(candidate, len(numbers))):
            return ""
        new, wanted = self._missing(candidate, numbers), len(numbers) * len(candidate.extractor.views)
        seconds = self.pace.pass_seconds(new * candidate.cost.ms_per_image / 1000, len(numbers))
        if new:
            seconds += self.pace.opening(candidate.setting, is_converted=new < wanted)
        if self.clock.allows(seconds, share):
            return ""
        return f"no time: about {seconds:.0f} s for {len(numbers):,} images"

    def tell_heads(self, name: str, found: HeadScores) -> None:
        """The best head of a pass so far."""
        outer = list(self.folds.outer)
        scored = [scores[outer] for scores in found.values() if np.isfinite(scores[outer]).all()]
        if len(scored) > 1:
            best = max(scored, key=lambda scores: float(scores.mean()))
            self._note(f"{len(scored):,} heads tried on {name}", "", best, self.folds.test_share)

    def _note(self, done: str, best: str, scores: "NDArray[np.float64]", share: float) -> None:
        """What was done, the best with its interval, and the time left."""
        low, high = score_interval(scores, share)
        ends = sorted((abs(low), abs(high)))  # a loss is negated
        left = self.clock.left
        self.progress.note(
            f"{done}; {len(self.trials):,} trials. Best: {best and best + ', '}{self.metric} {abs(scores.mean()):.3f} "
            f"({ends[0]:.3f} to {ends[1]:.3f}). {f'{left / 60:.0f} min' if left >= 90 else f'{left:.0f} s'} left"
        )


def _samples(images: int, classes: int, passes: int) -> list[int]:
    """Sizes of the samples, the last of which is all images."""
    found, count = list[int](), max(_FIRST, _OF_CLASS * classes)
    while passes > _FINALISTS and count * 1.5 < images:
        found.append(count)
        count *= _GROWTH
        passes = max(2, passes // 2)
    return [*found, images]
