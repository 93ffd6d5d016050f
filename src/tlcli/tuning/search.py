"""The search: passes by successive halving on growing samples, then all heads on those that all images took.

A search that is ended and begun again with the same trials takes the same decisions, as long as time allows all of
them: they depend on scores and measured costs, which the trials keep.

Shapes: N images, F folds, J outer folds.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tlcli.errors import DataError
from tlcli.evaluation.objectives import Objective
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.features.store import row_key
from tlcli.heads.class_weight import ClassWeight
from tlcli.heads.many_units import MANY_UNITS
from tlcli.heads.minibatch_folds import Minibatch
from tlcli.heads.standardize import Standardizer
from tlcli.heads.task import Task
from tlcli.images.augmentation import PLAIN
from tlcli.progress import SILENT, Progress
from tlcli.system.cpu import threads
from tlcli.tuning import sampled_heads
from tlcli.tuning.candidates import FOLDS, Candidate, Images
from tlcli.tuning.clock import MINIBATCH_FIT, Clock, Pace
from tlcli.tuning.head_search import NestedFolds, Score, held_out_probabilities, score_groups, score_heads
from tlcli.tuning.outcome import NoMinibatch, TriedPass
from tlcli.tuning.sampled_heads import SampledFits, Study
from tlcli.tuning.selection import score_interval, survivors
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

_FIRST, _OF_CLASS, _GROWTH = 200, 10, 3
"""Images of the smallest sample, of each class at least; and by how much the samples grow."""
_FINALISTS = 3
"""Passes whose heads are all tried, at most."""
FOR_PASSES, _FOR_HEADS = 0.6, 0.95
"""Shares of the budget after which no more passes, and no more heads, are started."""
_TOLD = 5
"""Rounds of mini-batch heads after which the best is told."""
_BEST_HEADS = 5
"""Heads that are tried on augmented views."""

HeadScores = dict[HeadSetting, "NDArray[np.float64]"]
"""Of each head its scores on all folds [F]."""


class Trial(Protocol):
    """What is known of something that was tried."""

    @property
    def scores(self) -> tuple[float, ...]:
        """Of each fold."""

    @property
    def seconds(self) -> float:
        """That it took."""


class TrialLog(Protocol):
    """Keeps what was tried; see :class:`tlcli.runs.trials.Trials`."""

    def get(self, what: Mapping[str, object]) -> Trial | None:
        """The trial of this, if it is known."""

    def add(self, what: Mapping[str, object], scores: tuple[float, ...], seconds: float) -> Trial:
        """Keeps one."""

    def __len__(self) -> int:
        """How many are known."""


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
                    if why := self._too_slow(one, numbers):
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
            if self.trials.get(_group_key(candidate, settings)) is None:
                missing[group] = settings  # all of it: each C starts at the solution of the last
                continue
            for setting in settings:
                if trial := self.trials.get(_head_key(candidate, setting)):
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
        self._tell_heads(candidate.name, found)
        return found

    def _all_heads(self, candidate: Candidate) -> list[HeadSetting]:
        return all_heads(candidate.blocks, (*self.class_weights, *CLASS_WEIGHTS))

    def _fit_heads(
        self, candidate: Candidate, missing: Mapping[HeadSetting, Sequence[HeadSetting]], found: HeadScores
    ) -> None:
        started = monotonic()  # the seconds of the features are those of the first group
        rows, folds = self._rows(candidate, np.arange(len(self.images.all)))
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
                self.trials.add(_head_key(candidate, setting), tuple(map(float, scores)), seconds)
            self.trials.add(_group_key(candidate, missing[group]), (), 0.0)
            self.pace.heads_took(monotonic() - begun, len(bases))
            self.progress.advance()
            if done < len(missing) and not self.clock.allows(0, _FOR_HEADS):
                self.clock.is_cut = True
                return

    def _has_time_for_heads(self, candidate: Candidate) -> bool:
        """Whether the first heads on a pass would be scored in time, as those on the last were."""
        views = len(candidate.extractor.views)
        return self.clock.allows(views * self.pace.heads_seconds(threads()), _FOR_HEADS)

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
            self.no_minibatch = "no_optuna"
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
            for number in range(sampled_heads.ROUNDS):
                found = self._round(candidate, studies, fits)
                if found is None:
                    return
                for head, scores in found:
                    known = scored[best].get(head, scores)
                    scored[best][head] = np.where(np.isnan(scores), known, scores)
                self.progress.advance()
                if (number + 1) % _TOLD == 0:
                    self._tell_heads(candidate.name, scored[best])

    def _round(
        self, candidate: Candidate, studies: "Sequence[Study]", fits: "SampledFits"
    ) -> "list[tuple[HeadSetting, NDArray[np.float64]]] | None":
        """A setting of each study, with its scores; None where time would be up before all studies have one, or a class
        is too small: a choice within
        the outer folds is as good as that of the winner only if it had as many to choose from."""
        asked = [(study, *study.ask()) for study in studies]
        keys = [_head_key(candidate, head) | {"stage": "sampled", "study": study.number} for study, _, head in asked]
        known = [self.trials.get(what) for what in keys]
        for (study, _, _), trial in zip(asked, known, strict=True):
            if trial is not None and not fits.seconds_of_fit:
                fits.seconds_of_fit = trial.seconds / len(study.measured)
        left = sum(len(study.measured) for (study, _, _), trial in zip(asked, known, strict=True) if trial is None)
        found = []
        for number, (study, trial, head) in enumerate(asked):
            if (done := known[number]) is None:
                if not self.clock.allows(left * self._minibatch_seconds(candidate, fits), _FOR_HEADS):
                    self.clock.is_cut = True
                    return None
                weight, started = self.class_weights.get(head.class_weight, head.class_weight), monotonic()
                try:
                    scores = fits.scores(head, weight, study.measured)
                except DataError:  # a class is too small for another division; so it is in every round
                    self.no_minibatch = "class_too_small"
                    self.progress.note("Mini-batch heads are left out: a class has too few images to monitor the loss.")
                    return None
                done = self.trials.add(keys[number], tuple(map(float, scores)), monotonic() - started)
                left -= len(study.measured)
            scores = np.array(done.scores)
            study.tell(trial, scores)
            found.append((head, scores))
        return found

    def _minibatch_seconds(self, candidate: Candidate, fits: "SampledFits") -> float:
        """Of a fit, as measured; before the first by the size of the features."""
        return fits.seconds_of_fit or MINIBATCH_FIT * len(self.images.all) * candidate.blocks.width

    def _standardized(self, candidate: Candidate) -> Callable[[], Rows]:
        """The rows of a pass of all images, read when the first is fitted."""

        def rows() -> Rows:
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
            if not is_known and self._too_slow(candidate, np.arange(len(self.images.all)), _FOR_HEADS):
                self.clock.is_cut = True
            elif tried := self.heads(candidate, heads):
                found[candidate.setting] = tried
        return found

    def thresholds(self, candidate: Candidate, head: HeadSetting, objective: Objective) -> ThresholdChoice | None:
        """Whether thresholds improve a head's answers; None where the metric does not depend on them, the folds are not
        nested, the budget is spent, or the head is a mini-batch one, whose inner folds are scored for the choice of its
        settings alone.

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
            if not self.clock.allows(0, 1):
                self.clock.is_cut = True
                return None
            with self.progress.stage("Choosing thresholds"):
                rows, folds = self._rows(candidate, np.arange(len(self.images.all)))
                probabilities = held_out_probabilities(
                    rows, candidate.blocks, folds, head, self.images.seed, self.class_weights
                )
                scores = threshold_scores(rows.labels, folds, probabilities, objective)
            known = self.trials.add(what, tuple(map(float, scores.ravel())), monotonic() - started)
        return threshold_choice(objective, np.array(known.scores).reshape(2, -1), self.folds.test_share)

    def _rows(self, candidate: Candidate, numbers: "NDArray[np.int64]") -> tuple[Rows, NestedFolds]:
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
        what = _pass_key(candidate, len(numbers))
        if known := self.trials.get(what):
            return np.array(known.scores)
        begun, images = monotonic(), [self.images.all[number] for number in numbers]
        extractor, opening = self.pace.timed(candidate.extractor, candidate.setting)
        done = extractor.extract([(images, extractor.views)])
        started = monotonic()
        rows, folds = self._rows(candidate, numbers)
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

    def _too_slow(self, candidate: Candidate, numbers: "NDArray[np.int64]", share: float = FOR_PASSES) -> str:
        """Why a pass is not started; empty if it is."""
        if candidate.setting == self.reference or self.trials.get(_pass_key(candidate, len(numbers))):
            return ""
        new, wanted = self._missing(candidate, numbers), len(numbers) * len(candidate.extractor.views)
        seconds = self.pace.pass_seconds(new * candidate.cost.ms_per_image / 1000, len(numbers))
        if new:
            seconds += self.pace.opening(candidate.setting, is_converted=new < wanted)
        if self.clock.allows(seconds, share):
            return ""
        return f"no time: about {seconds:.0f} s for {len(numbers):,} images"

    def _tell_heads(self, name: str, found: HeadScores) -> None:
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


def _pass_key(candidate: Candidate, images: int) -> dict[str, object]:
    return {"stage": "pass", "pass": asdict(candidate.setting), "images": images}


def _head_key(candidate: Candidate, setting: HeadSetting) -> dict[str, object]:
    return {"stage": "head", "pass": asdict(candidate.setting), "head": asdict(setting)}


def _group_key(candidate: Candidate, settings: Sequence[HeadSetting]) -> dict[str, object]:
    """Heads that differ in C only: known when all values were tried that are not clearly too large."""
    Cs = sorted(setting.C for setting in settings)
    return {"stage": "group", "pass": asdict(candidate.setting), "head": asdict(settings[0].group), "Cs": Cs}
