"""What Prometheus reads at ``/metrics``."""

from collections import Counter as Counts
from collections import defaultdict, deque
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from tlcli.model.prediction import Prediction

LATEST = 1000
"""Answers of which the shares are of."""
_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """Counts requests and answers."""

    def __init__(self, waiting: Callable[[], int], restarts: Callable[[], int]) -> None:
        """Takes what is asked for when the metrics are read: the length of the queue, restarts of decoders."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self._counter("tlcli_requests", "Requests by route and status", "route", "status")
        self._refused = self._counter("tlcli_refusals", "Requests that were refused, by code", "code")
        self._answers = self._counter("tlcli_answers", "Images by model and kind of answer", "model", "kind")
        self._reloads = self._counter("tlcli_reloads", "Reloads of the models by result", "result")
        self._seconds = Histogram(
            "tlcli_request_seconds", "Seconds of a request", ["route"], registry=self.registry, buckets=_BUCKETS
        )
        self._shares = Gauge(
            "tlcli_answer_share", f"Share among the last {LATEST} images that could be read: drift where it rises",
            ["model", "kind"], registry=self.registry,
        )  # fmt: skip
        Gauge("tlcli_queue_images", "Images in the queue or at work", registry=self.registry).set_function(waiting)
        Gauge("tlcli_decoder_restarts", "Decoders that were replaced", registry=self.registry).set_function(restarts)
        self._latest: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=LATEST))
        self._counts: defaultdict[str, Counts[str]] = defaultdict(Counts)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request has its answer. The route is that of the server, never what a client sent."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refusal(self, code: str) -> None:
        """A request was refused."""
        self._refused.labels(code).inc()

    def answer(self, model: str, prediction: Prediction) -> None:
        """An image has its answer."""
        kind = kind_of(prediction)
        self._answers.labels(model, kind).inc()
        if kind == "unreadable":
            return
        latest, counts = self._latest[model], self._counts[model]
        if len(latest) == LATEST:
            counts[latest[0]] -= 1
        latest.append(kind)
        counts[kind] += 1
        for one in ("class", "unsure", "none_of_these"):
            self._shares.labels(model, one).set(counts[one] / len(latest))

    def reload(self, result: str) -> None:
        """The models were loaded again: ``done`` or ``failed``."""
        self._reloads.labels(result).inc()

    def text(self) -> bytes:
        """In Prometheus' format."""
        return bytes(generate_latest(self.registry))


def kind_of(prediction: Prediction) -> str:
    """``class``, ``unsure``, ``none_of_these`` or ``unreadable``."""
    if prediction.error is not None:
        return "unreadable"
    if prediction.is_none_of_these:
        return "none_of_these"
    return "unsure" if prediction.refusal else "class"
