"""Tune: chooses network, input and head by cross-validation on training and validation images; no test image is read.

Passes of the frozen backbone are expensive: they go through successive halving, on samples that grow. Heads on stored
features are cheap: on the passes that all images took, all are tried.
"""

import hashlib
import json
import math
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

import tlcli
from tlcli.backbones.conversion import conversion_versions
from tlcli.backbones.costs import COSTS
from tlcli.backbones.source_classifier import source_classifier
from tlcli.config.build_cross_validation import Divided, ValidationDuplicates, divide
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor, head_inputs, layer_candidates, preparation_of
from tlcli.config.build_head import class_weight_of, fit_regression
from tlcli.config.build_small_network import FromScratch
from tlcli.config.build_transfer import measure_divided, why_not
from tlcli.config.build_tune import (
    candidate_backbones,
    config_of_pass,
    config_of_winner,
    given_pass,
    input_settings,
    minibatch_of,
    no_comparison,
    own_weights,
    silent_changes,
    tuned_yaml,
)
from tlcli.config.load import LoadedConfig, dump_config
from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.datasets.unreadable import drop_unreadable
from tlcli.engines.speed import known_speed, measure_speed
from tlcli.errors import DataError, UsageError
from tlcli.evaluation.objectives import Objective
from tlcli.evaluation.transfer_gap import NoTransfer, TransferGap
from tlcli.evaluation.transferability import transfer_scores
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.features.tile_cost import tiles_of_sample
from tlcli.heads.folds import sampled
from tlcli.images.augmentation import PLAIN
from tlcli.images.size_advice import sampled_sizes
from tlcli.progress import SILENT, Progress
from tlcli.reports.tune_page import draw_pareto, write_tune_page
from tlcli.reports.tune_text import TuneText, reasons
from tlcli.runs.trials import Trials, open_search
from tlcli.runs.tuning import write_leaderboard, write_passes, write_trials, write_tune
from tlcli.system.files import write_text
from tlcli.tuning.candidates import FOLDS, Candidate, Images
from tlcli.tuning.clock import Clock
from tlcli.tuning.leaderboard import outcome_of
from tlcli.tuning.outcome import Contender, Outcome, PassCost, TriedPass
from tlcli.tuning.search import FOR_PASSES, HeadScores, Search
from tlcli.tuning.settings import GIVEN_WEIGHTS, HeadSetting, PassSetting

if TYPE_CHECKING:
    from tlcli.heads.class_weight import ClassWeight

_FOR_TRANSFER, _SHARE_FOR_TRANSFER = 75.0, 0.1
"""Seconds, and the share of the budget at most, that are kept for the question whether pretraining helps."""
_TRANSFER = ("log_me", "h_score", "nleep", "leep", "knn")


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
    clock = Clock(options.budget - _kept_for_transfer(config, options.budget))
    with progress.stage("Indexing images"):
        index = dataset_index(config.dataset, loaded.options)
    names, left_out = candidate_backbones(config, options.backbones)
    for name, why in left_out.items():
        progress.note(f"{name} is left out: {why}.")
    for changed in silent_changes(config):
        progress.note(changed)
    with open_search(runs_dir.absolute(), loaded.name, _digest(config, index, options, names)) as (folder, trials):
        if len(trials):
            progress.note(f"Going on with the search in {folder}: {len(trials):,} trials are known.")
        candidates, tried = _candidates(config, index, names, options, trials, clock, progress)
        reference = _reference(index, candidates, trials, clock)
        images = _searched_images(config, index, reference, progress)
        weights = _class_weights(config, index)
        search = Search(images, objective.score, options.metric, trials, clock, progress, weights, reference.setting)
        finalists, halved = search.halve(candidates)
        halved = _with_transfer(halved, candidates, search, trials, progress)
        scored = _heads(search, finalists)
        finalists = [one for one in finalists if one.setting in scored]
        passed = {one.setting for one in halved if one.images == len(images.all)}
        given = _given_head(config, index, candidates[0], search, scored) if candidates[0].setting in passed else None
        without_views = dict(scored)

        def augmented(setting: PassSetting) -> Candidate:
            plain = next(one for one in finalists if one.setting == replace(setting, augmentation="none"))
            return Candidate(setting, feature_extractor(index, config_of_pass(config, setting)), plain.cost)

        scored |= search.augmented({one.setting: scored[one.setting] for one in finalists}, augmented)
        search.sampled(without_views, candidates, minibatch_of(config))
        costs = {one.setting: one.cost for one in candidates}
        costs |= {one: costs[replace(one, augmentation="none")] for one in scored if one not in costs}
        costs = {one: replace(cost, seconds=trials.seconds_of(asdict(one))) for one, cost in costs.items()}
        halved = [replace(one, cost=costs.get(one.setting, one.cost)) for one in halved]
        outcome = outcome_of(
            search, scored, costs, [*halved, *tried], given, len(trials), trials.resumed
        )  # fmt: skip
        best = _candidate_of(outcome.best, candidates, augmented)
        outcome = replace(outcome, thresholds=search.thresholds(best, outcome.best.head, objective))
        gap = _transfer_gap(_winner(config, best, outcome), best, search, whole, progress)
        outcome = outcome.with_transfer(gap)
        outcome = replace(outcome, trials=len(trials), resumed=trials.resumed, seconds=whole.seconds)
        outcome = replace(outcome, no_given=no_comparison(config))
        write_trials(folder / "trials.csv", options.metric, trials.all())
        written = _write(folder, loaded, best, outcome)
    return Tuned(folder, written, outcome)


def _digest(config: Config, index: Index, options: TuneOptions, names: Sequence[str]) -> str:
    """Of everything that the scores depend on."""
    settings = dump_config(config.model_copy(update={"evaluate": type(config.evaluate)()}))
    asked = [options.metric, sorted(options.backbones), options.max_ms, options.max_mb, list(names)]
    versions = [tlcli.__version__, conversion_versions(), own_weights(config, index)]
    return hashlib.sha256(json.dumps([settings, index.digest(), asked, versions]).encode()).hexdigest()


def _candidates(
    config: Config, index: Index, names: Sequence[str], options: TuneOptions, trials: Trials, clock: Clock,
    progress: Progress,
) -> tuple[list[Candidate], list[TriedPass]]:  # fmt: skip
    """The passes that are cheap enough, that of the config first where it is one; and those that are not. Once the time
    for passes is over, no other network is downloaded, converted and measured."""
    paths = [image.path for image in index.of("train")]
    sizes = sampled_sizes(paths, preparation_of(config)) or [(224, 224)]
    width, height = (float(np.median(sides)) for sides in zip(*sizes, strict=True))
    found: list[Candidate] = []
    too_expensive: list[TriedPass] = []
    with progress.stage("Measuring backbones", len(names), "backbones"):
        for name in names:
            if (found or too_expensive) and not clock.allows(0, FOR_PASSES) and not _is_measured(name, trials):
                progress.note(f"{name} is left out: the time for passes is over.")
                clock.is_cut = True
                progress.advance()
                continue
            for setting in input_settings(config, name, (height, width)):
                extractor = feature_extractor(index, config_of_pass(config, setting))
                tiles = tiles_of_sample(paths, extractor.decoder.preparation) if config.image.tiles else 1.0
                cost = PassCost(tiles * _ms_per_image(extractor, trials), _megabytes(extractor))
                if why := _over_the_limit(cost, options):
                    too_expensive.append(TriedPass(setting, cost, 0, np.empty(0), why))
                else:
                    found.append(Candidate(setting, extractor, cost))
            progress.advance()
    if not found:
        fastest = min(too_expensive, key=lambda one: one.cost.ms_per_image)
        raise UsageError(
            "usage.nothing_cheap_enough",
            f"No network is as cheap as asked for. The fastest, {fastest.setting.backbone}, takes "
            f"{fastest.cost.ms_per_image:.1f} ms per image and has {fastest.cost.megabytes:.0f} MB of weights.",
            "Raise --max-ms or --max-mb.",
        )
    return found, too_expensive


def _is_measured(name: str, trials: Trials) -> bool:
    """Whether an earlier part of the search measured a network: its passes stay candidates."""
    return any(one.what.get("stage") == "speed" and one.what.get("backbone") == name for one in trials.all())


def _ms_per_image(extractor: FeatureExtractor, trials: Trials) -> float:
    """Milliseconds for an image, or for each of its tiles: measured at the network's own size, and in proportion to the
    area at others."""
    spec, own = extractor.spec, extractor.spec.row.input_size
    what = {"stage": "speed", "backbone": spec.row.name, "weights": spec.weights.sha256}
    known, started = trials.get(what), monotonic()
    if known is None:
        speed = known_speed(spec.row, spec.engine) or measure_speed(replace(spec, size=own))
        known = trials.add(what, (speed.ms_per_image,), monotonic() - started)
    return known.scores[0] * (spec.size[0] * spec.size[1]) / (own[0] * own[1])


def _megabytes(extractor: FeatureExtractor) -> float:
    row, file = extractor.spec.row, extractor.spec.weights.file
    if row.own is None:
        return 4 * COSTS[row.name].parameters / 1e6
    return file.stat().st_size / 1e6 if file.is_file() else 0.0


def _over_the_limit(cost: PassCost, options: TuneOptions) -> str:
    """Why a pass is not tried; empty if it is."""
    if options.max_ms is not None and cost.ms_per_image > options.max_ms:
        return f"{cost.ms_per_image:.1f} ms per image, more than --max-ms {options.max_ms:g}"
    if options.max_mb is not None and cost.megabytes > options.max_mb:
        return f"{cost.megabytes:.0f} MB, more than --max-mb {options.max_mb:g}"
    return ""


def _reference(
    index: Index, candidates: Sequence[Candidate], trials: Trials, clock: Clock
) -> Candidate:  # fmt: skip
    """The pass that all images take before the search, by which unreadable images and near duplicates are found: the
    config's own if there is time for it, else the cheapest. The folds depend on it: a search keeps it, however long its
    later parts are."""
    what = {"stage": "reference"}
    if (known := trials.get(what)) is not None:
        return candidates[int(known.scores[0])]
    images = len(index.of("train")) + len(index.of("validation"))
    chosen, ms = 0, candidates[0].cost.ms_per_image
    if not clock.allows(images * ms / 1000, FOR_PASSES):
        chosen = min(range(len(candidates)), key=lambda number: candidates[number].cost.ms_per_image)
        clock.is_cut = True
    trials.add(what, (chosen,), 0.0)
    return candidates[chosen]


def _searched_images(config: Config, index: Index, first: Candidate, progress: Progress) -> Images:
    """The readable images of training and validation, or of a sample where they are very many, near duplicates in one
    unit; all of them pass the reference."""
    wanted = [*index.of("train"), *index.of("validation"), *(one for one in index.set_aside if one.split != "test")]
    _, groups = np.unique([image.group for image in wanted], return_inverse=True)
    labels = np.array([index.labels.index(image.given) for image in wanted], np.int64)
    chosen = sampled(Rows.of(np.empty((len(wanted), 0), np.float32), labels, groups), FOLDS, config.train.seed)
    if len(chosen) < len(wanted):
        progress.note(f"The search takes a sample of {len(chosen):,} of {len(wanted):,} images.")
        wanted = [wanted[number] for number in chosen]
        index = replace(index, images=tuple(one for one in wanted if not one.is_set_aside), set_aside=())
    done, dataset = first.extractor.extract([(wanted, first.extractor.views)], progress), config.dataset
    index = drop_unreadable(index, done.bad, dataset.on_bad_image, dataset.max_bad_fraction, wanted)
    divided = divide(config_of_pass(config, first.setting), index, first.extractor, progress)
    if divided is None:
        raise DataError("data.class_too_small", "The images cannot be divided for cross-validation.", "Add images.")
    images = tuple(divided.images[number] for number in divided.sample)
    return Images(images, index.labels, divided.rows.part(divided.sample), config.train.seed)


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


def _with_transfer(
    tried: Sequence[TriedPass], candidates: Sequence[Candidate], search: Search, trials: Trials, progress: Progress
) -> list[TriedPass]:
    """The passes with the transferability scores of those that all images took."""
    found = {one.setting: one for one in candidates}
    whole = [one for one in tried if one.images == len(search.images.all)]
    with progress.stage("Scoring transferability", len(whole), "passes"):
        for one in whole:
            found_scores = _transfer_of(found[one.setting], search, trials)
            tried = [replace(each, transfer=found_scores) if each is one else each for each in tried]
            progress.advance()
    return list(tried)


def _transfer_of(candidate: Candidate, search: Search, trials: Trials) -> dict[str, float | None]:
    """Scores of the last layer's average, by name."""
    what = {"stage": "transfer", "pass": asdict(candidate.setting)}
    known, images, spec = trials.get(what), search.images, candidate.extractor.spec
    if known is None:
        if not search.clock.allows(0, 1):
            search.clock.is_cut = True
            return {}
        started = monotonic()
        candidate.extractor.extract([(images.all, (PLAIN,))], search.progress)
        features = candidate.extractor.features(images.all, candidate.extractor.last)
        source = source_classifier(spec.row, spec.weights)
        probabilities = source.probabilities(features) if source else None
        scores = transfer_scores(features, images.rows.labels, images.rows.units, probabilities, images.seed)
        values = [getattr(scores, name) for name in _TRANSFER]
        known = trials.add(what, tuple(math.nan if one is None else one for one in values), monotonic() - started)
    return {name: None if math.isnan(value) else value for name, value in zip(_TRANSFER, known.scores, strict=True)}


def _kept_for_transfer(config: Config, budget: float) -> float:
    """Seconds of the budget in which no search is begun, so that the comparison at its end is not left out."""
    return 0.0 if why_not(config) else min(_FOR_TRANSFER, budget * _SHARE_FOR_TRANSFER)


def _candidate_of(
    best: Contender, candidates: Sequence[Candidate], augmented: Callable[[PassSetting], Candidate]
) -> Candidate:
    """The pass of the winner."""
    return next((one for one in candidates if one.setting == best.input), None) or augmented(best.input)


def _winner(config: Config, best: Candidate, outcome: Outcome) -> Config:
    """The config of the winner."""
    return config_of_winner(
        config, best.setting, outcome.best.head, best.extractor.spec.row.blocks.layers, outcome.thresholds
    )  # fmt: skip


def _transfer_gap(
    config: Config, best: Candidate, search: Search, clock: Clock, progress: Progress
) -> TransferGap | NoTransfer:
    """What evaluate would say of the winner on a sample of the same images, and a network trained from scratch.

    Args:
        config: of the winner.
        best: its pass.
        search: its images, which are divided already, and its trials.
        clock: of the whole budget.
        progress: receives the stages.
    """
    images, extractor = search.images, best.extractor
    extractor = replace(extractor, inputs=head_inputs(config.backbone, extractor.spec.row.blocks))
    rows = search.rows_of(extractor)
    divided = Divided(images.all, rows, np.arange(len(rows)), 0, ValidationDuplicates(0, 0))
    scratch = FromScratch(search.trials, clock, best.cost.ms_per_image)
    return measure_divided(config, divided, extractor, progress, scratch)


def _write(folder: Path, loaded: LoadedConfig, best: Candidate, outcome: Outcome) -> Path:
    """tuned.yaml, the tables and the page."""
    path, config = folder / "tuned.yaml", _winner(loaded.config, best, outcome)
    has_thresholds = loaded.config.head.thresholds != "none"
    text, next_command = TuneText(outcome), shlex.join(["tlcli", "train", "--config", str(path)])
    header = [
        f"Chosen by tlcli tune for {loaded.argument}.",
        text.verdict,
        text.given,
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
