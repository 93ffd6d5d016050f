"""Keras on TensorFlow: for GPUs, and for machines without OpenVINO. Slow to import.

Shapes: N images in a batch, V views of an item, D features.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.spec import BackboneSpec, Pooling
from tlcli.engines.activation_maps import Normalization, features_by_position
from tlcli.images.items import Decoder, Item
from tlcli.progress import Progress
from tlcli.system.cpu import threads
from tlcli.system.lazy import start_tensorflow

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

_BATCH = 32


def open_engine(spec: BackboneSpec, decoder: Decoder, progress: Progress) -> "KerasEngine":
    """See :func:`tlcli.engines.interface.open_engine`."""
    with progress.stage("Starting TensorFlow"):
        start_tensorflow()
        import keras  # noqa: PLC0415 - its backend is set above

        from tlcli.backbones.build import build  # noqa: PLC0415 - imports Keras

        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16" if spec.engine.precision == "bf16" else "float32")
        try:
            return KerasEngine(build(spec.row, spec.size, spec.pooling, spec.weights.file), decoder)
        finally:
            keras.config.set_dtype_policy(before)


@dataclass
class _Job:
    """A submitted item."""

    result: "Future[NDArray[np.float32]]"
    images: "Future[list[NDArray[np.uint8]]]"
    rows: "list[NDArray[np.float32]]" = field(default_factory=list)
    """Those that are computed."""


class KerasEngine:
    """A Keras model that one thread calls with batches of a fixed size.

    A batch takes the items in the order in which they were submitted. If fewer images are waiting, it is padded with
    zeros and computed at once, so that no item waits for later ones, and the arithmetic of every batch is the same.
    """

    window = 3 * _BATCH

    def __init__(
        self, model: "keras.Model", decoder: Decoder,
        finish: "Callable[[NDArray[np.float32]], NDArray[np.float32]]" = lambda row: row,
    ) -> None:  # fmt: skip
        """Makes an engine of a model from levels, float32 [N, S, S, 3].

        Args:
            model: gives one row per image.
            decoder: turns items into images.
            finish: a row of the model -> what the futures give of an image.
        """
        self._model, self._decoder, self._finish = model, decoder, finish
        self._decoding, self._computing = ThreadPoolExecutor(threads()), ThreadPoolExecutor(1)
        self._jobs: deque[_Job] = deque()

    def submit(self, item: Item) -> "Future[NDArray[np.float32]]":
        """See :meth:`tlcli.engines.interface.Engine.submit`."""
        job = _Job(Future(), self._decoding.submit(self._decoder.views, item))
        self._jobs.append(job)
        self._computing.submit(self._compute_all)  # returns at once if an earlier call has computed the job
        return job.result

    def maps(self) -> "KerasEngine":
        """See :meth:`tlcli.engines.interface.Engine.maps`."""
        import keras  # noqa: PLC0415

        from tlcli.backbones.build import split_at_pooling  # noqa: PLC0415 - imports Keras

        trunk, layer, after = split_at_pooling(self._model)
        pooling: Pooling = "max" if isinstance(layer, keras.layers.GlobalMaxPooling2D) else "avg"
        norms = [Normalization(np.asarray(x.gamma), np.asarray(x.beta), x.epsilon) for x in after]  # none, or one
        return KerasEngine(trunk, self._decoder, lambda last: features_by_position(last, pooling, *norms))

    def close(self) -> None:
        """See :meth:`tlcli.engines.interface.Engine.close`."""
        self._decoding.shutdown(cancel_futures=True)
        self._computing.shutdown(cancel_futures=True)
        for job in self._jobs:
            job.result.cancel()

    def _compute_all(self) -> None:
        """Computes the submitted jobs until none is left."""
        batch: list[tuple[_Job, NDArray[np.uint8]]] = []
        while self._jobs or batch:
            if not self._jobs or len(batch) >= _BATCH:
                self._compute(batch[:_BATCH])
                del batch[:_BATCH]
                continue
            job = self._jobs.popleft()
            if not job.result.set_running_or_notify_cancel():
                job.images.cancel()
                continue
            try:
                batch += [(job, image) for image in job.images.result()]
            except BaseException as error:  # noqa: BLE001 - belongs to whoever asked for this item
                job.result.set_exception(error)

    def _compute(self, batch: "list[tuple[_Job, NDArray[np.uint8]]]") -> None:
        batch = [(job, image) for job, image in batch if not job.result.done()]  # views of an item that failed before
        if not batch:
            return
        levels = np.zeros((_BATCH, *batch[0][1].shape), np.float32)  # [N, S, S, 3]
        for index, (_, image) in enumerate(batch):
            levels[index] = image
        try:
            rows = np.asarray(self._model.predict_on_batch(levels), np.float32)[: len(batch)]
            for (job, _), row in zip(batch, rows, strict=True):
                job.rows.append(self._finish(row))
                if len(job.rows) == len(job.images.result()):
                    job.result.set_result(np.stack(job.rows))
        except BaseException as error:  # noqa: BLE001 - belongs to whoever asked for these items
            for job in {id(job): job for job, _ in batch if not job.result.done()}.values():
                job.result.set_exception(error)
