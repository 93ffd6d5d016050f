"""The search: passes by successive halving on growing samples, then all heads on those that all images took.

A search that is ended and begun again with the same trials takes the same decisions, as long as time allows all of
them: they depend on scores and measured costs, which the trials keep.

Shapes: N images, F folds, J outer folds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tlcli.backbones.blocks import Blocks
from tlcli.datasets.index import LabelledImage
from tlcli.errors import DataError
from tlcli.evaluation.objectives import Objective
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.heads.class_weight import ClassWeight
from tlcli.heads.many_units import MANY_UNITS
from tlcli.heads.minibatch_folds import Minibatch
from tlcli.heads.repeated_cross_validation import nested_parts
from tlcli.heads.standardize import Standardizer
from tlcli.heads.task import Task
from tlcli.progress import SILENT, Progress
from tlcli.tuning import sampled_heads
from tlcli.tuning.head_search import NestedFolds, Score, held_out_probabilities, score_heads
from tlcli.tuning.outcome import PassCost, TriedPass
from tlcli.tuning.sampled_heads import SampledFits, Study
from tlcli.tuning.selection import interval_of, survivors
from tlcli.tuning.settings import (
    AUGMENTATIONS,
    CLASS_WEIGHTS,
    HeadSetting,
    MinibatchSetting,
    PassSetting,
    all_heads,
    coarse_heads,
)
from tlcli.tuning.threshold_choice import ThresholdChoice, threshold_choice, threshold_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
"""Outer folds, and inner ones within each."""
_FIRST, _OF_CLASS, _GROWTH = 200, 10, 3
"""Images of the smallest sample, of each class at least; and by how much the samples grow."""
_FINALISTS = 3
"""Passes whose heads are all tried, at most."""
FOR_PASSES, _FOR_HEADS = 0.6, 0.95
"""Shares of the budget after which no more passes, and no more heads, are started."""
_BEST_HEADS = 5
"""Heads that are tried on augmented views."""

HeadScores = dict[HeadSetting, "NDArray[np.float64]"]
"""Of each head its scores on all folds [F]."""


class Trial(Protocol):
    """What is known of something that was tried."""

    @property
    def scores(self) -> tuple[float, ...]:
        """Of each fold."""


class TrialLog(Protocol):
    """Keeps what was tried; see :class:`tlcli.runs.trials.Trials`."""

    def get(self, what: Mapping[str, object]) -> Trial | None:
        """The trial of this, if it is known."""

    def add(self, what: Mapping[str, object], scores: tuple[float, ...], seconds: float) -> Trial:
        """Keeps one."""


@dataclass(frozen=True)
class Candidate:
    """A pass that can be tried."""

    setting: PassSetting
    extractor: FeatureExtractor
    cost: PassCost

    @property
    def blocks(self) -> Blocks:
        """All blocks of its features."""
        return self.extractor.blocks

    @property
    def name(self) -> str:
        """For messages."""
        setting = self.setting
        views = "" if setting.augmentation == "none" else f", {setting.augmentation}"
        return f"{setting.backbone or 'own network'} {setting.size_text} {setting.resize}{views}"


@dataclass(frozen=True)
class Images:
    """The images that are searched on."""

    all: tuple[LabelledImage, ...]
    """[N]"""
    labels: tuple[str, ...]
    """All classes"""
    rows: Rows
    """Classes and units of the images; their features are not read"""
    seed: int

    def sample(self, count: int) -> "NDArray[np.int64]":
        """Numbers of a stratified sample of whole units, which is part of every larger one."""
        numbers = np.arange(len(self.all))
        if count >= len(numbers):
            return numbers
        (chosen,) = nested_parts(self.rows, numbers, (count / len(numbers),), self.seed)
        return chosen


@dataclass
class Clock:
    """How much of the budget is spent."""

    budget: float
    """Seconds"""
    started: float = field(default_factory=monotonic)
    is_cut: bool = False
    """Whether something was left out for want of time"""

    @property
    def seconds(self) -> float:
        """Since the start."""
        return monotonic() - self.started

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self.budget - self.seconds)

    def allows(self, seconds: float, share: float) -> bool:
        """Whether something that takes so long would end before this share of the budget is spent."""
        return self.seconds + seconds <= share * self.budget


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
    """The pass that all images took before the search, to which near duplicates were found: it costs nothing more, and
    there is always time for it. None: the first candidate."""
    _folds: dict[int, NestedFolds] = field(default_factory=dict)
    _rate: float = 0.0
    """Seconds that the last passes took for an image, for each predicted one."""

    @property
    def folds(self) -> NestedFolds:
        """Of all images."""
        return self._folds_of(np.arange(len(self.images.all)))

    def halve(self, candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[TriedPass]]:
        """Compares passes on growing samples; those that are clearly worse go no further.

        Args:
            candidates: the first is what the others are compared with: it goes along as long as there is time for it,
                and so does :attr:`reference`.

        Returns:
            The passes that all images took, the best first, and how far each came.
        """
        given, going, tried = candidates[0], list(candidates), list[TriedPass]()
        always = {given.setting, self.reference or given.setting}
        for count in _samples(len(self.images.all), len(self.images.labels), len(going)):
            numbers = self.images.sample(count)
            is_last = len(numbers) == len(self.images.all)
            scores: dict[int, NDArray[np.float64]] = {}
            with self.progress.stage(f"Comparing passes on {len(numbers):,} images", len(going), "passes"):
                for place, one in enumerate(going):
                    if why := self._too_slow(one, len(numbers)):
                        tried.append(TriedPass(one.setting, one.cost, 0, np.empty(0), why))
                        self.clock.is_cut = True
                    else:
                        scores[place] = self._pass_scores(one, numbers)
                    self.progress.advance()
            ranked = sorted(scores, key=lambda place: (-float(scores[place].mean()), place))
            kept = ranked if is_last else survivors(scores, 1 / FOLDS, 2, max(2, len(scores) // 2))
            kept += [place for place in scores if going[place].setting in always and place not in kept]
            self._tell(going[ranked[0]], scores[ranked[0]], len(numbers), len(ranked), len(kept))
            for place in ranked:
                if is_last or place not in kept:
                    why = "" if is_last else f"behind others after {len(numbers):,} images"
                    tried.append(TriedPass(going[place].setting, going[place].cost, len(numbers), scores[place], why))
            if is_last:
                return [going[place] for place in ranked[:_FINALISTS]], tried
            going = sorted((going[place] for place in kept), key=lambda one: one is not given)
        raise AssertionError("the last sample is all images")

    def heads(self, candidate: Candidate, only: Sequence[HeadSetting] | None = None) -> HeadScores:
        """Scores all heads, or these, on a pass of all images; those that are known are not fitted again."""
        groups: dict[HeadSetting, list[HeadSetting]] = {}
        for setting in self._all_heads(candidate) if only is None else only:
            groups.setdefault(setting.group, []).append(setting)
        found, missing = HeadScores(), dict[HeadSetting, list[HeadSetting]]()
        for group, settings in groups.items():
            if self.trials.get(_group_key(candidate, settings)) is None:
                missing[group] = settings  # all of it: each C starts at the solution of the last
                continue
            known = {setting: self.trials.get(_head_key(candidate, setting)) for setting in settings}
            found |= {setting: np.array(trial.scores) for setting, trial in known.items() if trial}
        with self.progress.stage(f"Heads on {candidate.name}", len(groups), "groups of heads"):
            self.progress.advance(len(groups) - len(missing))
            if missing:
                self._fit_heads(candidate, missing, found)
        return found

    def _all_heads(self, candidate: Candidate) -> list[HeadSetting]:
        return all_heads(candidate.blocks, (*self.class_weights, *CLASS_WEIGHTS))

    def _fit_heads(
        self, candidate: Candidate, missing: Mapping[HeadSetting, Sequence[HeadSetting]], found: HeadScores
    ) -> None:
        started = monotonic()  # the seconds of the features are those of the first group
        candidate.extractor.extract([(self.images.all, candidate.extractor.views)], self.progress)
        rows, folds = self._rows(candidate, np.arange(len(self.images.all)))
        settings = [setting for group in missing.values() for setting in group]
        scored = score_heads(
            rows, candidate.blocks, folds, settings, self.score, self.images.seed, self.class_weights
        )  # fmt: skip
        for group, pairs in groupby(scored, key=lambda pair: pair[0].group):
            of_group = list(pairs)
            seconds, started = (monotonic() - started) / len(of_group), monotonic()
            for setting, scores in of_group:
                found[setting] = scores
                self.trials.add(_head_key(candidate, setting), tuple(map(float, scores)), seconds)
            self.trials.add(_group_key(candidate, missing[group]), (), 0.0)
            self.progress.advance()
            if not self.clock.allows(0, _FOR_HEADS) and len(found) < len(settings):
                self.clock.is_cut = True
                return

    def sampled(
        self, scored: Mapping[PassSetting, HeadScores], candidates: Sequence[Candidate], how: Minibatch
    ) -> None:
        """Adds mini-batch heads on the best pass, whose settings a sampler chooses; NaN on the folds that a setting was
        not scored on (see :mod:`tlcli.tuning.sampled_heads`). Without Optuna, says so and adds nothing.

        Args:
            scored: the heads of the passes without augmentation; changed.
            candidates: these passes.
            how: mini-batch training as the config says; a sampler changes some of it.
        """
        if not sampled_heads.is_installed():
            self.progress.note("Mini-batch heads are left out, as Optuna is missing: pip install 'tlcli[tune]'.")
            return
        outer = list(self.folds.outer)
        best = max(scored, key=lambda one: max(float(scores[outer].mean()) for scores in scored[one].values()))
        candidate = next(one for one in candidates if one.setting == best)
        class_weights = (*self.class_weights, *CLASS_WEIGHTS)
        first = MinibatchSetting(how.optimizer, how.learning_rate, how.batch_size, how.dropout)
        studies = Study.all(self.folds, candidate.blocks, class_weights, first, self.images.seed)
        fits = SampledFits(
            self._standardized(candidate), self.folds, candidate.blocks, how, self.score, self.images.seed
        )
        title = f"Mini-batch heads on {candidate.name}"
        with self.progress.stage(title, sampled_heads.ROUNDS, "rounds"):
            for _ in range(sampled_heads.ROUNDS):
                found = self._round(candidate, studies, fits)
                if found is None:
                    self.clock.is_cut = True
                    return
                for head, scores in found:
                    known = scored[best].get(head, scores)
                    scored[best][head] = np.where(np.isnan(scores), known, scores)
                self.progress.advance()

    def _round(
        self, candidate: Candidate, studies: "Sequence[Study]", fits: "SampledFits"
    ) -> "list[tuple[HeadSetting, NDArray[np.float64]]] | None":
        """A setting of each study, with its scores; None where time is up before all studies have one: a choice within
        the outer folds is as good as that of the winner only if it had as many to choose from."""
        found = []
        for study in studies:
            trial, head = study.ask()
            what = _head_key(candidate, head) | {"stage": "sampled", "study": study.number}
            known, started = self.trials.get(what), monotonic()
            if known is None:
                if not self.clock.allows(fits.seconds, _FOR_HEADS):
                    return None
                weight = self.class_weights.get(head.class_weight, head.class_weight)
                try:
                    scores = fits.scores(head, weight, study.measured)
                except DataError:  # a class is too small for another division; so it is in every round
                    return None
                known = self.trials.add(what, tuple(map(float, scores)), monotonic() - started)
            scores = np.array(known.scores)
            study.tell(trial, scores)
            found.append((head, scores))
        return found

    def _standardized(self, candidate: Candidate) -> Callable[[], Rows]:
        """The rows of a pass of all images, read when the first is fitted."""

        def rows() -> Rows:
            candidate.extractor.extract([(self.images.all, candidate.extractor.views)], self.progress)
            found, _ = self._rows(candidate, np.arange(len(self.images.all)))
            return found.with_features(Standardizer.of(found, True).apply(found.features()))

        return rows

    def augmented(
        self, scored: Mapping[PassSetting, HeadScores], candidate_of: Callable[[PassSetting], Candidate]
    ) -> dict[PassSetting, HeadScores]:
        """Scores the best linear heads on augmented views of the best pass.

        Args:
            scored: the heads of the passes without augmentation.
            candidate_of: makes a candidate.
        """
        outer, found = list(self.folds.outer), dict[PassSetting, HeadScores]()

        def mean(setting: PassSetting, head: HeadSetting) -> float:
            return float(scored[setting][head][outer].mean())

        winner = max(scored, key=lambda one: max(mean(one, head) for head in scored[one]))
        linear = [head for head in scored[winner] if head.kind == "logistic_regression"]
        heads = sorted(linear, key=lambda head: -mean(winner, head))[:_BEST_HEADS]
        for name in [*AUGMENTATIONS][1:]:
            candidate = candidate_of(replace(winner, augmentation=name))
            is_known = self.trials.get(_head_key(candidate, heads[0])) if heads else None
            if not is_known and self._too_slow(candidate, len(self.images.all), _FOR_HEADS):
                self.clock.is_cut = True
            elif tried := self.heads(candidate, heads):
                found[candidate.setting] = tried
        return found

    def thresholds(self, candidate: Candidate, head: HeadSetting, objective: Objective) -> ThresholdChoice | None:
        """Whether thresholds improve a head's answers; None where the metric does not depend on them, the folds are not
        nested, or the head is a mini-batch one, whose inner folds are scored for the choice of its settings alone.

        Args:
            candidate: the pass of the head, which all images took.
            head: whose folds are fitted again, unless the answer is known.
            objective: the metric.
        """
        if head.minibatch or not objective.is_of_decisions or not self.folds.inner:
            return None
        if objective.precision is not None and len(self.images.labels) > 2:  # a recall of the second of two classes
            return None
        what, started = _head_key(candidate, head) | {"stage": "thresholds"}, monotonic()
        known = self.trials.get(what)
        if known is None:
            with self.progress.stage("Choosing thresholds"):
                rows, folds = self._rows(candidate, np.arange(len(self.images.all)))
                probabilities = held_out_probabilities(
                    rows, candidate.blocks, folds, head, self.images.seed, self.class_weights
                )
                scores = threshold_scores(rows.labels, folds, probabilities, objective)
            known = self.trials.add(what, tuple(map(float, scores.ravel())), monotonic() - started)
        return threshold_choice(objective, np.array(known.scores).reshape(2, -1), self.folds.test_share)

    def _rows(self, candidate: Candidate, numbers: "NDArray[np.int64]") -> tuple[Rows, NestedFolds]:
        """Features of images that have passed, in all views, and their folds."""
        images, views = [self.images.all[number] for number in numbers], candidate.extractor.views
        rows = candidate.extractor.rows(images, self.images.labels, views)
        units = np.tile(self.images.rows.units[numbers], len(views))
        labels = np.tile(self.images.rows.labels[numbers], len(views))
        folds = self._folds_of(numbers).with_views(len(images), len(views) - 1)
        return replace(rows, labels=labels, units=units), folds

    def _folds_of(self, numbers: "NDArray[np.int64]") -> NestedFolds:
        """Nested where they are all images, and their classes are not too many."""
        if len(numbers) not in self._folds:
            rows = self.images.rows.part(numbers)
            is_all = len(numbers) == len(self.images.all) and Task.of(rows).units < MANY_UNITS
            self._folds[len(numbers)] = NestedFolds.of(rows, FOLDS, FOLDS if is_all else 0, self.images.seed)
        return self._folds[len(numbers)]

    def _pass_scores(self, candidate: Candidate, numbers: "NDArray[np.int64]") -> "NDArray[np.float64]":
        """[J], of the best of a few heads."""
        what = _pass_key(candidate, len(numbers))
        if known := self.trials.get(what):
            return np.array(known.scores)
        started = monotonic()
        images = [self.images.all[number] for number in numbers]
        candidate.extractor.extract([(images, candidate.extractor.views)])
        rows, folds = self._rows(candidate, numbers)
        outer = replace(folds, all=[folds.all[number] for number in folds.outer], inner=())
        found = score_heads(rows, candidate.blocks, outer, coarse_heads(candidate.blocks), self.score)
        best = max((scores for _, scores in found), key=lambda scores: float(scores.mean()))
        self.trials.add(what, tuple(map(float, best)), monotonic() - started)
        self._rate = max(1.0, (monotonic() - started) / self._predicted(candidate, len(numbers)))
        return best

    def _predicted(self, candidate: Candidate, images: int) -> float:
        """Seconds of a pass by its measured cost alone."""
        return images * len(candidate.extractor.views) * candidate.cost.ms_per_image / 1000

    def _too_slow(self, candidate: Candidate, images: int, share: float = FOR_PASSES) -> str:
        """Why a pass is not started; empty if it is. What else a pass takes (conversion, decoding, heads) is taken from
        the last one."""
        if candidate.setting == self.reference or self.trials.get(_pass_key(candidate, images)):
            return ""
        seconds = self._predicted(candidate, images) * max(1.0, self._rate)
        if self.clock.allows(seconds, share):
            return ""
        return f"no time: about {seconds:.0f} s for {images:,} images"

    def _tell(self, best: Candidate, scores: "NDArray[np.float64]", images: int, passes: int, kept: int) -> None:
        low, high = interval_of(scores, 1 / FOLDS)
        ends = sorted((abs(low), abs(high)))  # a loss is negated
        self.progress.note(
            f"{images:,} images, {passes} passes, {kept} go on. Best: {best.name}, {self.metric} "
            f"{abs(scores.mean()):.3f} ({ends[0]:.3f} to {ends[1]:.3f}). {self.clock.left / 60:.0f} min left"
        )


def _samples(images: int, classes: int, passes: int) -> list[int]:
    """Sizes of the samples, the last of which is all images."""
    found, count = list[int](), max(_FIRST, _OF_CLASS * classes)
    while passes > _FINALISTS and count * 1.5 < images:
        found.append(count)
        count *= _GROWTH
        passes = max(2, passes // 2)
    return [*found, images]


def _pass_key(candidate: Candidate, images: int) -> dict[str, object]:
    return {"stage": "pass", "pass": asdict(candidate.setting), "images": images}


def _head_key(candidate: Candidate, setting: HeadSetting) -> dict[str, object]:
    return {"stage": "head", "pass": asdict(candidate.setting), "head": asdict(setting)}


def _group_key(candidate: Candidate, settings: Sequence[HeadSetting]) -> dict[str, object]:
    """Heads that differ in C only: known when all values were tried that are not clearly too large."""
    Cs = sorted(setting.C for setting in settings)
    return {"stage": "group", "pass": asdict(candidate.setting), "head": asdict(settings[0].group), "Cs": Cs}
