"""From the winner of a search to its fine-tuning on the search's outer folds, within the budget, and remembered.

For each outer fold that time allows everything is done that ``train`` would do with the images that the fold is fitted
on: the frozen head, the learning rate by a fifth of these images, the training. The images
that the fold holds out are answered for at the end alone, as by the winner.

Shapes: N images, n held-out images, J outer folds, L classes.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from tlcli.config.build_features import feature_extractor, layer_candidates
from tlcli.config.build_finetune import (
    check_finetune,
    open_activations,
    recipe_of,
    store_activations,
    train_blocks,
)
from tlcli.config.build_head import class_weight_of, fit_regression
from tlcli.config.build_tune import config_of_fine_tuned
from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.errors import DataError, ModelError, ResourceError, TlcliError, UsageError
from tlcli.evaluation.objectives import Objective
from tlcli.evaluation.paired_scores import PairedScore, paired_score
from tlcli.features.activations import Activations
from tlcli.features.extractor import FeatureExtractor
from tlcli.finetuning.recipe import Recipe
from tlcli.finetuning.request import Epoch
from tlcli.heads.class_weight import ClassWeight
from tlcli.heads.minibatch_folds import Minibatch
from tlcli.progress import Progress
from tlcli.tuning.candidates import Candidate
from tlcli.tuning.clock import Clock
from tlcli.tuning.fine_tuned import fine_tuned_of
from tlcli.tuning.outcome import Contender, FineTuned, NoFinetuning, NotFineTuned
from tlcli.tuning.search import Search
from tlcli.tuning.settings import HeadSetting
from tlcli.tuning.winner import outer_probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MEASURED = 2
"""Epochs after which it is decided whether a fold ends in time."""
_START = 15.0
"""Seconds until TensorFlow has started, for each fold."""
_SHARE = 0.5
"""Of the budget, which is kept for fine-tuning where it is asked for."""
_REASONS: dict[str, NoFinetuning] = {
    "data.too_few_to_prove": "few_validation", "config.finetune_unsupported": "unsupported",
    "model.no_cut": "unsupported", "config.training_diverged": "diverged", "data.class_too_small": "class_too_small",
    "data.groups_not_divisible": "class_too_small",
}  # fmt: skip
"""By the code of an error; other errors of the network are ``unavailable``, of the disk ``no_room``."""


class _NoTimeError(Exception):
    """A fold would not end in time; it goes on where it ended, another time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        """That it would take."""


def kept_for_finetuning(config: Config, index: Index, budget: float, progress: Progress) -> float:
    """Seconds of the budget in which no passes and heads are begun; 0 where nothing can be fine-tuned whatever wins,
    which is noted."""
    if not config.tunes_finetuning:
        return 0.0
    if config.finetune.blocks == "all":
        progress.note("Fine-tuning will be left out: tune trains last blocks, not the whole network.")
        return 0.0
    try:
        check_finetune(config.model_copy(update={"head": config.head.model_copy(update={"fit": "finetune"})}), index)
    except DataError as error:
        progress.note(f"Fine-tuning will be left out: {error.message}")
        return 0.0
    except UsageError as error:
        if config.image.tiles is not None or error.code != "config.finetune_unsupported":
            progress.note(f"Fine-tuning will be left out: {error.message}")
            return 0.0
        # Of this network; another may win.
    return _SHARE * budget


@dataclass(frozen=True)
class FineTuning:
    """Fine-tunes the winner of a search on its outer folds."""

    config: Config
    """That was searched."""
    index: Index
    search: Search
    objective: Objective
    candidate: Candidate
    """The pass of the winner."""
    best: Contender
    """The winner."""
    start: HeadSetting
    """The frozen head that training starts from: the winner if it is a linear one, else the best linear one."""
    minibatch: Minibatch
    """How a winner that is a mini-batch head is trained."""
    clock: Clock
    """Of what may be spent."""

    def tried(self, progress: Progress) -> FineTuned | NotFineTuned:
        """What it brings, on as many folds as time allows; or why it was not tried.

        Args:
            progress: receives the stages, and why it was not tried.

        Raises:
            DataError: a file changed since it was indexed.
        """
        if not self.config.tunes_finetuning:
            return NotFineTuned("off")
        blocks = self.config.finetune.blocks
        if blocks == "all":
            progress.note("Fine-tuning is left out: tune trains last blocks, not the whole network.")
            return NotFineTuned("unsupported")
        config = config_of_fine_tuned(self.config, self.candidate.setting, self.start, self._all_layers)
        measured: list[PairedScore] = []
        try:
            check_finetune(config, self.index)
            for one in self._folds(config, progress):
                measured.append(one)  # noqa: PERF402 - those before an error count
        except _NoTimeError as late:
            self.search.clock.is_cut = True
            if not measured:
                progress.note(f"Fine-tuning is left out: a fold would take about {late.seconds:.0f} s.")
                return NotFineTuned("no_time", round(late.seconds, 1))
        except (DataError, ModelError, ResourceError, UsageError) as error:
            if isinstance(error, DataError) and error.code not in _REASONS:
                raise
            if not measured:
                return self._left_out(error, progress)
            progress.note(f"Fine-tuning ended: {error.message}")
        folds = self.search.folds
        held = sum(len(folds.all[number][1]) for number in folds.outer[: len(measured)])
        cost = replace(self.candidate.cost, seconds=self._seconds(config))
        head = replace(self.start, kind="finetune")
        return fine_tuned_of(self.candidate.setting, head, cost, measured, len(folds.outer), held, blocks)

    @property
    def _all_layers(self) -> tuple[str, ...]:
        return self.candidate.extractor.spec.row.blocks.layers

    @staticmethod
    def _left_out(error: TlcliError, progress: Progress) -> NotFineTuned:
        progress.note(f"Fine-tuning is left out: {error.message}")
        other: NoFinetuning = "no_room" if isinstance(error, ResourceError) else "unavailable"
        return NotFineTuned(_REASONS.get(error.code, other))

    def _key(self, config: Config, fold: int) -> dict[str, object]:
        """Of all that the figures of a fold depend on, and that the search's own digest has not."""
        recipe = config.finetune.model_dump(mode="json", exclude={"keep"})
        return {
            "stage": "finetune", "input": asdict(self.candidate.setting), "winner": asdict(self.best.head),
            "head": asdict(self.start), "finetune": recipe, "fold": fold,
        }  # fmt: skip

    def _seconds(self, config: Config) -> float:
        found = (self.search.trials.get(self._key(config, fold)) for fold in range(len(self.search.folds.outer)))
        return sum(one.seconds for one in found if one)

    def _folds(self, config: Config, progress: Progress) -> Iterator[PairedScore]:
        """Of each fold, in their order, what was measured.

        Raises:
            _NoTimeError: the next would not end in time.
        """
        trials, took, work = self.search.trials, 0.0, None
        for fold in range(len(self.search.folds.outer)):
            known = trials.get(self._key(config, fold))
            if known is None:
                if not self.clock.allows(took, 1):
                    raise _NoTimeError(took)
                whole = monotonic()
                work = work or self._begun(config, progress)
                started = monotonic()
                progress.note(f"Fine-tuning {self.candidate.name}, fold {fold + 1} of {len(self.search.folds.outer)}.")
                found = work.measured(fold, progress)
                values = (found.score, found.score_error, found.gain, found.gain_error)
                known = trials.add(self._key(config, fold), values, monotonic() - whole)
                took = monotonic() - started
            else:
                took = known.seconds  # of the last: that of the first has the feature maps
            yield PairedScore(*known.scores)

    def _begun(self, config: Config, progress: Progress) -> "_Work":
        """Cuts the network, computes the feature maps, and what the winner answers; where there is time for that.

        Raises:
            _NoTimeError: there is none.
        """
        if not self.clock.allows(self.search.pace.opening(self.candidate.setting, is_converted=False), 1):
            raise _NoTimeError(self.search.pace.opening(self.candidate.setting, is_converted=False))
        extractor, images = feature_extractor(self.index, config), self.search.images.all
        activations, views = open_activations(config, extractor, progress)
        wanted = [(images, views)]
        missing = activations.missing_bytes(wanted) / activations.row_blocks.stored_bytes
        per_image = self.candidate.cost.ms_per_image / 1000
        # Before the first epoch is measured: it takes about as long as its views take to pass the whole network.
        epoch = len(images) * len(views) * per_image
        if not self.clock.allows(self.search.pace.pass_seconds(missing * per_image, 0) + _START + epoch, 1):
            epochs = (len(config.finetune.learning_rates) + 1) * config.finetune.epochs
            raise _NoTimeError(missing * per_image + _START + epochs * epoch)
        store_activations(activations, wanted, progress)
        extractor.extract([(images, extractor.views)], progress)
        winner = outer_probabilities(self.search, self.candidate, self.best.head, self.minibatch)
        weight = class_weight_of(config, self.index.labels)
        return _Work(self.search, self.objective, config, extractor, activations, weight, winner, self.clock)


@dataclass(frozen=True)
class _Work:
    """What all folds have in common."""

    search: Search
    objective: Objective
    config: Config
    extractor: FeatureExtractor
    """Of the frozen network; has the features of all images."""
    activations: Activations
    class_weight: ClassWeight
    winner: "list[NDArray[np.float64]]"
    """Probabilities of the images that each outer fold holds out [n, L]"""
    clock: Clock

    def measured(self, fold: int, progress: Progress) -> PairedScore:
        """Trains on what an outer fold is fitted on, and scores what it holds out, beside the winner.

        Raises:
            _NoTimeError: after the first epoch it is clear that it would not end in time.
        """
        images, folds = self.search.images, self.search.folds
        fitted, held = folds.all[folds.outer[fold]]
        training, scored = ([images.all[number] for number in numbers] for numbers in (fitted, held))
        units = self.search.rows_of(self.extractor).part(fitted)
        views = self.extractor.rows(training, images.labels, self.extractor.views)
        times = len(self.extractor.views)
        views = replace(views, labels=np.tile(units.labels, times), units=np.tile(units.units, times))
        candidates = layer_candidates(self.config.backbone, self.extractor.blocks)
        fit = fit_regression(self.config, views, self.class_weight, candidates=candidates)
        tuned, part = train_blocks(
            self.config, training, self.extractor, fit, units, self.class_weight, progress, scored, self._in_time()
        )
        if not np.isfinite(tuned.scored).all():
            raise UsageError(
                "config.training_diverged", "Fine-tuning diverged: the loss is no number any more.",
                "Lower finetune.learning_rates.",
            )  # fmt: skip
        after, rows = _calibrated(part.labels, part.probabilities, tuned.scored), images.rows.part(held)
        return paired_score(self.objective, rows.labels, rows.units, self.winner[fold], after, images.seed)

    def _in_time(self) -> "_InTime":
        return _InTime(self.clock, recipe_of(self.config))


class _InTime:
    """Ends a training whose first epochs show that it would not end in time: the second of this process, as in the
    first TensorFlow compiles its graph."""

    def __init__(self, clock: Clock, recipe: Recipe) -> None:
        self._clock, self._recipe, self._epochs = clock, recipe, 0

    def __call__(self, epoch: Epoch) -> None:
        """Receives every epoch, the starts included, which are numbered 0."""
        if not epoch.epoch:
            return
        self._epochs += 1
        if self._epochs == min(_MEASURED, self._recipe.epochs):
            left = seconds_left(epoch, self._recipe)
            if not self._clock.allows(left, 1):
                raise _NoTimeError(left)


def seconds_left(epoch: Epoch, recipe: Recipe) -> float:
    """Of a training, after one of its epochs; at most, since it may end with fewer."""
    if epoch.phase == "final":
        return epoch.seconds * (recipe.epochs - epoch.epoch)
    done = recipe.learning_rates.index(epoch.learning_rate) * recipe.epochs + epoch.epoch
    final = 1.25 * recipe.epochs  # has the fifth, too, that the others hold out
    return epoch.seconds * (len(recipe.learning_rates) * recipe.epochs - done + final)


def _calibrated(
    labels: "NDArray[np.int64]", held_out: "NDArray[np.float64]", probabilities: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """Probabilities [n, L] with the temperature of images that were held out of the training, as ``train`` has it."""
    from tlcli.heads.calibration import fit_temperature, with_temperature  # noqa: PLC0415 - SciPy

    return with_temperature(probabilities, fit_temperature(labels, held_out))
