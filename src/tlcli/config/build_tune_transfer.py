"""What a search says of transfer: scores of its passes, and whether pretraining helps its winner.

Within its budget, and remembered.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from time import monotonic

import numpy as np

from tlcli.backbones.source_classifier import source_classifier
from tlcli.config.build_cross_validation import Divided, ValidationDuplicates
from tlcli.config.build_features import head_inputs
from tlcli.config.build_small_network import FromScratch
from tlcli.config.build_transfer import measure_divided, why_not
from tlcli.config.schema import Config
from tlcli.evaluation.transfer_gap import NoTransfer, TransferGap
from tlcli.evaluation.transferability import transfer_scores
from tlcli.images.augmentation import PLAIN
from tlcli.progress import Progress
from tlcli.runs.trials import Trials
from tlcli.tuning.candidates import Candidate
from tlcli.tuning.clock import Clock
from tlcli.tuning.outcome import TriedPass
from tlcli.tuning.search import Search

_FOR_TRANSFER, _SHARE_FOR_TRANSFER = 75.0, 0.1
"""Seconds, and the share of the budget at most, that are kept for the question whether pretraining helps."""
_TRANSFER = ("log_me", "h_score", "nleep", "leep", "knn")


def kept_for_transfer(config: Config, budget: float) -> float:
    """Seconds of the budget in which no search is begun, so that the comparison at its end is not left out."""
    return 0.0 if why_not(config) else min(_FOR_TRANSFER, budget * _SHARE_FOR_TRANSFER)


def with_transfer(
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


def transfer_gap(
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
