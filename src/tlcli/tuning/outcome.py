"""The result of a search, for whoever shows or writes it."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from tlcli.evaluation.transfer_gap import NoTransfer, TransferGap
from tlcli.tuning.selection import Expected
from tlcli.tuning.settings import HeadSetting, PassSetting
from tlcli.tuning.threshold_choice import ThresholdChoice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Ending = Literal["exhausted", "budget"]
NoMinibatch = Literal["no_optuna", "class_too_small"]
"""Why mini-batch heads were left out, if not for want of time."""
NoGiven = Literal["augmented", "int8", "other_head", "finetune"]
"""Why what the search scored is not the config as it is: that has augmented views of its own, an int8 network, another
head than logistic regression, or a fine-tuned network (fine-tuning is tried on the winner's alone)."""
NoFinetuning = Literal[
    "off", "no_time", "few_validation", "class_too_small", "unsupported", "diverged", "unavailable", "no_room"
]
"""Why fine-tuning was not tried: it was not asked for; one fold of it does not fit into what is left of the budget;
there are too few validation images for ``train``, which compares both on them; a class is too small to hold a fifth of
it out within a fold; the winner cannot be fine-tuned; its loss is no number any more; the training process failed; the
disk has no room for the feature maps."""


@dataclass(frozen=True)
class PassCost:
    """What a pass costs."""

    ms_per_image: float
    """Measured here, with all cores, without decoding."""
    megabytes: float
    """Of the network's weights, as predict loads them."""
    seconds: float = 0.0
    """That the search spent on it: on the features of all samples, and on all heads on them."""


@dataclass(frozen=True)
class TriedPass:
    """How far a pass came."""

    setting: PassSetting
    cost: PassCost
    images: int
    """Of the largest sample that it saw; 0 where it was left out."""
    scores: "NDArray[np.float64]"
    """[J], of the best of a few heads on that sample, by outer fold; empty where it was left out."""
    left_out: str = ""
    """Why it did not go on, a sentence; empty for those that all images passed."""
    transfer: "dict[str, float | None]" = field(default_factory=dict)
    """Transferability scores by name (docs/transfer.md); empty where all images did not pass."""

    @property
    def score(self) -> float | None:
        """Their mean."""
        return float(self.scores.mean()) if len(self.scores) else None


@dataclass(frozen=True)
class Contender:
    """A pass with a head, and how good they are together."""

    input: PassSetting
    head: HeadSetting
    cost: PassCost
    scores: "NDArray[np.float64]"
    """[J], by outer fold; larger is better"""
    interval: tuple[float, float]
    """95 %, of the mean score"""
    behind: tuple[float, float]
    """95 % interval of the paired difference of the best from it; (0, 0) for the best"""

    @property
    def score(self) -> float:
        """Their mean."""
        return float(self.scores.mean())

    @property
    def is_equal(self) -> bool:
        """Whether there is no evidence that the best is better."""
        return self.behind[0] <= 0


@dataclass(frozen=True)
class FineTuned:
    """The winner's network with its last blocks fine-tuned, beside the winner."""

    contender: Contender
    """Its ``scores`` are those of the folds that it was trained for, which may be fewer than others have; its ``head``
    is the frozen one that it starts from."""
    folds: int
    """For each of so many outer folds the last blocks were trained anew, on the images that are not held out."""
    of_folds: int
    """That there are."""
    images: int
    """Held out by these folds: what the figures rest on."""
    blocks: int
    """``finetune.blocks``"""
    gain: float
    """Of the score over the winner's on the same images: mean over the folds."""
    gain_ci95: tuple[float, float]
    """See :mod:`tlcli.tuning.fine_tuned`."""

    @property
    def helps(self) -> bool:
        """Whether there is evidence that fine-tuning helps: then tuned.yaml has it."""
        return self.gain_ci95[0] > 0

    @property
    def hurts(self) -> bool:
        """Whether there is evidence that it does harm."""
        return self.gain_ci95[1] < 0


@dataclass(frozen=True)
class NotFineTuned:
    """Why fine-tuning was not tried."""

    reason: NoFinetuning
    seconds: float | None = None
    """That a fold would take, as far as that is known, where there is no time."""


@dataclass(frozen=True)
class Outcome:
    """What a search found."""

    metric: str
    """As ``--metric`` takes it."""
    images: int
    """Training and validation images that were searched on; no test image is among them."""
    passes: tuple[TriedPass, ...]
    """All candidates, the best first, then those that were left out."""
    contenders: tuple[Contender, ...]
    """The best head of each kind and each choice of layers on each pass that all images took, the best first."""
    given: Contender | None
    """The settings of the config, without a search; None where they were left out."""
    expected: Expected | None
    """None where the classes are too many, or one too small, for nested cross-validation."""
    importance: "dict[str, float]"
    """Share of the variance of the head's scores that each setting explains alone, the largest first."""
    input_importance: "dict[str, float]"
    """The same of the passes, on the smallest sample."""
    trials: int
    """Scored in all, those of an earlier part of the search included."""
    resumed: int
    """Of these, resumed: known before this part of the search."""
    ending: Ending
    """Whether everything was tried, or the budget ended the search."""
    seconds: float
    thresholds: ThresholdChoice | None = None
    """Whether thresholds improve the winner; None where the metric does not depend on them."""
    no_given: NoGiven | None = None
    """Why there is no comparison with the config as it is, if not for want of time."""
    transfer: TransferGap | None = None
    """Whether pretraining helps, by the winner's network; None where it was not measured."""
    no_minibatch: NoMinibatch | None = None
    """Why mini-batch heads were left out; None where they were tried, or the budget ended the search before."""
    no_transfer: NoTransfer | None = None
    """Why it was not measured."""
    finetuning: FineTuned | NotFineTuned = NotFineTuned("off")
    """What fine-tuning brings the winner, or why it was not tried."""

    @property
    def fine_tuned(self) -> FineTuned | None:
        """What fine-tuning brings the winner; None where it was not tried."""
        return self.finetuning if isinstance(self.finetuning, FineTuned) else None

    @property
    def is_fine_tuned(self) -> bool:
        """Whether tuned.yaml fine-tunes."""
        return self.fine_tuned is not None and self.fine_tuned.helps

    def ahead_of(self, one: Contender) -> float:
        """How much better the best is on the same folds; of the fine-tuned one, on those that it was trained for."""
        if (found := self.fine_tuned) and one is found.contender:
            return 0.0 - found.gain  # of equals 0 without a sign
        return self.best.score - one.score

    def with_transfer(self, found: TransferGap | NoTransfer) -> "Outcome":
        """The same with what was found of transfer, or why it was not measured."""
        if isinstance(found, TransferGap):
            return replace(self, transfer=found, no_transfer=None)
        return replace(self, transfer=None, no_transfer=found)

    @property
    def best(self) -> Contender:
        """The winner."""
        return self.contenders[0]

    @property
    def pareto(self) -> tuple[Contender, ...]:
        """Contenders that no other beats both in score and in speed, the fastest first."""
        found: list[Contender] = []
        for one in sorted(self.contenders, key=lambda each: (each.cost.ms_per_image, -each.score)):
            if not found or one.score > found[-1].score:
                found.append(one)
        return tuple(found)
