"""Gates: limits that the metrics of a test must reach, such as ``accuracy=0.9`` or ``recall.defective=0.95``.

Importing this imports neither NumPy nor SciPy: the config's schema and the command line check gates with it.
Shapes: N images, L classes; labels int [N], probabilities [N, L].
"""

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlcli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.evaluation.split_metrics import Metrics
    from tlcli.heads.task import Task

Interval = tuple[float, float]
OVERALL = ("accuracy", "balanced_accuracy", "roc_auc")
"""Metrics of the whole split, of which larger is better; each also as ``NAME.lower``, the lower end of its interval."""
OF_CLASS = ("recall", "precision", "f1")
"""Metrics of one class, ``recall.CLASS``."""
_WITH_LOWER = ("recall", "precision")
"""Those of one class that are shares of images, and so have an interval: ``recall.CLASS.lower``."""
_LOWER = ".lower"
ALLOWED = (
    "accuracy, balanced_accuracy, roc_auc, and NAME.lower (the lower end of the 95 % interval) of each; recall.CLASS "
    "and precision.CLASS, also with .lower; f1.CLASS"
)


@dataclass(frozen=True)
class Gate:
    """A limit that was asked for."""

    name: str
    """``accuracy``, ``roc_auc.lower``, ``recall.CLASS``, ``recall.CLASS.lower``."""
    limit: float


@dataclass(frozen=True)
class GateResult:
    """What became of a gate."""

    name: str
    limit: float
    value: float | None
    """What was reached; None where the metric is undefined, as the recall of a class without images."""
    passed: bool

    def __str__(self) -> str:
        reached = "undefined" if self.value is None else f"{self.value:.4f}"
        return f"{self.name} is {reached}, the limit {self.limit:g}"


def is_gate_name(name: str) -> bool:
    """Whether a metric of this name exists, whatever the classes are."""
    kind, _, of_class = name.partition(".")
    return name.removesuffix(_LOWER) in OVERALL or (kind in OF_CLASS and of_class != "")


def parse_gates(given: Iterable[str]) -> tuple[Gate, ...]:
    """The gates that ``--fail-under`` was given: ``NAME=LIMIT`` each, or a number, which is that of the accuracy.

    Raises:
        UsageError: one is malformed.
    """
    return tuple(map(_parsed, given))


def _parsed(text: str) -> Gate:
    name, equals, number = text.rpartition("=")
    name = unicodedata.normalize("NFC", name.strip()) if equals else "accuracy"
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not is_gate_name(name):
        raise UsageError(
            "usage.unknown_gate", f"'{name:.100}' is no metric that a test can be required to reach.",
            f"Allowed: {ALLOWED}.",
        )  # fmt: skip
    if not 0 <= limit <= 1:
        raise UsageError(
            "usage.invalid_gate", f"'{text:.100}' has no limit from 0 to 1.",
            "Write METRIC=LIMIT, as in accuracy=0.9, or a number alone for the accuracy.",
        )  # fmt: skip
    return Gate(name, limit)


def merged(config: Mapping[str, float], given: Iterable[Gate]) -> tuple[Gate, ...]:
    """The gates of a config and those of the command line; of one name, that of the command line counts."""
    given = tuple(given)
    names = {gate.name for gate in given}
    return (*(Gate(name, limit) for name, limit in config.items() if name not in names), *given)


def check_classes(gates: Iterable[Gate], labels: Sequence[str]) -> None:
    """Checks, before anything is measured, that the classes of the gates exist.

    Raises:
        UsageError: one does not.
    """
    for gate in gates:
        if gate.name.partition(".")[0] in OF_CLASS:
            _class_of(gate.name, labels)


def _class_of(name: str, labels: Sequence[str]) -> tuple[str, bool]:
    """The class that a gate is about, and whether its lower end is meant: a class may be called ``x.lower``."""
    kind, _, given = name.partition(".")
    if given in labels:
        return given, False
    label = given.removesuffix(_LOWER)
    if label in labels and label != given and kind in _WITH_LOWER:
        return label, True
    if label in labels and label != given:
        raise UsageError(
            "usage.unknown_gate", f"'{name:.100}' does not exist, as there is no interval of {kind}.",
            f"Allowed: {ALLOWED}.",
        )  # fmt: skip
    raise UsageError(
        "usage.unknown_gate_class",
        f"There is no class '{given:.100}'. The classes: {', '.join(labels[:20])}{' ...' if len(labels) > 20 else ''}.",
        f"Write {kind}.CLASS=LIMIT with one of these.",
    )


def check_gates(
    gates: Sequence[Gate], metrics: "Metrics", labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]",
    task: "Task", units: "NDArray[np.int64]", predicted: "NDArray[np.int64] | None" = None,
) -> tuple[GateResult, ...]:  # fmt: skip
    """Compares the metrics of a split, or the lower ends of their intervals, with limits.

    Args:
        gates: the limits.
        metrics: of the split.
        labels: the ground truth [N].
        probabilities: of each class [N, L].
        task: the classes.
        units: which images belong together [N].
        predicted: the answers [N], where they are other classes than the most probable ones.

    Returns:
        One result for each gate; an undefined metric does not pass.

    Raises:
        UsageError: the class of a gate does not exist.
    """
    intervals: dict[str, Interval | None] = {"accuracy": metrics.accuracy_ci95}
    if {gate.name for gate in gates} & {f"{name}{_LOWER}" for name in OVERALL if name != "accuracy"}:
        from tlcli.evaluation.resampled_intervals import metric_intervals  # noqa: PLC0415 - SciPy

        intervals = metric_intervals(labels, probabilities, task, units, predicted=predicted)
    results = []
    for gate in gates:
        if gate.name.partition(".")[0] in OF_CLASS:
            answers = probabilities.argmax(axis=1) if predicted is None else predicted
            value = _of_class(gate.name, metrics, labels, answers, units)
        else:
            value = _overall(gate.name, metrics, intervals)
        results.append(GateResult(gate.name, gate.limit, value, value is not None and value >= gate.limit))
    return tuple(results)


def _overall(name: str, metrics: "Metrics", intervals: Mapping[str, Interval | None]) -> float | None:
    if name.endswith(_LOWER):
        interval = intervals[name.removesuffix(_LOWER)]
        return None if interval is None else interval[0]
    return metrics.accuracy if name == "accuracy" else metrics.scores[name]


def _of_class(
    name: str, metrics: "Metrics", labels: "NDArray[np.int64]", predicted: "NDArray[np.int64]",
    units: "NDArray[np.int64]",
) -> float | None:  # fmt: skip
    """A metric of a class, or the lower end of Wilson's interval of it."""
    kind = name.partition(".")[0]
    label, is_lower = _class_of(name, metrics.labels)
    value: float | None = getattr(metrics.per_class[label], kind)
    if value is None or not is_lower:
        return value
    from tlcli.evaluation.intervals import wilson_of_units  # noqa: PLC0415 - SciPy

    number = metrics.labels.index(label)
    members = (labels if kind == "recall" else predicted) == number
    return wilson_of_units((predicted == labels)[members], units[members])[0]
