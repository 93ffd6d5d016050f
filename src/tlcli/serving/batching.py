"""From the bytes of images to predictions: a bounded queue, one pass for all heads of a backbone.

Images of all requests are decoded and computed together, as many at a time as keep the cores busy. They pass the
backbone one by one, which on a CPU is as fast as a batch (docs/serve.md) and makes an answer independent of the images
beside it; no image waits for others to come.
"""

import asyncio
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from tlcli.images.decode import BadImageError
from tlcli.model.prediction import Explanation, Prediction
from tlcli.serving.decoding import Decoders
from tlcli.serving.limits import Limits, RefusalError
from tlcli.serving.models import Model, Trunk


@dataclass(frozen=True)
class Options:
    """How a request wants its answers."""

    top_k: int = 1
    min_confidence: float = 0.0
    coverage: float | None = None
    explain: bool = False


@dataclass(frozen=True)
class Answer:
    """What one model says of one image."""

    model: Model
    prediction: Prediction
    explanation: Explanation | None = None


class Batching:
    """All that happens between a request and its answer, except HTTP."""

    def __init__(self, decoders: Decoders, limits: Limits) -> None:
        """Takes decoders that are started."""
        self.waiting = 0
        """Images in the queue or at work."""
        self._decoders, self._queue = decoders, limits.queue
        self._heads = ThreadPoolExecutor(2, "heads")
        self._seconds = 0.02
        """Between two answers under load, smoothed."""
        self._last = 0.0

    async def answers(
        self, images: Sequence[tuple[str, bytes]], models: Sequence[Model], options: Options
    ) -> list[list[Answer]]:  # fmt: skip
        """Classifies images by one or several models.

        Args:
            images: names and bytes.
            models: of each image, an answer of each of them.
            options: the same for all.

        Returns:
            For each image the answers of the models, in order; an unreadable image has predictions that say so.

        Raises:
            RefusalError: the queue is full.
        """
        with self._places(len(images)):
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._image(name, data, models, options)) for name, data in images]
            except ExceptionGroup as raised:
                raise raised.exceptions[0] from raised
            return [task.result() for task in tasks]

    async def check(self, data: bytes, model: Model) -> None:
        """Decodes an image, to know that it is one.

        Raises:
            BadImageError: it is unreadable.
            RefusalError: the queue is full.
        """
        with self._places(1):
            await self._decoders.prepare(data, model.trunk.preparation)

    async def _image(self, name: str, data: bytes, models: Sequence[Model], options: Options) -> list[Answer]:
        found: dict[Trunk, dict[Model, Answer]] = {}
        for trunk in dict.fromkeys(model.trunk for model in models):
            of_trunk = [model for model in models if model.trunk is trunk]
            found[trunk] = dict(zip(of_trunk, await self._pass(name, data, trunk, of_trunk, options), strict=True))
        return [found[model.trunk][model] for model in models]

    async def _pass(
        self, name: str, data: bytes, trunk: Trunk, models: Sequence[Model], options: Options
    ) -> list[Answer]:  # fmt: skip
        """One pass through a backbone, and its heads."""
        try:
            pixels = await self._decoders.prepare(data, trunk.preparation)
        except BadImageError as error:
            bad = Prediction(name, None, None, (), (), error=error.code, error_code=error.code)
            return [Answer(model, bad) for model in models]
        row = await trunk.features(pixels)
        maps = await trunk.maps(pixels) if options.explain else None

        def heads() -> list[Answer]:
            answers = []
            for model in models:
                top_k = min(options.top_k, len(model.labels))
                answer = model.predictor.answer(name, row, top_k, options.min_confidence, options.coverage)
                explanation = model.predictor.explanation(pixels, maps) if maps is not None else None
                answers.append(Answer(model, answer, explanation))
            return answers

        found = await asyncio.get_running_loop().run_in_executor(self._heads, heads)
        self._measure()
        return found

    @contextmanager
    def _places(self, count: int) -> Iterator[None]:
        if self.waiting + count > self._queue:
            raise RefusalError("serve.queue_full", 503, self.retry_after())
        self.waiting += count
        try:
            yield
        finally:
            self.waiting -= count

    def _measure(self) -> None:
        now = monotonic()
        if self.waiting > 1:
            self._seconds += 0.1 * (min(now - self._last, 1.0) - self._seconds)
        self._last = now

    def retry_after(self) -> int:
        """Returns the whole seconds in which what waits now is done."""
        return min(30, max(1, math.ceil(self.waiting * self._seconds)))
