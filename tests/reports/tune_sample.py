"""Made-up results of a search, of any size."""

from dataclasses import replace

import numpy as np

from tlcli.backbones.catalog import CATALOG
from tlcli.evaluation.paired_scores import PairedScore
from tlcli.evaluation.transfer_gap import TransferGap, compare_features
from tlcli.tuning.fine_tuned import fine_tuned_of
from tlcli.tuning.outcome import Contender, Outcome, PassCost, TriedPass
from tlcli.tuning.selection import Expected, interval_of
from tlcli.tuning.settings import HeadSetting, PassSetting
from tlcli.tuning.threshold_choice import ThresholdChoice

INPUTS = [
    (PassSetting(name, (size, size), resize, augmentation), PassCost(ms, megabytes))
    for name, size, resize, augmentation, ms, megabytes in (
        ("efficientnet_lite2", 260, "squash", "none", 9.83, 24.1),
        ("efficientnet_lite2", 300, "squash", "none", 13.2, 24.1),
        ("efficientnet_lite2", 260, "squash", "flips, shifts and zoom", 9.9, 24.1),
        ("efficientnet_lite1", 240, "squash", "none", 6.41, 21.4),
        ("mobilenet_v3_large", 224, "crop", "none", 3.87, 21.9),
        ("efficientnet_lite0", 224, "squash", "none", 4.22, 18.5),
        ("efficientnet_lite0", 224, "crop", "none", 4.2, 18.5),
        ("resnet152_v2", 224, "crop", "none", 141.0, 241.8),
        ("densenet201", 224, "crop", "none", 62.0, 80.1),
        ("mobilenet_v2_torch", 224, "crop", "flips", 3.12, 13.9),
        ("", 128, "pad", "none", 0.71, 1.2),
        ("vgg19", 224, "crop", "none", 212.0, 574.0),
    )
]
METRICS = ("accuracy", "balanced_accuracy", "log_loss", "roc_auc", "f1_macro", "recall@precision=0.95")


def head(setting: PassSetting, number: int) -> HeadSetting:
    """One of several kinds, for a pass."""
    kernel = number % 3 == 2
    known = CATALOG[setting.backbone].blocks.layers if setting.backbone else ("last",)
    layers = (known, known[:-1] or known, known[-1:], known[-2:])[number % 4]
    return HeadSetting(
        "kernel" if kernel else "logistic_regression", layers, ("avg_max", "avg")[number % 2], number % 5 != 4,
        ("none", "balanced")[number % 2], 30.0 if kernel else 0.003, 0.5 if kernel else None,
    )  # fmt: skip


def with_answers(found: Outcome) -> Outcome:
    """The same with what it says of thresholds and of transfer."""
    random, pretrained = np.random.default_rng(1), 0.85 + 0.02 * np.sin(np.arange(15.0))
    others = pretrained - 0.06 + random.normal(0, 0.01, 15)
    compared = compare_features(
        pretrained, {"pixels": others, "colour_histogram": pretrained + 0.1, "from_scratch": others[:5]}, 0.2, 500
    )
    gap = TransferGap(
        float(pretrained.mean()), compared, 500, 2099, 2, 5, 3, is_own_head=True,
        left_out={"random_weights": "no_time"},
    )  # fmt: skip
    return replace(
        found.with_transfer(gap), thresholds=ThresholdChoice("balanced_accuracy", 0.81, 0.84, (0.01, 0.05))
    )  # fmt: skip


def with_fine_tuning(found: Outcome, gain: float = 0.02, folds: int = 2) -> Outcome:
    """The same with the winner fine-tuned for some folds."""
    best = found.best
    measured = [PairedScore(best.score + gain, 0.01, gain, 0.005) for _ in range(folds)]
    head = replace(best.head, kind="finetune")
    return replace(found, finetuning=fine_tuned_of(best.input, head, best.cost, measured, 5, 420 * folds, 1))


def outcome(
    contenders: int = 20, passes: int = 12, metric: str = "balanced_accuracy", is_expected: bool = True,
    is_given: bool = True, ending: str = "exhausted", transfer: bool = True,
) -> Outcome:  # fmt: skip
    """A result whose best scores 0.912, or has a log loss of 0.21.

    Args:
        contenders: number of them, on the first half of the passes.
        passes: number of them.
        metric: of the scores.
        is_expected: with nested cross-validation.
        is_given: with the config as it is.
        ending: of the search.
        transfer: with transferability scores of the passes that all images took.
    """
    random = np.random.default_rng(7)
    offset = random.normal(0, 0.012, 5)
    top = -0.21 if metric == "log_loss" else 0.912

    def scores(behind: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        noise = random.normal(0, 0.006, 5)
        return np.asarray(top - behind + (offset - offset.mean()) + (noise - noise.mean()))

    inputs = [INPUTS[number % len(INPUTS)] for number in range(passes)]
    on = max(1, (passes + 1) // 2)
    found: list[Contender] = []
    for number in range(contenders):
        (setting, cost), each = inputs[(number * number) % on], scores(0.0035 * number)
        behind = interval_of(found[0].scores - each, 0.2) if found else (0.0, 0.0)
        found.append(Contender(setting, head(setting, number), cost, each, interval_of(each, 0.2), behind))
    best, own = found[0], scores(0.03)
    setting, cost = inputs[min(5, passes - 1)]
    given_head = HeadSetting("logistic_regression", ("last",), "avg", True, "none", 0.1)
    given = Contender(setting, given_head, cost, own, interval_of(own, 0.2), interval_of(best.scores - own, 0.2))
    kept = scores(0.007)
    tried = []
    for number, (setting, cost) in enumerate(inputs):
        images = 2099 if number < on else 600 if number < passes * 3 // 4 else 200 if number < passes - 1 else 0
        why = "" if images == 2099 else (
            "9.1 points behind the best on 600 images (95 % interval 6.0 to 12.2), which is more than chance explains."
            if images else "It takes 212 ms per image; --max-ms is 150."
        )  # fmt: skip
        known = {"LogME": 0.412 - 0.01 * number, "H-score": 11.2, "NLEEP": None} if transfer and not why else {}
        tried.append(TriedPass(setting, cost, images, scores(0.01 * number)[: 5 if images else 0], why, known))
    return Outcome(
        metric=metric,
        images=2099,
        passes=tuple(tried),
        contenders=tuple(found),
        given=given if is_given else None,
        expected=Expected(best.score, float(kept.mean()), interval_of(kept, 0.2), (0, 1, 0, 2, 0))
        if is_expected
        else None,
        importance={
            "C": 0.41, "layers": 0.22, "kind": 0.08, "pooling": 0.04, "class_weight": 0.011, "standardize": 0.0,
        } if contenders > 1 else {},
        input_importance={"backbone": 0.63, "size": 0.2, "resize": 0.07, "augmentation": 0.0} if passes > 1 else {},
        trials=4812,
        resumed=300,
        ending="budget" if ending == "budget" else "exhausted",
        seconds=874.0,
    )  # fmt: skip
