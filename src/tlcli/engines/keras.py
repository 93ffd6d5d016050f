"""Keras on TensorFlow: for GPUs, and for machines without OpenVINO. Slow to import.

Shapes: N images in a batch, V views of an item, D features.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from tlcli.backbones.spec import BackboneSpec
from tlcli.engines.feature_maps import FeatureMaps, Normalization
from tlcli.images.items import Decoder, Item
from tlcli.images.tiles import cut
from tlcli.progress import Progress
from tlcli.system.cpu import threads
from tlcli.system.lazy import start_tensorflow

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from tlcli.backbones.build import Network

Result = TypeVar("Result")
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
            return KerasEngine(build(spec.row, spec.size, spec.weights.file), decoder)
        finally:
            keras.config.set_dtype_policy(before)


@dataclass
class _Job(Generic[Result]):
    """A submitted item."""

    result: "Future[list[Result]]"
    images: "Future[list[NDArray[np.uint8]]]"
    tiles: "list[int]" = field(default_factory=list)
    """The number of tiles of each view."""
    outputs: "list[list[NDArray[np.float32]]]" = field(default_factory=list)
    """Of the tiles of a view that are computed."""
    rows: list[Result] = field(default_factory=list)
    """Of the views that are computed."""


class _Batches(Generic[Result]):
    """A Keras model that one thread calls with batches of a fixed size.

    A batch takes the tiles of items in the order in which these were submitted. If fewer are waiting, it is padded
    with zeros and computed at once, so that no item waits for later ones, and the arithmetic of every batch is the
    same.
    """

    window = 3 * _BATCH

    def __init__(
        self, model: "keras.Model", decoder: Decoder, finish: "Callable[[list[list[NDArray[np.float32]]]], Result]"
    ) -> None:  # fmt: skip
        """Makes a runner of a model from levels, float32 [N, H, W, 3].

        Args:
            model: gives a list of arrays, each with one row per image.
            decoder: turns items into images.
            finish: of each tile of a view its row of each array -> what the futures give of the view.
        """
        self._model, self._decoder, self._finish = model, decoder, finish
        self._decoding, self._computing = ThreadPoolExecutor(threads()), ThreadPoolExecutor(1)
        self._jobs: deque[_Job[Result]] = deque()

    def submit(self, item: Item) -> "Future[list[Result]]":
        """See :meth:`tlcli.engines.interface.Runner.submit`."""
        job: _Job[Result] = _Job(Future(), self._decoding.submit(self._decoder.views, item))
        self._jobs.append(job)
        self._computing.submit(self._compute_all)  # returns at once if an earlier call has computed the job
        return job.result

    def close(self) -> None:
        """See :meth:`tlcli.engines.interface.Runner.close`."""
        self._decoding.shutdown(cancel_futures=True)
        self._computing.shutdown(cancel_futures=True)
        for job in self._jobs:
            job.result.cancel()

    def _compute_all(self) -> None:
        """Computes the submitted jobs until none is left."""
        batch: list[tuple[_Job[Result], NDArray[np.uint8]]] = []
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
                parts = [cut(image, self._decoder.preparation.size) for image in job.images.result()]
                job.tiles = [len(tiles) for tiles in parts]
                batch += [(job, tile) for tiles in parts for tile in tiles]
            except BaseException as error:  # noqa: BLE001 - belongs to whoever asked for this item
                job.result.set_exception(error)

    def _compute(self, batch: "list[tuple[_Job[Result], NDArray[np.uint8]]]") -> None:
        batch = [(job, image) for job, image in batch if not job.result.done()]  # views of an item that failed before
        if not batch:
            return
        levels = np.zeros((_BATCH, *batch[0][1].shape), np.float32)  # [N, H, W, 3]
        for index, (_, image) in enumerate(batch):
            levels[index] = image
        try:
            outputs = [np.asarray(one, np.float32) for one in self._model.predict_on_batch(levels)]
            for index, (job, _) in enumerate(batch):
                job.outputs.append([output[index] for output in outputs])
                if len(job.outputs) == job.tiles[len(job.rows)]:
                    job.rows.append(self._finish(job.outputs))
                    job.outputs = []
                if len(job.rows) == len(job.tiles):
                    job.result.set_result(job.rows)
        except BaseException as error:  # noqa: BLE001 - belongs to whoever asked for these items
            for job in {id(job): job for job, _ in batch if not job.result.done()}.values():
                job.result.set_exception(error)


class KerasEngine(_Batches["NDArray[np.float32]"]):
    """A backbone in Keras; see :class:`tlcli.engines.interface.Engine`."""

    def __init__(self, network: "Network", decoder: Decoder) -> None:
        """Makes an engine of a built network."""
        blocks = network.row.blocks

        def features(tiles: "list[list[NDArray[np.float32]]]") -> "NDArray[np.float32]":
            return blocks.rounded(blocks.over_tiles([np.concatenate(row) for row in tiles]))

        super().__init__(network.features(), decoder, features)
        self._network = network

    def maps(self) -> _Batches[FeatureMaps]:
        """See :meth:`tlcli.engines.interface.Engine.maps`."""
        blocks = self._network.row.blocks
        norms = [Normalization(np.asarray(x.gamma), np.asarray(x.beta), x.epsilon) for x in self._network.after]

        def finish(tiles: "list[list[NDArray[np.float32]]]") -> FeatureMaps:
            return FeatureMaps(blocks, tuple(dict(zip(blocks.layers, maps, strict=True)) for maps in tiles), *norms)

        return _Batches(self._network.feature_maps(), self._decoder, finish)
