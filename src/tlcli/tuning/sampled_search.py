"""Mini-batch heads in a search: round after round, a setting of each study, as long as time allows."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from tlcli.errors import DataError
from tlcli.features.rows import Rows
from tlcli.heads.minibatch_folds import Minibatch
from tlcli.heads.standardize import Standardizer
from tlcli.tuning import sampled_heads
from tlcli.tuning.candidates import Candidate
from tlcli.tuning.clock import MINIBATCH_FIT
from tlcli.tuning.sampled_heads import SampledFits, Study
from tlcli.tuning.search import FOR_HEADS, HeadScores, Search
from tlcli.tuning.settings import CLASS_WEIGHTS, HeadSetting, MinibatchSetting, PassSetting
from tlcli.tuning.trial_log import head_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOLD = 5
"""Rounds after which the best is told."""


def try_sampled(
    search: Search, scored: Mapping[PassSetting, HeadScores], candidates: Sequence[Candidate], how: Minibatch
) -> None:
    """Adds mini-batch heads on the best pass, whose settings a sampler chooses; NaN on the folds that a setting was
    not scored on (see :mod:`tlcli.tuning.sampled_heads`). Without Optuna, says so and adds nothing.

    Args:
        search: the search.
        scored: the heads of the passes without augmentation; changed.
        candidates: these passes.
        how: mini-batch training as the config says; a sampler changes some of it.
    """
    if not sampled_heads.is_installed():
        search.no_minibatch = "no_optuna"
        search.progress.note("Mini-batch heads are left out, as Optuna is missing: pip install 'tlcli[tune]'.")
        return
    outer = list(search.folds.outer)
    best = max(scored, key=lambda one: max(float(scores[outer].mean()) for scores in scored[one].values()))
    candidate = next(one for one in candidates if one.setting == best)
    class_weights = (*search.class_weights, *CLASS_WEIGHTS)
    first = MinibatchSetting(how.optimizer, how.learning_rate, how.batch_size, how.dropout)
    studies = Study.all(search.folds, candidate.blocks, class_weights, first, search.images.seed)
    fits = SampledFits(
        standardized(search, candidate), search.folds, candidate.blocks, how, search.score, search.images.seed
    )
    title = f"Mini-batch heads on {candidate.name}"
    with search.progress.stage(title, sampled_heads.ROUNDS, "rounds"):
        for number in range(sampled_heads.ROUNDS):
            found = _round(search, candidate, studies, fits)
            if found is None:
                return
            for head, scores in found:
                known = scored[best].get(head, scores)
                scored[best][head] = np.where(np.isnan(scores), known, scores)
            search.progress.advance()
            if (number + 1) % _TOLD == 0:
                search.tell_heads(candidate.name, scored[best])


def _round(
    search: Search, candidate: Candidate, studies: Sequence[Study], fits: SampledFits
) -> "list[tuple[HeadSetting, NDArray[np.float64]]] | None":
    """A setting of each study, with its scores; None where time would be up before all studies have one, or a class
    is too small: a choice within the outer folds is as good as that of the winner only if it had as many to choose
    from."""
    asked = [(study, *study.ask()) for study in studies]
    keys = [head_key(candidate, head) | {"stage": "sampled", "study": study.number} for study, _, head in asked]
    known = [search.trials.get(what) for what in keys]
    for (study, _, _), trial in zip(asked, known, strict=True):
        if trial is not None and not fits.seconds_of_fit:
            fits.seconds_of_fit = trial.seconds / len(study.measured)
    left = sum(len(study.measured) for (study, _, _), trial in zip(asked, known, strict=True) if trial is None)
    found = []
    for number, (study, trial, head) in enumerate(asked):
        if (done := known[number]) is None:
            if not search.clock.allows(left * _minibatch_seconds(search, candidate, fits), FOR_HEADS):
                search.clock.is_cut = True
                return None
            weight, started = search.class_weights.get(head.class_weight, head.class_weight), monotonic()
            try:
                scores = fits.scores(head, weight, study.measured)
            except DataError:  # a class is too small for another division; so it is in every round
                search.no_minibatch = "class_too_small"
                search.progress.note("Mini-batch heads are left out: a class has too few images to monitor the loss.")
                return None
            done = search.trials.add(keys[number], tuple(map(float, scores)), monotonic() - started)
            left -= len(study.measured)
        scores = np.array(done.scores)
        study.tell(trial, scores)
        found.append((head, scores))
    return found


def _minibatch_seconds(search: Search, candidate: Candidate, fits: SampledFits) -> float:
    """Of a fit, as measured; before the first by the size of the features."""
    return fits.seconds_of_fit or MINIBATCH_FIT * len(search.images.all) * candidate.blocks.width


def standardized(search: Search, candidate: Candidate) -> Callable[[], Rows]:
    """The rows of a pass of all images, read when the first is fitted."""

    def rows() -> Rows:
        found, _ = search.divided_rows(candidate, np.arange(len(search.images.all)))
        return found.with_features(Standardizer.of(found, True).apply(found.features()))

    return rows
