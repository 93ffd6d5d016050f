"""Tune: chooses network, input and head by cross-validation on training and validation images; no test image is read.

Passes of the frozen backbone are expensive: they go through successive halving, on samples that grow. Heads on stored
features are cheap: on the passes that all images took, all are tried.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tlcli
from tlcli.backbones.conversion import conversion_versions
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor, layer_candidates
from tlcli.config.build_head import class_weight_of, fit_regression
from tlcli.config.build_search import Limits, reference_pass, search_candidates, searched_images
from tlcli.config.build_tune import (
    candidate_backbones,
    config_of_fine_tuned,
    config_of_pass,
    config_of_winner,
    given_pass,
    minibatch_of,
    no_comparison,
    own_weights,
    silent_changes,
    tuned_yaml,
)
from tlcli.config.build_tune_finetuning import FineTuning, kept_for_finetuning
from tlcli.config.build_tune_transfer import kept_for_transfer, transfer_gap, with_transfer
from tlcli.config.load import LoadedConfig, dump_config
from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.errors import DataError
from tlcli.evaluation.objectives import Objective
from tlcli.progress import SILENT, Progress
from tlcli.reports.tune_page import draw_pareto, write_tune_page
from tlcli.reports.tune_text import TuneText, reasons
from tlcli.runs.trials import Trials, open_search
from tlcli.runs.tuning import write_leaderboard, write_passes, write_trials, write_tune
from tlcli.system.files import write_text
from tlcli.tuning.candidates import Candidate
from tlcli.tuning.clock import Clock
from tlcli.tuning.leaderboard import outcome_of
from tlcli.tuning.outcome import Contender, Outcome, TriedPass
from tlcli.tuning.sampled_search import try_sampled
from tlcli.tuning.search import HeadScores, Search
from tlcli.tuning.settings import GIVEN_WEIGHTS, HeadSetting, PassSetting
from tlcli.tuning.winner import thresholds, try_augmented

if TYPE_CHECKING:
    from tlcli.heads.class_weight import ClassWeight


@dataclass(frozen=True)
class TuneOptions:
    """What a search may do."""

    metric: str
    budget: float
    """Seconds, of this part of the search."""
    backbones: tuple[str, ...] = ()
    """Names; without, all whose weights are on this machine."""
    limits: Limits = field(default_factory=Limits)
    """What a network may cost."""


@dataclass(frozen=True)
class Tuned:
    """A finished search."""

    folder: Path
    config: Path
    """tuned.yaml"""
    outcome: Outcome


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
    config, whole, objective = loaded.config, Clock(options.budget), Objective.parse(options.metric)
    with progress.stage("Indexing images"):
        index = dataset_index(config.dataset, loaded.options)
    for_winner = Clock(options.budget - kept_for_transfer(config, options.budget), whole.started)
    kept = kept_for_finetuning(config, index, options.budget, progress)
    clock = Clock(for_winner.budget - kept, whole.started)
    names, left_out = candidate_backbones(config, options.backbones)
    for note in (*(f"{name} is left out: {why}." for name, why in left_out.items()), *silent_changes(config)):
        progress.note(note)
    with open_search(runs_dir.absolute(), loaded.name, _digest(config, index, options, names)) as (folder, trials):
        if len(trials):
            progress.note(f"Going on with the search in {folder}: {len(trials):,} trials are known.")
        candidates, expensive = search_candidates(config, index, names, options.limits, trials, clock, progress)
        reference = reference_pass(index, candidates, trials, clock)
        images, weights = searched_images(config, index, reference, progress), _class_weights(config, index)
        search = Search(images, objective.score, options.metric, trials, clock, progress, weights, reference.setting)
        found = _searched(config, index, search, candidates, trials)
        outcome = _outcome(search, replace(found, passes=[*found.passes, *expensive]), trials)
        best = found.candidate(outcome.best.input)
        outcome = replace(outcome, thresholds=thresholds(search, best, outcome.best.head, objective))
        start = _start(outcome.best, found.scored[best.setting], search)
        tuning = FineTuning(
            config, index, search, objective, best, outcome.best, start, minibatch_of(config), for_winner
        )  # fmt: skip
        outcome = replace(outcome, finetuning=tuning.tried(progress))
        gap = transfer_gap(_frozen_winner(config, best, outcome), best, search, whole, progress)
        outcome = outcome.with_transfer(gap)
        outcome = replace(
            outcome, trials=len(trials), resumed=trials.resumed, seconds=whole.seconds, no_given=no_comparison(config),
            ending="budget" if clock.is_cut else "exhausted",
        )  # fmt: skip
        write_trials(folder / "trials.csv", options.metric, trials.all())
        written = _write(folder, loaded, best, start, outcome)
    return Tuned(folder, written, outcome)


@dataclass(frozen=True)
class _Found:
    """What was scored."""

    scored: dict[PassSetting, HeadScores]
    """Of each pass that all images took, and of augmented views of the best."""
    passes: Sequence[TriedPass]
    """How far each came."""
    candidates: Mapping[PassSetting, Candidate]
    """All, those of augmented views included."""
    given: tuple[PassSetting, HeadSetting] | None
    """The config as it is; among ``scored``."""

    def candidate(self, setting: PassSetting) -> Candidate:
        """Of a pass that has scores."""
        return self.candidates[setting]


def _searched(
    config: Config, index: Index, search: Search, candidates: Sequence[Candidate], trials: Trials
) -> _Found:  # fmt: skip
    """Passes, then heads, then views and mini-batch heads of the best."""
    finalists, halved = search.halve(candidates)
    halved = with_transfer(halved, candidates, search, trials, search.progress)
    scored = _heads(search, finalists)
    finalists = [one for one in finalists if one.setting in scored]
    passed = {one.setting for one in halved if one.images == len(search.images.all)}
    given = _given_head(config, index, candidates[0], search, scored) if candidates[0].setting in passed else None
    without_views, every = dict(scored), {one.setting: one for one in candidates}

    def augmented(setting: PassSetting) -> Candidate:
        plain = every[replace(setting, augmentation="none")]
        every[setting] = Candidate(setting, feature_extractor(index, config_of_pass(config, setting)), plain.cost)
        return every[setting]

    scored |= try_augmented(search, {one.setting: scored[one.setting] for one in finalists}, augmented)
    try_sampled(search, without_views, candidates, minibatch_of(config))
    return _Found(scored, halved, every, given)


def _outcome(search: Search, found: _Found, trials: Trials) -> Outcome:
    """Ranks what was found, with the seconds that each pass took."""
    costs = {
        setting: replace(one.cost, seconds=trials.seconds_of(asdict(setting)))
        for setting, one in found.candidates.items()
    }
    passes = [replace(one, cost=costs.get(one.setting, one.cost)) for one in found.passes]
    return outcome_of(search, found.scored, costs, passes, found.given, len(trials), trials.resumed)


def _start(best: Contender, scored: HeadScores, search: Search) -> HeadSetting:
    """The linear head that fine-tuning starts from: the winner, or the best one on its pass, of its layers if there is
    one."""
    outer = list(search.folds.outer)
    linear = [head for head in scored if head.kind == "logistic_regression"]
    same = [head for head in linear if head.layers == best.head.layers and head.pooling == best.head.pooling]
    return best.head if best.head in linear else max(same or linear, key=lambda one: float(scored[one][outer].mean()))


def _digest(config: Config, index: Index, options: TuneOptions, names: Sequence[str]) -> str:
    """Of everything that the scores depend on."""
    not_searched = {name: type(getattr(config, name))() for name in ("evaluate", "finetune", "tune")}
    settings, limits = dump_config(config.model_copy(update=not_searched)), options.limits
    asked = [options.metric, sorted(options.backbones), limits.max_ms, limits.max_mb, list(names)]
    versions = [tlcli.__version__, conversion_versions(), own_weights(config, index)]
    return hashlib.sha256(json.dumps([settings, index.digest(), asked, versions]).encode()).hexdigest()


def _heads(search: Search, finalists: Sequence[Candidate]) -> dict[PassSetting, HeadScores]:
    """Of each pass that there was time for, the best at least."""
    found = {one.setting: search.heads(one, is_needed=one is finalists[0]) for one in finalists}
    return {setting: heads for setting, heads in found.items() if heads}


def _given_head(
    config: Config, index: Index, first: Candidate, search: Search, scored: dict[PassSetting, HeadScores]
) -> tuple[PassSetting, HeadSetting] | None:
    """What train would do with the config as it is: its pass, if it is the first candidate, and logistic regression
    with C and layers chosen by log loss. Its scores are added to those of the search."""
    if no_comparison(config) or first.setting != replace(
        given_pass(config, first.extractor.spec.row), augmentation="none"
    ):
        return None
    section = config.backbone
    as_given = config_of_pass(config, first.setting)
    plain = as_given.model_copy(
        update={"backbone": as_given.backbone.model_copy(update={"layers": section.layers, "pooling": section.pooling})}
    )
    if not search.clock.allows(0, 1):
        search.clock.is_cut = True
        return None
    extractor = feature_extractor(index, plain)
    rows = search.rows_of(extractor)
    name, weight = next(iter(search.class_weights.items()), (str(config.head.class_weight),) * 2)
    with suppress(DataError):
        candidates = layer_candidates(section, extractor.blocks)
        fit = fit_regression(config, rows, weight, candidates=candidates)
        used = [extractor.blocks.all[number].layer for number in fit.candidates[0].blocks]
        head = HeadSetting(
            "logistic_regression", tuple(dict.fromkeys(used)), section.pooling, config.head.standardize, name,
            fit.best.C or 1.0,
        )  # fmt: skip
        if head not in scored.get(first.setting, {}):
            scored[first.setting] = scored.get(first.setting, {}) | search.heads(first, [head], is_needed=True)
        return first.setting, head
    return None


def _class_weights(config: Config, index: Index) -> dict[str, "ClassWeight"]:
    """The mapping of the config, by the name that stands for it."""
    weight = class_weight_of(config, index.labels)
    return {} if isinstance(weight, str) else {GIVEN_WEIGHTS: weight}


def _winner(config: Config, best: Candidate, start: HeadSetting, outcome: Outcome) -> Config:
    """The config of the winner, fine-tuned where there is evidence that it helps."""
    if outcome.is_fine_tuned:
        return config_of_fine_tuned(config, best.setting, start, best.extractor.spec.row.blocks.layers)
    return _frozen_winner(config, best, outcome)


def _frozen_winner(config: Config, best: Candidate, outcome: Outcome) -> Config:
    """The config of the winner without fine-tuning."""
    return config_of_winner(
        config, best.setting, outcome.best.head, best.extractor.spec.row.blocks.layers, outcome.thresholds
    )  # fmt: skip


def _write(folder: Path, loaded: LoadedConfig, best: Candidate, start: HeadSetting, outcome: Outcome) -> Path:
    """tuned.yaml, the tables and the page."""
    path, config = folder / "tuned.yaml", _winner(loaded.config, best, start, outcome)
    has_thresholds = loaded.config.head.thresholds != "none"
    text, next_command = TuneText(outcome), shlex.join(["tlcli", "train", "--config", str(path)])
    header = [
        f"Chosen by tlcli tune for {loaded.argument}.",
        text.verdict,
        text.given,
        *([text.finetuning] if text.finetuning else []),
        *silent_changes(loaded.config),
        "",
        f"  {next_command}",
    ]
    write_text(path, tuned_yaml(config, header, reasons(outcome, has_thresholds)))
    write_tune(folder / "tune.json", outcome)
    write_leaderboard(folder / "leaderboard.csv", outcome)
    write_passes(folder / "passes.csv", outcome)
    (folder / "figures").mkdir(exist_ok=True)
    draw_pareto(folder / "figures", outcome)
    write_tune_page(folder, outcome, loaded.name, next_command, path.read_text(encoding="utf-8"))
    return path
