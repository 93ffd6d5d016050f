"""How people read the figures of a metric. A search maximises, so it keeps a log loss negated; files, pages and the
terminal have it as it is measured: positive, and better where it is smaller.

Importing this imports nothing.
"""

_LOSSES = ("log_loss",)
_TITLES = {"log_loss": "log loss", "roc_auc": "ROC-AUC", "f1_macro": "macro F1"}
_POINTS = ("accuracy", "balanced_accuracy", "recall")
"""Metrics, up to an @, whose differences are told in percentage points."""


def is_loss(metric: str) -> bool:
    """Whether smaller figures are better."""
    return metric in _LOSSES


def title_of(metric: str) -> str:
    """What the metric is called in a sentence.

    Args:
        metric: as ``--metric`` takes it, such as ``recall@precision=0.95``.
    """
    name, _, precision = metric.partition("@precision=")
    return f"{name} (precision {precision})" if precision else _TITLES.get(name, name.replace("_", " "))


def is_in_points(metric: str) -> bool:
    """Whether differences are told in percentage points: the metric is a share of images."""
    return metric.partition("@")[0] in _POINTS


def as_measured(metric: str, score: float) -> float:
    """A score of the search, of which more is better -> the figure of the metric: -0.31 -> a log loss of 0.31."""
    return 0.0 - score if is_loss(metric) else score  # a loss of 0 has no sign


def ends_as_measured(metric: str, interval: tuple[float, float]) -> tuple[float, float]:
    """The interval of a score -> that of the metric's figure, the smaller end first."""
    low, high = sorted(as_measured(metric, end) for end in interval)
    return low, high
