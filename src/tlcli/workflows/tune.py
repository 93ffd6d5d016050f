"""Tune: chooses network, input and head by cross-validation on training and validation images; no test image is read.

Passes of the frozen backbone are expensive: they go through successive halving, on samples that grow. Heads on stored
features are cheap: on the passes that all images took, all are tried.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

import tlcli
from tlcli.backbones.blocks import Blocks
from tlcli.backbones.catalog import Backbone
from tlcli.backbones.conversion import conversion_versions
from tlcli.backbones.costs import COSTS
from tlcli.config.build_cross_validation import Divided, divide
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import backbone_row, feature_extractor, layer_candidates, preparation_of
from tlcli.config.build_head import fit_regression
from tlcli.config.build_tune import (
    candidate_backbones,
    config_of_pass,
    config_of_winner,
    given_pass,
    tuned_yaml,
)
from tlcli.config.load import LoadedConfig, dump_config
from tlcli.config.schema import Config
from tlcli.datasets.index import Index, LabelledImage
from tlcli.datasets.unreadable import drop_unreadable
from tlcli.engines.speed import known_speed, measure_speed
from tlcli.errors import DataError, UsageError
from tlcli.evaluation.objectives import Objective
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.heads.many_units import MANY_UNITS
from tlcli.heads.repeated_cross_validation import nested_parts
from tlcli.heads.task import Task
from tlcli.images.size_advice import sampled_sizes
from tlcli.progress import SILENT, Progress
from tlcli.runs.trials import Trials, open_search
from tlcli.system.files import write_text
from tlcli.tuning.head_search import NestedFolds, score_heads
from tlcli.tuning.outcome import Contender, Outcome, PassCost, TriedPass
from tlcli.tuning.selection import expected_of, importance, interval_of, survivors
from tlcli.tuning.settings import (
    AUGMENTATIONS,
    HeadSetting,
    PassSetting,
    all_heads,
    coarse_heads,
    input_choices,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FOLDS = 5
_FIRST, _OF_CLASS, _GROWTH = 200, 10, 3
"""Images of the smallest sample, of each class at least; and by how much the samples grow."""
_FINALISTS = 3
"""Passes that all images take, at most, besides that of the config."""
_FOR_PASSES, _FOR_HEADS = 0.6, 0.95
"""Shares of the budget that end before passes, and trials of heads, no more are started."""
_START = 12.0
"""Seconds that the first pass of a network at a size takes for its conversion."""
_BEST_HEADS = 5
"""Heads that are tried on augmented views."""


@dataclass(frozen=True)
class TuneOptions:
    """What a search may do."""

    metric: str
    budget: float
    """Seconds, of this part of the search."""
    backbones: tuple[str, ...] = ()
    """Names; without, all whose weights are on this machine."""
    max_ms: float | None = None
    """Milliseconds for an image, with all cores."""
    max_mb: float | None = None
    """Megabytes of weights."""


@dataclass(frozen=True)
class Tuned:
    """A finished search."""

    folder: Path
    config: Path
    """tuned.yaml"""
    outcome: Outcome
    labels: tuple[str, ...]


def tune(loaded: LoadedConfig, runs_dir: Path, options: TuneOptions, progress: Progress = SILENT) -> Tuned:
    """Searches networks, inputs and heads for a config, or goes on with a search that was ended.

    Args:
        loaded: the config.
        runs_dir: where the search's directory is made.
        options: what it may do.
        progress: receives the stages, and the best so far.

    Raises:
        DataError: the images are missing, malformed, or too few.
        ModelError, NetworkError: a backbone's weights or the engine are unavailable.
        ResourceError: the disk is full.
        UsageError: nothing is left to try, or the same search is running.
    """
    started = monotonic()
    with progress.stage("Indexing images"):
        index = dataset_index(loaded.config.dataset, loaded.options)
    names, left_out = candidate_backbones(loaded.config, options.backbones)
    for name, why in left_out.items():
        progress.note(f"{name} is left out: {why}.")
    digest = _digest(loaded.config, index, options, names)
    with open_search(runs_dir.absolute(), loaded.name, digest) as (folder, trials):
        search = _Search(loaded.config, index, options, trials, started, progress)
        if len(trials):
            progress.note(f"Going on with the search in {folder}: {len(trials):,} trials are known.")
        outcome = search.run(names)
        config = _write(folder, loaded, search, outcome)
    return Tuned(folder, config, outcome, index.labels)


def _digest(config: Config, index: Index, options: TuneOptions, names: Sequence[str]) -> str:
    """Of everything that the scores depend on."""
    settings = dump_config(config.model_copy(update={"evaluate": type(config.evaluate)()}))
    asked = [options.metric, sorted(options.backbones), options.max_ms, options.max_mb, list(names)]
    versions = [tlcli.__version__, conversion_versions()]
    return hashlib.sha256(json.dumps([settings, index.digest(), asked, versions]).encode()).hexdigest()


@dataclass(frozen=True)
class _Candidate:
    """A pass that can be tried."""

    setting: PassSetting
    extractor: FeatureExtractor
    cost: PassCost

    @property
    def blocks(self) -> Blocks:
        return self.extractor.blocks

    def seconds(self, images: int) -> float:
        """About what a pass takes."""
        views = len(self.extractor.views)
        return _START + images * views * self.cost.ms_per_image / 1000 * 1.5


@dataclass
class _Search:
    """The state of a search."""

    config: Config
    index: Index
    options: TuneOptions
    trials: Trials
    started: float
    progress: Progress
    is_cut: bool = False
    """Whether the budget kept something from being tried."""
    _divided: Divided | None = None
    _folds: dict[int, NestedFolds] = field(default_factory=dict)

    def run(self, names: Sequence[str]) -> Outcome:
        """The whole search."""
        objective = Objective.parse(self.options.metric)
        self._score = objective.score
        candidates, tried = self._candidates(names)
        self._find_units(candidates[0])
        finalists, tried = self._halve(candidates, tried)
        scored = {one.setting: self._heads(one) for one in finalists}
        scored |= self._augmented(finalists, scored)
        return self._outcome(candidates, finalists, tried, scored)

    # 1. What can be tried, and what it costs

    def _candidates(self, names: Sequence[str]) -> tuple[list[_Candidate], list[TriedPass]]:
        """The passes that are cheap enough, that of the config first where it is one; and those that are not."""
        paths = [image.path for image in self.index.of("train")]
        sizes = sampled_sizes(paths, preparation_of(self.config)) or [(224, 224)]
        native = (float(np.median([h for _, h in sizes])), float(np.median([w for w, _ in sizes])))
        found: list[_Candidate] = []
        left_out: list[TriedPass] = []
        with self.progress.stage("Measuring backbones", len(names), "backbones"):
            for name in names:
                for setting in self._inputs(name, native):
                    candidate = self._candidate(setting)
                    why = self._too_expensive(candidate.cost)
                    if why:
                        left_out.append(TriedPass(setting, candidate.cost, 0, np.empty(0), why))
                    else:
                        found.append(candidate)
                self.progress.advance()
        if not found:
            cheapest = min(left_out, key=lambda one: one.cost.ms_per_image)
            raise UsageError(
                "usage.nothing_cheap_enough",
                f"No network is as cheap as asked for. The fastest, {cheapest.setting.backbone}, takes "
                f"{cheapest.cost.ms_per_image:.1f} ms per image and {cheapest.cost.megabytes:.0f} MB.",
                "Raise --max-ms or --max-mb.",
            )
        return found, left_out

    def _inputs(self, name: str, native: tuple[float, float]) -> list[PassSetting]:
        """The passes of a backbone, that of the config first."""
        row = backbone_row(self.config) if not name else _catalog(name)
        is_own = name == (self.config.backbone.name or "")
        given = given_pass(self.config, row)
        if self.config.image.tiles is not None:  # the size of a tile is part of what the config asks for
            return [replace(given, backbone=name, augmentation="none")]
        own = row.input_size
        choices = input_choices(own, native, row.crop_fraction, row.own is None, self.config.image.resize)
        found = [PassSetting(name, size, way) for size, way in choices]
        plain = replace(given, backbone=name, augmentation="none")
        if is_own or self.config.image.size is not None:
            found = [plain, *(one for one in found if one != plain)]
        return found

    def _candidate(self, setting: PassSetting) -> _Candidate:
        config = config_of_pass(self.config, setting)
        extractor = feature_extractor(self.index, config)
        return _Candidate(setting, extractor, PassCost(self._ms(extractor), _megabytes(extractor)))

    def _ms(self, extractor: FeatureExtractor) -> float:
        """Milliseconds for an image: measured at the network's own size, and in proportion to the area at others."""
        spec = extractor.spec
        what = {"stage": "speed", "backbone": spec.row.name, "weights": spec.weights.sha256}
        known = self.trials.get(what)
        if known is None:
            started = monotonic()
            at_own = replace(spec, size=spec.row.input_size)
            speed = known_speed(spec.row, spec.engine) or measure_speed(at_own, self.progress)
            known = self.trials.add(what, (speed.ms_per_image,), monotonic() - started)
        own = spec.row.input_size
        return known.scores[0] * (spec.size[0] * spec.size[1]) / (own[0] * own[1])

    def _too_expensive(self, cost: PassCost) -> str:
        options = self.options
        if options.max_ms is not None and cost.ms_per_image > options.max_ms:
            return f"takes {cost.ms_per_image:.1f} ms per image, more than --max-ms {options.max_ms:g}"
        if options.max_mb is not None and cost.megabytes > options.max_mb:
            return f"has {cost.megabytes:.0f} MB of weights, more than --max-mb {options.max_mb:g}"
        return ""

    # 2. Which images belong together

    def _find_units(self, first: _Candidate) -> None:
        """Passes all images through the first candidate: which are unreadable, and which near duplicates."""
        index, extractor = self.index, first.extractor
        wanted = _searched(index)
        done = extractor.extract([(wanted, extractor.views)], self.progress)
        dataset = self.config.dataset
        self.index = index = drop_unreadable(
            index, done.bad, dataset.on_bad_image, dataset.max_bad_fraction, list(wanted)
        )
        self._divided = divide(config_of_pass(self.config, first.setting), index, extractor, self.progress)

    @property
    def _units(self) -> Divided:
        if self._divided is None:
            raise DataError("data.class_too_small", "The images cannot be divided for cross-validation.", "Add images.")
        return self._divided

    def _images(self, count: int) -> list[LabelledImage]:
        """A stratified sample of whole units, within the next larger one."""
        numbers = self._units.sample
        rows = self._units.rows
        labelled = replace(rows, labels=rows.labels[numbers], units=rows.units[numbers])
        if count < len(numbers):
            (chosen,) = nested_parts(labelled, np.arange(len(numbers)), (count / len(numbers),), self.config.train.seed)
            numbers = numbers[chosen]
        return [replace(self._units.images[n], group=str(rows.units[n]), label=self._units.images[n].given)
                for n in numbers]  # fmt: skip

    def _rows(self, candidate: _Candidate, images: Sequence[LabelledImage]) -> tuple[Rows, NestedFolds]:
        """Features of images that have passed, and their folds: nested where they are all."""
        rows = candidate.extractor.rows(images, self.index.labels, candidate.extractor.views)
        plain = replace(rows, labels=rows.labels[: len(images)], units=rows.units[: len(images)])
        if len(images) not in self._folds:
            is_all = len(images) == len(self._units.sample)
            inner = _FOLDS if is_all and Task.of(plain).units < MANY_UNITS else 0
            self._folds[len(images)] = NestedFolds.of(plain, _FOLDS, inner, self.config.train.seed)
        folds = self._folds[len(images)]
        return rows, folds.with_views(len(images), len(candidate.extractor.views) - 1)

    # 3. Passes, by successive halving

    def _halve(self, candidates: list[_Candidate], tried: list[TriedPass]) -> tuple[list[_Candidate], list[TriedPass]]:
        """The passes that all images take, the best first; and how far all came."""
        going, given = list(candidates), candidates[0]
        counts = _samples(len(self._units.sample), len(self.index.labels), len(candidates))
        for count in counts:
            images = self._images(count)
            share = 1 / _FOLDS
            scores: dict[int, NDArray[np.float64]] = {}
            with self.progress.stage(f"Passes, {len(images):,} images", len(going), "passes"):
                for number, one in enumerate(going):
                    if (why := self._no_time(one, len(images))) and scores:
                        tried.append(TriedPass(one.setting, one.cost, 0, np.empty(0), why))
                        self.is_cut = True
                    else:
                        scores[number] = self._pass_scores(one, images)
                    self.progress.advance()
            is_last = count == counts[-1]
            kept = survivors(scores, share, 1 if is_last else 2, len(scores) if is_last else max(2, len(scores) // 2))
            if is_last:
                kept = sorted(scores, key=lambda number: -scores[number].mean())
            tried += [
                TriedPass(
                    going[number].setting, going[number].cost, len(images), scores[number],
                    "" if number in kept else f"was behind others after {len(images):,} images",
                )
                for number in sorted(scores, key=lambda number: -scores[number].mean())
                if is_last or number not in kept
            ]  # fmt: skip
            best = going[kept[0]]
            self._tell(
                best, scores[kept[0]], share, f"{len(images):,} images, {len(kept)} of {len(going)} passes go on"
            )
            going = [going[number] for number in kept]
        return [*going[:_FINALISTS], *([given] if given not in going[:_FINALISTS] else [])], tried

    def _pass_scores(self, candidate: _Candidate, images: Sequence[LabelledImage]) -> "NDArray[np.float64]":
        """[J], of the best of a few heads."""
        what = {"stage": "pass", "pass": asdict(candidate.setting), "images": len(images)}
        if known := self.trials.get(what):
            return np.array(known.scores)
        started = monotonic()
        candidate.extractor.extract([(images, candidate.extractor.views)])
        rows, folds = self._rows(candidate, images)
        outer = replace(folds, all=[folds.all[number] for number in folds.outer], inner=())
        found = list(score_heads(rows, candidate.blocks, outer, coarse_heads(candidate.blocks), self._score))
        best = max((scores for _, scores in found), key=lambda scores: float(scores.mean()))
        self.trials.add(what, tuple(float(one) for one in best), monotonic() - started)
        return best

    # 4. Heads, all of them

    def _heads(
        self, candidate: _Candidate, only: Sequence[HeadSetting] | None = None
    ) -> "dict[HeadSetting, NDArray[np.float64]]":
        """Scores on all folds [F] of every head on a pass."""
        images = self._images(len(self._units.sample))
        if only is None:
            only = all_heads(candidate.blocks)
        found: dict[HeadSetting, NDArray[np.float64]] = {}
        missing = []
        for setting in only:
            if known := self.trials.get(_head_key(candidate, setting)):
                found[setting] = np.array(known.scores)
            else:
                missing.append(setting)
        candidate.extractor.extract([(images, candidate.extractor.views)], self.progress)
        title = f"Heads on {candidate.setting.backbone or 'the own network'}, {candidate.setting.size_text}"
        with self.progress.stage(title, len(only), "heads"):
            self.progress.advance(len(found))
            if not missing:
                return found
            rows, folds = self._rows(candidate, images)
            started = monotonic()
            scored = score_heads(rows, candidate.blocks, folds, missing, self._score, self.config.train.seed)
            for setting, scores in scored:
                found[setting] = scores
                self.trials.add(_head_key(candidate, setting), tuple(map(float, scores)), monotonic() - started)
                started = monotonic()
                self.progress.advance()
                if self._spent() > _FOR_HEADS:
                    self.is_cut = self.is_cut or len(found) < len(only)
                    break
        return found

    def _augmented(
        self, finalists: Sequence[_Candidate], scored: "dict[PassSetting, dict[HeadSetting, NDArray[np.float64]]]"
    ) -> "dict[PassSetting, dict[HeadSetting, NDArray[np.float64]]]":
        """The best heads on augmented views of the best pass."""

        def best(one: _Candidate) -> float:
            return max((float(scores[:_FOLDS].mean()) for scores in scored[one.setting].values()), default=-np.inf)

        found = {}
        winner = max(finalists, key=best)
        heads = sorted(
            (head for head in scored[winner.setting] if head.kind == "logistic_regression"),
            key=lambda head: -float(scored[winner.setting][head][:_FOLDS].mean()),
        )[:_BEST_HEADS]
        for name in [*AUGMENTATIONS][1:]:
            candidate = self._candidate(replace(winner.setting, augmentation=name))
            known = self.trials.get(_head_key(candidate, heads[0])) if heads else None
            if not heads or (known is None and self._no_time(candidate, len(self._units.sample))):
                self.is_cut = True
                continue
            found[candidate.setting] = self._heads(candidate, heads)
        return found

    # 5. What it comes to

    def _outcome(
        self, candidates: Sequence[_Candidate], finalists: Sequence[_Candidate], tried: Sequence[TriedPass],
        scored: "dict[PassSetting, dict[HeadSetting, NDArray[np.float64]]]",
    ) -> Outcome:  # fmt: skip
        folds = self._folds[len(self._units.sample)]
        outer = list(folds.outer)
        costs = {one.setting: one.cost for one in finalists}
        costs |= {setting: costs[replace(setting, augmentation="none")] for setting in scored if setting not in costs}
        pairs = [(setting, head) for setting, heads in scored.items() for head in heads]
        scores = np.stack([scored[setting][head] for setting, head in pairs])  # [S, F]
        means = scores[:, outer].mean(axis=1)
        best = scores[int(means.argmax())][outer]

        def contender(number: int) -> Contender:
            own, (setting, head) = scores[number][outer], pairs[number]
            return Contender(
                setting, head, costs[setting], own, interval_of(own, folds.test_share),
                interval_of(best - own, folds.test_share) if number != int(means.argmax()) else (0.0, 0.0),
            )  # fmt: skip

        order = sorted(range(len(pairs)), key=lambda number: (-means[number], number))
        leaders: dict[tuple[object, ...], int] = {}
        for number in order:
            setting, head = pairs[number]
            leaders.setdefault((setting, head.kind, head.layers), number)
        given = self._given(candidates[0], best, folds)
        transferred = list(tried)
        smallest = min((one.images for one in tried if one.images), default=0)
        compared = [one for one in tried if one.images == smallest]
        return Outcome(
            metric=self.options.metric,
            images=len(self._units.sample),
            passes=tuple(sorted(transferred, key=lambda one: (-one.images, -(one.score or 0.0)))),
            contenders=tuple(contender(number) for number in leaders.values()),
            given=given,
            expected=expected_of(scores, folds),
            importance=importance([_named(head) for _, head in pairs], [float(one) for one in means]),
            input_importance=importance(
                [asdict(one.setting) for one in compared], [one.score or 0.0 for one in compared]
            ),
            trials=len(self.trials),
            resumed=self.trials.resumed,
            ending="budget" if self.is_cut else "exhausted",
            seconds=monotonic() - self.started,
        )

    def _given(self, first: _Candidate, best: "NDArray[np.float64]", folds: NestedFolds) -> Contender | None:
        """The config as it is, with logistic regression in place of other heads, as train chooses C and layers."""
        if first.setting.backbone != (self.config.backbone.name or ""):
            return None
        images = self._images(len(self._units.sample))
        extractor = feature_extractor(
            self.index,
            self.config.model_copy(
                update={
                    "augment": type(self.config.augment)(),
                    "backbone": config_of_pass(self.config, first.setting).backbone.model_copy(
                        update={"layers": self.config.backbone.layers, "pooling": self.config.backbone.pooling}
                    ),
                }
            ),
        )
        rows = extractor.rows(images, self.index.labels)
        section = self.config.backbone
        with suppress(DataError):
            fit = fit_regression(
                self.config,
                rows,
                self.config.head.class_weight,
                candidates=layer_candidates(section, extractor.blocks),
            )
            used = [extractor.blocks.all[number] for number in (fit.candidates[0].blocks if fit.candidates else ())]
            layers = tuple(dict.fromkeys(block.layer for block in used)) or extractor.blocks.layers
            head = HeadSetting(
                "logistic_regression", layers, section.pooling, self.config.head.standardize,
                self.config.head.class_weight, fit.best.C or 1.0,
            )  # fmt: skip
            own = self._heads(first, [head])[head][list(folds.outer)]
            return Contender(
                first.setting, head, first.cost, own, interval_of(own, folds.test_share),
                interval_of(best - own, folds.test_share),
            )  # fmt: skip
        return None

    # Time

    def _spent(self) -> float:
        """Share of the budget."""
        return (monotonic() - self.started) / self.options.budget

    def _no_time(self, candidate: _Candidate, images: int) -> str:
        """Why a pass is not started; empty if it is."""
        what = {"stage": "pass", "pass": asdict(candidate.setting), "images": images}
        if self.trials.get(what):
            return ""
        seconds = candidate.seconds(images)
        if self._spent() + seconds / self.options.budget <= _FOR_PASSES:
            return ""
        return f"would take about {seconds:.0f} s for {images:,} images, for which the budget is too small"

    def _tell(self, best: _Candidate, scores: "NDArray[np.float64]", share: float, what: str) -> None:
        low, high = interval_of(scores, share)
        setting, left = best.setting, max(0.0, self.options.budget * (1 - self._spent()))
        self.progress.note(
            f"Best so far: {setting.backbone or 'the own network'}, {setting.size_text} ({setting.resize}): "
            f"{self.options.metric} {abs(scores.mean()):.3f} ({min(abs(low), abs(high)):.3f} to "
            f"{max(abs(low), abs(high)):.3f}); {what}; {left / 60:.0f} min left"
        )


def _catalog(name: str) -> Backbone:
    from tlcli.backbones.catalog import CATALOG  # noqa: PLC0415

    return CATALOG[name]


def _megabytes(extractor: FeatureExtractor) -> float:
    row = extractor.spec.row
    if row.own is not None or row.name not in COSTS:
        with suppress(OSError):
            return extractor.spec.weights.file.stat().st_size / 1e6
        return 0.0
    return 4 * COSTS[row.name].parameters / 1e6


def _searched(index: Index) -> list[LabelledImage]:
    set_aside = [image for image in index.set_aside if image.split != "test"]
    return [*index.of("train"), *index.of("validation"), *set_aside]


def _samples(images: int, classes: int, passes: int) -> list[int]:
    """Sizes of the samples, the last of which is all images."""
    found, count = [], max(_FIRST, _OF_CLASS * classes)
    while passes > _FINALISTS and count * 1.5 < images:
        found.append(count)
        count *= _GROWTH
        passes //= 2
    return [*found, images]


def _head_key(candidate: _Candidate, setting: HeadSetting) -> dict[str, object]:
    return {"stage": "head", "pass": asdict(candidate.setting), "head": asdict(setting)}


def _named(head: HeadSetting) -> dict[str, object]:
    """Settings of a head by the names that are shown."""
    return {
        "kind": head.kind, "layers": head.layers, "pooling": head.pooling, "standardize": head.standardize,
        "class_weight": head.class_weight, "C": head.C, "gamma": head.gamma,
    }  # fmt: skip


# 6. What is written


def _write(folder: Path, loaded: LoadedConfig, search: _Search, outcome: Outcome) -> Path:
    """tuned.yaml."""
    best = outcome.best
    row = backbone_row(config_of_pass(loaded.config, best.input))
    config = config_of_winner(loaded.config, best.input, best.head, row.blocks.layers)
    path = folder / "tuned.yaml"
    write_text(path, tuned_yaml(config, list(_header(loaded, outcome)), dict(_reasons(outcome))))
    return path


def _header(loaded: LoadedConfig, outcome: Outcome) -> Iterator[str]:
    best, expected = outcome.best, outcome.expected
    yield f"Chosen by tlcli tune for {loaded.argument}: {outcome.metric} {best.score:.4f} in {_FOLDS}-fold"
    yield f"cross-validation on {outcome.images:,} training and validation images"
    if expected:
        yield f"(expect {expected.expected:.4f}, {expected.interval[0]:.4f} to {expected.interval[1]:.4f})."


def _reasons(outcome: Outcome) -> Iterator[tuple[str, str]]:
    yield "backbone.name", "the best network"
