"""The files of a search: tune.json as typed values, leaderboard.csv and passes.csv.

Figures are as the metric is measured: a log loss is positive, and better where it is smaller. How much the best is
better (``best_ahead_by``) is positive where it is better, whatever the metric.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tlcli.evaluation.transfer_gap import NoTransfer, TransferGap
from tlcli.heads.optimizers import OptimizerName
from tlcli.runs.files import write_csv, write_json
from tlcli.runs.trials import Trial
from tlcli.tuning.metric_units import as_measured, ends_as_measured, is_loss
from tlcli.tuning.outcome import (
    Contender,
    Ending,
    FineTuned,
    NoFinetuning,
    NoGiven,
    NoMinibatch,
    Outcome,
    TriedPass,
)
from tlcli.tuning.settings import HeadSetting, PassSetting
from tlcli.tuning.threshold_choice import ThresholdChoice


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PassRecord(_Record):
    """What decides the features of an image."""

    backbone: str
    """Name in the catalog; empty for the own network of the config."""
    size: tuple[int, int]
    """Height and width, pixels."""
    resize: str
    augmentation: str


class HeadRecord(_Record):
    """The head on these features."""

    fit: str
    """As ``head.fit`` of the config."""
    layers: tuple[str, ...]
    pooling: str
    standardize: bool
    class_weight: str
    C: float | None
    """None of a mini-batch head."""
    gamma: float | None = None
    """Of a kernel, in units of one over the median squared distance of two training images."""
    optimizer: OptimizerName | None = None
    """Of a mini-batch head, like the following; as the config's sections ``train`` and ``head`` have them."""
    learning_rate: float | None = None
    batch_size: int | None = None
    dropout: float | None = None


class TriedPassRecord(PassRecord):
    """How far a pass came."""

    ms_per_image: float
    megabytes: float
    images: int
    """Of the largest sample that it took; 0 where it was left out."""
    score: float | None
    """Of the best of a few heads on that sample; None where it was left out."""
    fold_scores: tuple[float, ...]
    left_out: str
    """Why it did not go on; empty for those that all images passed."""
    transfer: dict[str, float | None]
    """Transferability scores by name; None where one is not defined."""


class ContenderRecord(_Record):
    """A pass with a head."""

    rank: int | None
    """From 1; None for the config as it is, and for the fine-tuned winner."""
    input: PassRecord
    head: HeadRecord
    score: float
    score_ci95: tuple[float, float]
    fold_scores: tuple[float, ...]
    """Of the outer folds; ``score`` is their mean."""
    best_ahead_by: float
    """How much better the best is on the same folds; 0 for the best."""
    best_ahead_by_ci95: tuple[float, float]
    is_equal: bool
    """Whether there is no evidence that the best is better."""
    is_pareto: bool
    """Whether no other contender beats it both in score and in speed."""
    ms_per_image: float
    megabytes: float
    seconds: float
    """That the search spent on its pass: on features of all samples, and on all heads on them."""


class ExpectedRecord(_Record):
    """What the winner may expect on images that did not choose it."""

    shown: float
    """Its score on the folds that chose it."""
    expected: float
    """By nested cross-validation."""
    expected_ci95: tuple[float, float]
    optimism: float
    """How much better it shows than is expected; positive where the choice flatters."""


class ThresholdRecord(_Record):
    """The metric of the winner's answers with thresholds and without, on the outer folds."""

    objective: str
    """The metric, as ``head.thresholds`` has it. Of recall@precision: the recall, 0 where the precision is below."""
    most_probable: float
    """Of the most probable classes."""
    chosen: float
    """With thresholds."""
    gain_ci95: tuple[float, float]
    """Of the paired difference, positive where thresholds help."""
    helps: bool
    """Whether there is evidence; then tuned.yaml has ``head.thresholds``."""


class FineTunedRecord(_Record):
    """The winner's network with its last blocks fine-tuned, beside the winner."""

    contender: ContenderRecord
    """Of the folds that it was trained for; its head is the frozen one that it starts from."""
    folds: int
    of_folds: int
    images: int
    """Held out by these folds."""
    blocks: int
    gain: float
    """How much better it is than the winner on the same images, whatever the metric; mean over the folds."""
    gain_ci95: tuple[float, float]
    helps: bool
    """Whether there is evidence; then tuned.yaml has ``head.fit: finetune``."""


class TuneRecord(_Record):
    """Everything in tune.json."""

    metric: str
    """As ``--metric`` takes it."""
    smaller_is_better: bool
    images: int
    """Training and validation images; no test image is among them."""
    trials: int
    """Scored in all, those of an earlier part of the search included."""
    resumed: int
    """Of these, resumed: known before this part of the search."""
    ending: Ending
    seconds: float
    best: ContenderRecord
    given: ContenderRecord | None
    """The settings of the config; None where they were left out."""
    no_given: NoGiven | None = None
    """Why there is no comparison with the config as it is, if not for want of time."""
    expected: ExpectedRecord | None
    contenders: tuple[ContenderRecord, ...]
    """The best first."""
    passes: tuple[TriedPassRecord, ...]
    """The best first, then those that were left out."""
    importance: dict[str, float]
    """Of each setting of a head: the share of the variance of the scores that it explains alone."""
    input_importance: dict[str, float]
    """The same of the passes, on the smallest sample."""
    thresholds: ThresholdRecord | None = None
    """Whether thresholds improve the winner; None where the metric does not depend on them."""
    transfer: TransferGap | None = None
    """Whether pretraining helps, by the winner's network; None where it was not measured."""
    no_minibatch: NoMinibatch | None = None
    """Why mini-batch heads were left out; None where they were tried, or the budget ended the search before."""
    no_transfer: NoTransfer | None = None
    """Why it was not measured."""
    finetuning: FineTunedRecord | None = None
    """What fine-tuning brings the winner; None where it was not tried."""
    no_finetuning: NoFinetuning | None = None
    """Why it was not tried."""
    finetuning_needs: float | None = None
    """Seconds that a fold would take, where there was no time."""


def record_of(outcome: Outcome) -> TuneRecord:
    """The result of a search, for tune.json and ``--json``."""
    contenders = [_contender(outcome, number, one) for number, one in enumerate(outcome.contenders, 1)]
    return TuneRecord(
        metric=outcome.metric,
        smaller_is_better=is_loss(outcome.metric),
        images=outcome.images,
        trials=outcome.trials,
        resumed=outcome.resumed,
        ending=outcome.ending,
        seconds=outcome.seconds,
        best=contenders[0],
        given=_contender(outcome, None, outcome.given) if outcome.given else None,
        no_given=outcome.no_given,
        expected=_expected(outcome),
        contenders=tuple(contenders),
        passes=tuple(_tried(outcome.metric, one) for one in outcome.passes),
        importance=outcome.importance,
        input_importance=outcome.input_importance,
        thresholds=_thresholds(outcome.thresholds),
        transfer=outcome.transfer,
        no_minibatch=outcome.no_minibatch,
        no_transfer=outcome.no_transfer,
        **_finetuning(outcome),
    )


def _finetuning(outcome: Outcome) -> dict[str, Any]:
    """The fields of fine-tuning."""
    found = outcome.finetuning
    if not isinstance(found, FineTuned):
        return {"no_finetuning": found.reason, "finetuning_needs": found.seconds}
    record = FineTunedRecord(
        contender=_contender(outcome, None, found.contender),
        folds=found.folds,
        of_folds=found.of_folds,
        images=found.images,
        blocks=found.blocks,
        gain=found.gain,
        gain_ci95=found.gain_ci95,
        helps=found.helps,
    )
    return {"finetuning": record}


def write_tune(path: Path, outcome: Outcome) -> None:
    """Writes tune.json."""
    write_json(path, record_of(outcome).model_dump())


def write_leaderboard(path: Path, outcome: Outcome) -> None:
    """Writes leaderboard.csv: one line a contender, the best first; then, without a rank, the fine-tuned winner (whose
    ``fit`` is finetune), and the config as it is."""
    unranked = [*([outcome.fine_tuned.contender] if outcome.fine_tuned else []), outcome.given]
    every = [
        *(_contender(outcome, number, one) for number, one in enumerate(outcome.contenders, 1)),
        *(_contender(outcome, None, one) for one in unranked if one),
    ]
    folds = max(len(one.fold_scores) for one in every)
    header = ("rank", *_PASS, *_HEAD, *_SCORES, *(f"fold_{number}" for number in range(1, folds + 1)))
    write_csv(path, header, (_contender_row(one, folds) for one in every))


def write_passes(path: Path, outcome: Outcome) -> None:
    """Writes passes.csv: one line a pass, with a column for each transferability score."""
    transfer = list(dict.fromkeys(key for one in outcome.passes for key in one.transfer))
    header = (*_PASS, *_TRIED, *transfer)
    write_csv(path, header, (_tried_row(_tried(outcome.metric, one), transfer) for one in outcome.passes))


def write_trials(path: Path, metric: str, trials: Sequence[Trial]) -> None:
    """Writes trials.csv: one line a trial, in their order, with a column for each setting and each fold.

    Args:
        path: of the file.
        metric: of the scores of passes and heads; what a measurement measured is written as it is.
        trials: all of the search.
    """
    settings = [_flat(one.what) for one in trials]
    names = list(dict.fromkeys(name for one in settings for name in one))
    most = max((len(one.scores) for one in trials), default=0)
    header = (*names, "seconds", "score", *(f"score_{number}" for number in range(1, most + 1)))
    write_csv(path, header, (_trial_row(metric, *pair, names) for pair in zip(trials, settings, strict=True)))


def _flat(what: Mapping[str, object], before: str = "") -> dict[str, object]:
    """Settings within settings as ``pass.backbone``; lists as words."""
    found: dict[str, object] = {}
    for name, value in what.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[before + name] = " ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return found


def _trial_row(metric: str, one: Trial, settings: Mapping[str, object], names: Sequence[str]) -> Sequence[object]:
    stage = one.what.get("stage")
    count = len(one.scores) if stage in ("pass", "head", "sampled") else 1 if stage == "finetune" else 0
    measured = [as_measured(metric, score) for score in one.scores[:count]]
    scores = [*measured, *one.scores[count:]]  # of fine-tuning: standard error, gain over the winner, its error
    known = [score for score in measured if isfinite(score)]  # a sampler's settings are scored on some of the folds
    mean = sum(known) / len(known) if known else ""
    cells = ("" if settings.get(name) is None else settings[name] for name in names)
    return *cells, one.seconds, mean, *(score if isfinite(score) else "" for score in scores)


_PASS = ("backbone", "height", "width", "resize", "augmentation")
_HEAD = (
    "fit", "layers", "pooling", "standardize", "class_weight", "C", "gamma", "optimizer", "learning_rate", "batch_size",
    "dropout",
)  # fmt: skip
_SCORES = (
    "score", "score_low", "score_high", "best_ahead_by", "best_ahead_by_low", "best_ahead_by_high", "is_equal",
    "is_pareto", "ms_per_image", "megabytes", "seconds",
)  # fmt: skip
_TRIED = ("images", "score", "ms_per_image", "megabytes", "left_out")


def _contender_row(one: ContenderRecord, folds: int) -> Sequence[object]:
    head, missing = one.head, folds - len(one.fold_scores)
    return (
        one.rank or "", *_pass_cells(one.input),
        head.fit, " ".join(head.layers), head.pooling, _bit(head.standardize), head.class_weight,
        *map(_cell, (head.C, head.gamma, head.optimizer, head.learning_rate, head.batch_size, head.dropout)),
        one.score, *one.score_ci95, one.best_ahead_by, *one.best_ahead_by_ci95, _bit(one.is_equal), _bit(one.is_pareto),
        one.ms_per_image, one.megabytes, one.seconds, *one.fold_scores, *[""] * missing,
    )  # fmt: skip


def _tried_row(one: TriedPassRecord, transfer: Sequence[str]) -> Sequence[object]:
    return (
        *_pass_cells(one), one.images, _cell(one.score), one.ms_per_image, one.megabytes, one.left_out,
        *(_cell(one.transfer.get(key)) for key in transfer),
    )  # fmt: skip


def _pass_cells(one: PassRecord) -> Sequence[object]:
    return one.backbone, *one.size, one.resize, one.augmentation


def _cell(value: float | str | None) -> object:
    return "" if value is None else value


def _bit(is_so: bool) -> str:
    return "true" if is_so else "false"


def _contender(outcome: Outcome, rank: int | None, one: Contender) -> ContenderRecord:
    metric = outcome.metric
    return ContenderRecord(
        rank=rank,
        input=_input(one.input),
        head=_head(one.head),
        score=as_measured(metric, one.score),
        score_ci95=ends_as_measured(metric, one.interval),
        fold_scores=tuple(as_measured(metric, float(score)) for score in one.scores),
        best_ahead_by=outcome.ahead_of(one),
        best_ahead_by_ci95=one.behind,
        is_equal=one.is_equal,
        is_pareto=any(one is other for other in outcome.pareto),
        ms_per_image=one.cost.ms_per_image,
        megabytes=one.cost.megabytes,
        seconds=one.cost.seconds,
    )


def _thresholds(found: ThresholdChoice | None) -> ThresholdRecord | None:
    if found is None:
        return None
    return ThresholdRecord(
        objective=found.objective,
        most_probable=found.most_probable,
        chosen=found.chosen,
        gain_ci95=found.gain_ci95,
        helps=found.helps,
    )


def _expected(outcome: Outcome) -> ExpectedRecord | None:
    if (found := outcome.expected) is None:
        return None
    return ExpectedRecord(
        shown=as_measured(outcome.metric, found.shown),
        expected=as_measured(outcome.metric, found.expected),
        expected_ci95=ends_as_measured(outcome.metric, found.interval),
        optimism=found.optimism,
    )


def _input(setting: PassSetting) -> PassRecord:
    return PassRecord(
        backbone=setting.backbone, size=setting.size, resize=setting.resize, augmentation=setting.augmentation
    )


def _head(setting: HeadSetting) -> HeadRecord:
    return HeadRecord(
        fit=setting.kind,
        layers=setting.layers,
        pooling=setting.pooling,
        standardize=setting.standardize,
        class_weight=setting.class_weight,
        C=None if setting.minibatch else setting.C,
        gamma=setting.gamma,
        **(asdict(setting.minibatch) if setting.minibatch else {}),
    )


def _tried(metric: str, one: TriedPass) -> TriedPassRecord:
    return TriedPassRecord(
        **_input(one.setting).model_dump(),
        ms_per_image=one.cost.ms_per_image,
        megabytes=one.cost.megabytes,
        images=one.images,
        score=None if one.score is None else as_measured(metric, one.score),
        fold_scores=tuple(as_measured(metric, float(score)) for score in one.scores),
        left_out=one.left_out,
        transfer=_finite(one.transfer),
    )


def _finite(scores: Mapping[str, float | None]) -> dict[str, float | None]:
    """JSON has no infinity: a score that is none is not defined."""
    return {name: value if value is not None and isfinite(value) else None for name, value in scores.items()}
