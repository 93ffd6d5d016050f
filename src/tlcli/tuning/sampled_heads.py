"""Mini-batch heads, whose settings a sampler chooses: Optuna's TPE (Bergstra et al. 2011), asked and told.

The sampler learns from scores, so that what it proposes is itself a choice. For nested cross-validation there is one
study for the outer folds, which finds the winner, and one for the inner folds of each outer one, which never learns of
the rows that this one holds out. Each setting has scores on the folds of its own study (and, of an inner one, on its
outer fold) and NaN on the others.

Studies are seeded: told the same scores, they ask for the same settings.
Shapes: F folds.
"""

import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from tlcli.backbones.blocks import Blocks
from tlcli.errors import UsageError
from tlcli.features.rows import Rows
from tlcli.heads.class_weight import ClassWeight
from tlcli.heads.minibatch_folds import Minibatch, held_out_probabilities
from tlcli.system.cpu import threads
from tlcli.tuning.head_search import NestedFolds, Score
from tlcli.tuning.settings import (
    HeadSetting,
    MinibatchSetting,
    blocks_of_setting,
    layer_choices,
    pooling_choices,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDS = 30
"""Settings that each study asks for."""
_LEARNING_RATES = (1e-4, 0.1)
_BATCH_SIZES = (32, 64, 128, 256)
_OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")
_DROPOUT = 0.5
"""At most."""


def is_installed() -> bool:
    """Whether Optuna is there; it is not imported."""
    return importlib.util.find_spec("optuna") is not None


@dataclass(frozen=True)
class Study:
    """A search of its own on some of the folds."""

    number: int
    """0 is that of the outer folds."""
    folds: tuple[int, ...]
    """Numbers of the folds that it learns from."""
    measured: tuple[int, ...]
    """Numbers of the folds that each setting is scored on."""
    _study: Any
    _space: "dict[str, Any]"
    _blocks: Blocks

    @classmethod
    def all(
        cls, folds: NestedFolds, blocks: Blocks, class_weights: Sequence[str], first: MinibatchSetting, seed: int
    ) -> "list[Study]":
        """One for the outer folds, and one for the inner folds of each.

        Args:
            folds: nested, or not.
            blocks: of the features.
            class_weights: words to choose from; the first is asked for first.
            first: what every study asks for first: the settings of the config.
            seed: of the samplers.
        """
        parts = [(folds.outer, folds.outer)]
        parts += [(inner, (*inner, outer)) for outer, inner in zip(folds.outer, folds.inner, strict=False)]
        return [
            cls(number, learned, measured, *_study(blocks, class_weights, first, seed + number), blocks)
            for number, (learned, measured) in enumerate(parts)
        ]

    def ask(self) -> "tuple[Any, HeadSetting]":
        """The next trial and its setting."""
        trial = self._study.ask(self._space)
        values = trial.params
        return trial, HeadSetting(
            "minibatch", layer_choices(self._blocks)[values["layers"]], pooling_choices(self._blocks)[0], True,
            values["class_weight"], 0.0, None,
            MinibatchSetting(
                values["optimizer"], _three_digits(values["learning_rate"]), values["batch_size"],
                round(values["dropout"], 2),
            ),
        )  # fmt: skip

    def tell(self, trial: Any, scores: "NDArray[np.float64]") -> None:
        """Learns from scores [F]; NaN on a fold is training that diverged."""
        from optuna.trial import TrialState

        score = float(scores[list(self.folds)].mean())
        if np.isfinite(score):
            self._study.tell(trial, score)
        else:
            self._study.tell(trial, state=TrialState.FAIL)


class SampledFits:
    """Fits mini-batch heads on folds."""

    def __init__(
        self, rows: Callable[[], Rows], folds: NestedFolds, blocks: Blocks, how: Minibatch, score: Score, seed: int
    ) -> None:
        """Prepares nothing yet: a search that knows all its trials needs no features.

        Args:
            rows: gives the standardised rows [N] with the features of all blocks.
            folds: of these rows.
            blocks: of the features.
            how: what a setting does not say.
            score: of held-out rows.
            seed: of the training.
        """
        self._load = rows
        self._rows: Rows | None = None
        self._folds, self._blocks, self._how, self._score, self._seed = folds, blocks, how, score, seed
        self.seconds_of_fit = 0.0
        """Of the last setting, for each fold; 0 before the first."""

    def scores(
        self, head: HeadSetting, class_weight: ClassWeight, folds: Sequence[int]
    ) -> "NDArray[np.float64]":  # fmt: skip
        """Scores on the held-out rows of some folds, by number, and NaN on the others [F]; NaN on all where training
        diverged.

        Raises:
            DataError: a class has too few units to be divided once more.
        """
        found = np.full(len(self._folds.all), np.nan)
        try:
            probabilities = self.probabilities(head, class_weight, folds)
        except UsageError as error:
            if error.code != "config.training_diverged":
                raise
            return found
        if self._rows is not None:
            for number, of_fold in zip(folds, probabilities, strict=True):
                found[number] = self._score(self._rows.labels[self._folds.all[number][1]], of_fold)
        return found

    def probabilities(
        self, head: HeadSetting, class_weight: ClassWeight, folds: Sequence[int]
    ) -> "list[NDArray[np.float64]]":
        """Of the rows that some folds, by number, hold out [n, L].

        Raises:
            DataError: a class has too few units to be divided once more.
            UsageError: training diverged.
        """
        if head.minibatch is None:
            raise AssertionError("a mini-batch head has settings")
        if self._rows is None:
            self._rows = self._load()
        started = monotonic()
        rows = self._rows.of_blocks(blocks_of_setting(head, self._blocks))
        rows = rows.with_features(rows.features())
        how = replace(self._how, **asdict(head.minibatch))

        def trained(number: int) -> "NDArray[np.float64]":
            return held_out_probabilities(rows, self._folds.all[number], how, class_weight, self._seed)

        # One thread for the products of each: a batch is too small to be divided.
        with threadpool_limits(1), ThreadPoolExecutor(threads()) as pool:
            try:
                return list(pool.map(trained, folds))
            finally:
                self.seconds_of_fit = (monotonic() - started) / len(folds)


def _study(
    blocks: Blocks, class_weights: Sequence[str], first: MinibatchSetting, seed: int
) -> "tuple[Any, dict[str, Any]]":  # fmt: skip
    """A study with its space."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds = optuna.distributions
    space = {
        "optimizer": kinds.CategoricalDistribution(_OPTIMIZERS),
        "learning_rate": kinds.FloatDistribution(*_LEARNING_RATES, log=True),
        "batch_size": kinds.CategoricalDistribution(tuple(sorted({*_BATCH_SIZES, first.batch_size}))),
        "dropout": kinds.FloatDistribution(0.0, _DROPOUT),
        "class_weight": kinds.CategoricalDistribution(tuple(class_weights)),
        "layers": kinds.CategoricalDistribution(tuple(range(len(layer_choices(blocks))))),
    }
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    low, high = _LEARNING_RATES
    study.enqueue_trial(
        {
            "optimizer": first.optimizer, "learning_rate": min(max(first.learning_rate, low), high),
            "batch_size": first.batch_size, "dropout": min(first.dropout, _DROPOUT),
            "class_weight": class_weights[0], "layers": 0,
        }
    )  # fmt: skip
    return study, space


def _three_digits(value: float) -> float:
    """tuned.yaml has the learning rate as it was tried, and readable."""
    return float(f"{value:.3g}")
