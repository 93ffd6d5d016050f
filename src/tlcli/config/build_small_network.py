"""From the config to a small network trained from scratch, within the budget of a search, and remembered by it.

Shapes: N images of the sample, J folds of the first repeat.
"""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from tlcli.config.schema import Config, CrossValidation
from tlcli.datasets.index import LabelledImage
from tlcli.errors import ModelError, UsageError
from tlcli.evaluation.transfer_gap import LeftOut
from tlcli.features.key import preparation_digest
from tlcli.features.rows import Rows
from tlcli.heads.small_network import SIDE, VERSION, Training, cross_validate_small_network
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation
from tlcli.progress import Progress
from tlcli.system.cpu import threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.heads.class_weight import ClassWeight
    from tlcli.heads.folds import Folds
    from tlcli.heads.repeated_cross_validation import CrossValidated
    from tlcli.tuning.clock import Clock
    from tlcli.tuning.trial_log import TrialLog

_CONVERSION, _START = 20.0, 15.0
"""Seconds that making and converting random weights takes, and starting TensorFlow with a first fold."""


@dataclass(frozen=True)
class FromScratch:
    """What the comparison with a small network, and with random weights, may take."""

    trials: "TrialLog"
    clock: "Clock"
    ms_per_image: float
    """Of a pass of the backbone."""

    def has_time_for_pass(self, images: int) -> bool:
        """Whether random weights can be made, and so many images pass them."""
        return self.clock.left > _CONVERSION + images * self.ms_per_image / 1000

    def accuracies(
        self, config: Config, images: Sequence[LabelledImage], rows: Rows, validated: "CrossValidated",
        class_weight: "ClassWeight", preparation: Preparation, progress: Progress,
    ) -> "NDArray[np.float64] | LeftOut":  # fmt: skip
        """The accuracy on each fold of the first repeat [J], or why there is none; trained once in a search.

        Args:
            config: of the run: the seed, and flips and shifts where it has augmented views.
            images: of the sample [N].
            rows: labels and units of these [N].
            validated: the cross-validation of the pretrained features, on whose folds it is trained.
            class_weight: of the loss.
            preparation: of the backbone; the network sees the same, smaller.
            progress: receives the stage, and why it is left out.

        Raises:
            DataError: a file changed since it was indexed.
            ResourceError: the disk is full.
        """
        small, training = _small(preparation), _training(config)
        folds = (config.evaluate.cross_validation or CrossValidation()).folds
        what = {
            "stage": "from_scratch", "version": VERSION, "images": _digest(images), "folds": folds,
            "preparation": preparation_digest(small), "class_weight": class_weight, "training": asdict(training),
        }  # fmt: skip
        if known := self.trials.get(what):
            return np.array(known.scores)
        if self.clock.left < _START:
            return "no_time"
        started = monotonic()
        try:
            with progress.stage("Training a small network from scratch"):
                found = cross_validate_small_network(
                    _pixels(images, small), rows, _first_folds(validated, folds, rows, training.seed), class_weight,
                    training, self.clock.left,
                )  # fmt: skip
        except (ModelError, UsageError) as error:
            progress.note(f"A small network is not compared: {error.message}")
            return "unavailable"
        if found is None:
            return "no_time"
        self.trials.add(what, tuple(map(float, found)), monotonic() - started)
        return found


def _digest(images: Sequence[LabelledImage]) -> str:
    """Of the images and how they are labelled."""
    return hashlib.sha256(json.dumps([(one.sha256, one.label) for one in images]).encode()).hexdigest()


def _small(preparation: Preparation) -> Preparation:
    """The same part of the images, small."""
    whole = preparation.untiled
    return whole.at(min(SIDE, max(whole.size)))


def _training(config: Config) -> Training:
    """Flips and shifts of the config, where it has augmented views."""
    section = config.augment
    if not section.views:
        return Training(config.train.seed)
    return Training(config.train.seed, section.flip, section.shift)


def _pixels(images: Sequence[LabelledImage], preparation: Preparation) -> "NDArray[np.uint8]":
    """[N, H, W, 3]"""
    decoder = Decoder(preparation)
    with ThreadPoolExecutor(threads()) as pool:
        return np.concatenate(list(pool.map(lambda one: decoder.views(Item(one.path, one.sha256)), images)))


def _first_folds(validated: "CrossValidated", count: int, rows: Rows, seed: int) -> "Folds":
    """The folds of the first repeat, of the rows that were divided."""
    from tlcli.heads.folds import sampled  # noqa: PLC0415 - scikit-learn takes 1 s

    divided = sampled(rows, count, seed)
    held = [validated.folds[number] for number in np.flatnonzero(validated.repeat_of == 0)]
    return [(np.setdiff1d(divided, one), one) for one in held]
