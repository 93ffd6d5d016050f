"""Sentences on the result of a search, for the terminal and for its page."""

from collections.abc import Callable, Sequence

from tlcli.backbones.blocks import LAST
from tlcli.backbones.catalog import CATALOG
from tlcli.progress import format_duration
from tlcli.reports.notes import transfer
from tlcli.tuning.metric_units import as_measured, ends_as_measured, is_in_points, is_loss, title_of
from tlcli.tuning.outcome import Contender, FineTuned, NoFinetuning, NoGiven, NoMinibatch, Outcome
from tlcli.tuning.settings import HeadSetting, PassSetting

_OWN = "own network"
_NO_GIVEN: dict[NoGiven, str] = {
    "augmented": "it has augmented views of its own, which were not tried",
    "int8": "its network is int8, and the search is not",
    "other_head": "its head is not logistic regression",
    "finetune": "its network is fine-tuned, which was asked of the winner's network alone",
}
_KINDS = {
    "logistic_regression": "logistic regression",
    "kernel": "kernel",
    "minibatch": "mini-batch",
    "finetune": "fine-tuned",
}
_NO_MINIBATCH: dict[NoMinibatch, str] = {
    "no_optuna": "Mini-batch heads were left out: Optuna is not installed (pip install 'tlcli[tune]').",
    "class_too_small": "Mini-batch heads were left out: a class has too few images to monitor their loss.",
}


_NO_FINETUNING: dict[NoFinetuning, str] = {
    "no_time": "the rest of the budget is too short for one fold of it",
    "few_validation": "there are too few validation images for train, which compares both on them",
    "class_too_small": "a class has too few images to choose a learning rate by",
    "unsupported": "the winner's network or config cannot be fine-tuned",
    "diverged": "its loss was no number any more; lower finetune.learning_rates",
    "unavailable": "the network or its training is unavailable on this machine",
    "no_room": "the disk has no room for its feature maps",
}


class TuneText:
    """The sentences; empty where there is nothing to say."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._metric = outcome.metric

    @property
    def metric(self) -> str:
        """What the metric is called."""
        return title_of(self._metric)

    @property
    def verdict(self) -> str:
        """The winner, its figure, and the one to expect."""
        best, expected = self._outcome.best, self._outcome.expected
        text = f"{contender_text(best)}: {self.metric} {figure(self._metric, best.score)}"
        if expected is None:
            return f"{text} ({ends(self._metric, best.interval)})"
        return f"{text}; expect {figure(self._metric, expected.expected)} ({ends(self._metric, expected.interval)})"

    @property
    def optimism(self) -> str:
        """How much the choice flatters the winner."""
        if (found := self._outcome.expected) is None:
            worse = "more" if is_loss(self._metric) else "less"
            return (
                f"How much the choice flatters the winner was not measured: expect {worse} than "
                f"{figure(self._metric, self._outcome.best.score)}."
            )
        return (
            f"The winner shows {figure(self._metric, found.shown)} on the folds that chose it; expect "
            f"{figure(self._metric, found.expected)} (95 % interval {ends(self._metric, found.interval)}), by nested "
            f"cross-validation{self._without_thresholds}."
        )

    @property
    def _without_thresholds(self) -> str:
        """What the figure to expect is of, where tuned.yaml has thresholds."""
        if self._outcome.is_fine_tuned:
            return ", of the frozen winner"
        return ", of answers without the thresholds" if (found := self._outcome.thresholds) and found.helps else ""

    @property
    def equal(self) -> str:
        """How many others could be as good as the best, and the fastest of these."""
        best, others = self._outcome.best, self._outcome.contenders[1:]
        if not others:
            return ""
        if not (equal := [one for one in others if one.is_equal]):
            return f"The best is better than {_all(len(others))} (95 % intervals of the paired differences)."
        text = f"No evidence that the best is better than {_of(len(equal), len(others))}"
        fastest = min(equal, key=lambda one: one.cost.ms_per_image)  # of those that are as fast, the best
        ms, of_best = (milliseconds(one.cost.ms_per_image) for one in (fastest, best))
        if fastest.cost.ms_per_image >= best.cost.ms_per_image:
            return f"{text}; none of these is faster."
        return (
            f"{text}: the fastest of these is {contender_text(fastest)}, with {ms} ms per image "
            f"(the best: {of_best}) and {self.metric} {figure(self._metric, fastest.score)}."
        )

    @property
    def given(self) -> str:
        """The best beside the config as it is."""
        best, given = self._outcome.best, self._outcome.given
        if given is None and self._outcome.no_given:
            return f"There is no comparison with the config as it is: {_NO_GIVEN[self._outcome.no_given]}."
        if given is None:
            return "The config as it is was left out of the search, so there is no comparison with it."
        if (given.input, given.head) == (best.input, best.head):
            return "The winner is the config as it is: nothing that was tried is better."
        low, high = given.behind
        compared = (
            "Better than" if low > 0 else "Worse than" if high < 0 else "No evidence that the best is better than"
        )
        return (
            f"{compared} the config as it is: {gain(self._metric, best.score - given.score)} (95 % interval "
            f"{gain_ends(self._metric, given.behind)})."
        )

    @property
    def transfer(self) -> str:
        """Whether pretraining helps, by the winner's network."""
        return transfer(self._outcome.transfer, self._outcome.no_transfer)

    @property
    def finetuning(self) -> str:
        """What fine-tuning brings the winner, or why it was not tried; empty where it was not asked for."""
        found = self._outcome.finetuning
        if isinstance(found, FineTuned):
            return _fine_tuned_text(self._metric, found)
        if found.reason == "off":
            return ""
        needs = f", which would take about {format_duration(found.seconds)}" if found.seconds is not None else ""
        return f"Fine-tuning was left out: {_NO_FINETUNING[found.reason]}{needs}."

    @property
    def thresholds(self) -> str:
        """What thresholds per class bring the winner."""
        if (found := self._outcome.thresholds) is None:
            return ""
        said = (
            "Thresholds per class help the frozen winner (tuned.yaml, which fine-tunes it, has them as the config says)"
            if found.helps and self._outcome.is_fine_tuned
            else "Thresholds per class help, so tuned.yaml has them" if found.helps
            else "Thresholds per class do harm" if found.hurts
            else "No evidence that thresholds per class help"
        )  # fmt: skip
        counted = ", where a fold counts 0 whose precision is lower" if "@" in self._metric else ""
        return (
            f"{said}: {self.metric} of the answers {figure(self._metric, found.chosen)} instead of "
            f"{figure(self._metric, found.most_probable)}, {gain(self._metric, found.gain)} (95 % interval "
            f"{gain_ends(self._metric, found.gain_ci95)}){counted}."
        )

    @property
    def ending(self) -> str:
        """Whether everything was tried, and how much that was."""
        found = self._outcome
        tried = sum(one.images > 0 for one in found.passes)
        passes = f"{tried:,} of {_count(len(found.passes), 'pass', 'passes')}"
        if found.ending == "budget":
            text = f"The budget ended the search: {passes} {'was' if tried == 1 else 'were'} tried"
        elif tried < len(found.passes):
            text = f"Everything that the limits leave was tried: {passes}"
        else:
            text = f"Everything was tried: {_count(tried, 'pass', 'passes')}"
        known = f" ({found.resumed:,} resumed)" if found.resumed else ""
        text += f", {_count(found.trials, 'trial', 'trials')}{known}, {format_duration(found.seconds)}."
        return f"{text} {_NO_MINIBATCH[found.no_minibatch]}" if found.no_minibatch else text

    @property
    def halving(self) -> str:
        """How many passes took how many images."""
        images = sorted({one.images for one in self._outcome.passes if one.images})
        reached = [(sum(one.images >= size for one in self._outcome.passes), size) for size in images]
        if not reached:
            return ""
        (first, size), *later = reached
        text = f"{_count(first, 'pass', 'passes')} took {_images(size, self._outcome.images)} images"
        parts = (f", {count:,} of them {_images(size, self._outcome.images)}" for count, size in later)
        return f"{text}{''.join(parts)}."

    @property
    def method(self) -> Sequence[str]:
        """How the figures came about, a paragraph each."""
        found, folds = self._outcome, len(self._outcome.best.scores)
        nested = (
            "Nested cross-validation says what to expect instead: within the images that each fold is fitted on, inner "
            "folds choose the winner again, and the outer fold, which had no part in that choice, measures it. What "
            "the winner shows minus what is expected is the optimism of the choice. Not repeated within the folds: "
            "which passes went on, and on which pass mini-batch heads and augmented views were tried."
            if found.expected
            else "The classes are too many for nested cross-validation here, which would say by how much."
        )
        return (
            f"Only the {found.images:,} training and validation images were used; no test image was read. Every "
            f"figure of the leaderboard is a mean over {folds:,} folds of them: heads are fitted on the other folds "
            "and measured on this one. Intervals are 95 % and allow for the folds' common images (Nadeau and Bengio "
            "2003); differences are paired, fold by fold.",
            "The winner is the best of many on the same folds, so its own figure flatters it (its interval does not "
            f"say so). {nested}",
            "Passes of the networks, which are expensive, were compared on growing samples of the images (successive "
            "halving): those that were clearly behind did not go on. Heads on the features of a pass are cheap, and "
            "were tried on all images. Milliseconds are of the network alone on this machine, without decoding.",
            *([_FINE_TUNING] if found.fine_tuned else []),
        )


_FINE_TUNING = (
    "The last blocks were trained anew for each fold that fine-tuning was measured on, with frozen head and learning "
    "rate chosen within the images that the fold is fitted on; the images that it holds out were "
    "answered for at the end alone, and by the winner, too. The interval is over these images (bootstrap of whole "
    "units), its variance enlarged for training images that folds have in common (Nadeau and Bengio 2003). Where not "
    "all folds were trained for, the figures beside it in the leaderboard are of more images; the difference is of the "
    "same."
)


def reasons(outcome: Outcome, has_thresholds: bool = False) -> dict[str, str]:
    """Why the winner's config has the values it has, by dotted key: how far the best with another value is behind.

    Args:
        outcome: of the search.
        has_thresholds: the config that was searched has thresholds of its own.
    """
    of: dict[str, Callable[[Contender], str]] = {
        "backbone.name" if outcome.best.input.backbone else "backbone.path": lambda one: network_name(one.input),
        "image.size": lambda one: f"{one.input.size[0]} x {one.input.size[1]}",
        "image.resize": lambda one: one.input.resize,
        "backbone.layers": lambda one: layers_text(one.input, one.head.layers),
        "head.fit": lambda one: _KINDS[one.head.kind],
        "backbone.pooling": lambda one: one.head.pooling,
        "head.standardize": lambda one: str(one.head.standardize).lower(),
        "head.class_weight": lambda one: one.head.class_weight,
        "augment.views": lambda one: one.input.augmentation,
    }
    best = outcome.best.head
    found = {key: _reason(outcome, value_of) for key, value_of in of.items()}
    if (tuned := outcome.fine_tuned) and tuned.helps:
        start = f"of the frozen head that fine-tuning starts from, C {tuned.contender.head.C:.3g}"
        found |= dict.fromkeys(("head.Cs", "head.standardize", "head.class_weight", "backbone.pooling"), start)
        found["head.fit"] = _fine_tuned_text(outcome.metric, tuned).removesuffix(".")
        found["finetune.keep"] = "the search has the evidence; train measures both on validation images all the same"
        return found
    if best.kind == "logistic_regression":
        found["head.Cs"] = f"the best of those tried on the same features: {best.C:.3g}"
    if best.kind == "kernel":
        found["head.fit"] += "; train chooses gamma and C again, so its figures may differ"
    if outcome.thresholds and (outcome.thresholds.helps or has_thresholds):
        found["head.thresholds"] = TuneText(outcome).thresholds.removesuffix(".")
    if outcome.best.head.minibatch is not None:
        for key in ("head.dropout", "train.optimizer", "train.learning_rate", "train.batch_size"):
            found[key] = "chosen together with the others by a sampler (Optuna's TPE), by the score on held-out folds"
    return found


def _reason(outcome: Outcome, value_of: "Callable[[Contender], str]") -> str:
    best, metric = outcome.best, outcome.metric
    others = [one for one in outcome.contenders if value_of(one) != value_of(best)]
    if not others:
        return f"{value_of(best)}: all contenders have it"
    one = others[0]
    verdict = "no evidence that it is worse" if one.is_equal else f"worse by {gain(metric, best.score - one.score)}"
    return f"{value_of(best)}: {figure(metric, best.score)}; {value_of(one)}: {figure(metric, one.score)}, {verdict}"


def _fine_tuned_text(metric: str, found: FineTuned) -> str:
    """What it brings, on how many images."""
    blocks = "last block" if found.blocks == 1 else f"last {found.blocks} blocks"
    verdict = (
        "it helps, so tuned.yaml has it" if found.helps
        else "it does harm, so tuned.yaml is without" if found.hurts
        else "no evidence that it helps, so tuned.yaml is without"
    )  # fmt: skip
    folds = f"all {found.folds}" if found.folds == found.of_folds else f"{found.folds} of {found.of_folds}"
    return (
        f"Fine-tuning the {blocks} of the winner's network: {gain(metric, found.gain)} (95 % interval "
        f"{gain_ends(metric, found.gain_ci95)}) on {found.images:,} images, held out by {folds} folds: {verdict}."
    )


def contender_text(one: Contender) -> str:
    """A pass with its head, as a phrase: ``efficientnet_lite2, 260 x 260, squash, all layers, logistic regression``."""
    parts = [*pass_words(one.input), layers_text(one.input, one.head.layers), _KINDS[one.head.kind]]
    if one.head.class_weight != "none":
        parts.append(f"{one.head.class_weight} class weights")
    return ", ".join(parts)


def pass_words(setting: PassSetting) -> list[str]:
    """Network, size, resizing and, where there is one, augmentation."""
    augmentation = [] if setting.augmentation == "none" else [f"augmented ({setting.augmentation})"]
    height, width = setting.size
    return [network_name(setting), f"{height} x {width}", setting.resize, *augmentation]


def network_name(setting: PassSetting) -> str:
    """The network, as the catalog names it."""
    return setting.backbone or _OWN


def layers_text(setting: PassSetting, layers: Sequence[str]) -> str:
    """Layers as a phrase: all layers, all but the last, last layer, or their names."""
    row = CATALOG.get(setting.backbone)
    known = row.blocks.layers if row else ()
    if tuple(layers) == (LAST,):
        return "last layer"
    if tuple(layers) == known:
        return "all layers"
    if tuple(layers) == known[:-1]:
        return "all but the last layer"
    return " + ".join(layers)


def head_words(head: HeadSetting) -> list[str]:
    """Kind of the head, its C (or how it is trained) and what else is not the default."""
    if (chosen := head.minibatch) is not None:
        words = [
            _KINDS[head.kind], chosen.optimizer, f"learning rate {chosen.learning_rate:g}",
            f"batch {chosen.batch_size}", f"dropout {chosen.dropout:g}",
        ]  # fmt: skip
    else:
        words = [_KINDS[head.kind], f"C {head.C:.3g}"]
    if head.gamma is not None:
        words.append(f"gamma {head.gamma:.3g}")
    if head.class_weight != "none":
        words.append(head.class_weight)
    if not head.standardize:
        words.append("not standardized")
    return words


def figure(metric: str, score: float) -> str:
    """A score as people read it: a log loss positive."""
    return f"{as_measured(metric, score):.{_digits(metric)}f}"


def ends(metric: str, interval: tuple[float, float]) -> str:
    """Its interval: ``0.880 to 0.930``."""
    low, high = ends_as_measured(metric, interval)
    return f"{low:.{_digits(metric)}f} to {high:.{_digits(metric)}f}"


def _digits(metric: str) -> int:
    return 4 if is_loss(metric) else 3  # an easy data set has 0.0123


def gain(metric: str, difference: float) -> str:
    """The figure of one minus that of another: ``+1.2 points``; ``log loss -0.0100`` where it is better, too.

    Args:
        metric: of the figures.
        difference: of the scores, positive where the first is better.
    """
    if is_in_points(metric):
        return f"{100 * difference:+.1f} points"
    return f"{title_of(metric)} {as_measured(metric, difference):+.{_digits(metric)}f}"


def gain_ends(metric: str, interval: tuple[float, float]) -> str:
    """The interval of such a difference, in the same unit."""
    low, high = ends_as_measured(metric, interval)
    if is_in_points(metric):
        return f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{low:.{_digits(metric)}f} to {high:.{_digits(metric)}f}"


def milliseconds(ms: float) -> str:
    """Three digits, as far as they say something: 0.85, 2.41, 12.3, 140."""
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:,.0f}"


def _images(count: int, of: int) -> str:
    return f"all {count:,}" if count == of else f"{count:,}"


def _count(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}"


def _all(others: int) -> str:
    return "the other contender" if others == 1 else f"all {others:,} other contenders"


def _of(count: int, others: int) -> str:
    """6 of the other 11; the only other one."""
    if count == others:
        return "the only other contender" if others == 1 else f"any of the other {others:,}"
    return f"{count:,} of the other {others:,}"
