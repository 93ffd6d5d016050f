"""Keras for GPUs, on the backend that sees one, and for machines without OpenVINO, on TensorFlow. Slow to start.

Three things go on at a time: items are decoded, a batch of those that are decoded is put together, and the one before
is computed. Shapes: N images in a batch, V views of an item, D features.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from tlcli.backbones.spec import BackboneSpec, Precision
from tlcli.engines.batch_size import activation_bytes, choose_batch_size, is_out_of_memory
from tlcli.engines.feature_maps import FeatureMaps, Normalization
from tlcli.engines.gpu import TITLES, find_gpu
from tlcli.images.decode_pool import DecodePool
from tlcli.images.items import Decoder, Item
from tlcli.images.tiles import cut
from tlcli.progress import SILENT, Progress
from tlcli.system.files import format_size
from tlcli.system.lazy import start_keras

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from tlcli.backbones.build import Network

Result = TypeVar("Result")
_BATCH = 32
"""Images of a batch on a CPU, and of feature maps, which are large."""
_AHEAD = 2
"""Batches that are put together before they are computed."""
_POLICIES: dict[Precision, str] = {"f32": "float32", "bf16": "mixed_bfloat16", "f16": "mixed_float16"}


def open_engine(spec: BackboneSpec, decoder: Decoder, progress: Progress) -> "KerasEngine":
    """See :func:`tlcli.engines.interface.open_engine`."""
    backend = spec.engine.backend or "tensorflow"
    with progress.stage(f"Starting {TITLES[backend]}"):
        start_keras(backend)
        import keras  # noqa: PLC0415 - its backend is set above

        from tlcli.backbones.build import build  # noqa: PLC0415 - imports Keras

        if spec.engine.precision == "f32":
            _use_float32(backend)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(_POLICIES[spec.engine.precision])
        try:
            tail = spec.weights.tail.path if spec.weights.tail else None
            network = build(spec.row, spec.size, spec.weights.file, tail)
            engine = KerasEngine(network, decoder, _batch_size(network, spec), progress)
        finally:
            keras.config.set_dtype_policy(before)
    if spec.engine.on_gpu and (gpu := find_gpu()):
        progress.note(
            f"{gpu.name} ({format_size(gpu.memory_bytes)} of memory): {engine.batch_size} images a batch, "
            f"decoded ahead by {engine.decoding.workers} {engine.decoding.kind}"
        )
    return engine


def _batch_size(network: "Network", spec: BackboneSpec) -> int:
    gpu = find_gpu() if spec.engine.on_gpu else None
    if gpu is None:
        return _BATCH
    shapes = [tuple(layer.output.shape[1:]) for layer in network.unscaled.layers]
    itemsize = 4 if spec.engine.precision == "f32" else 2
    return choose_batch_size(gpu.memory_bytes, activation_bytes(shapes, itemsize), spec.size)


def _use_float32(backend: str) -> None:
    """GPUs of NVIDIA round the factors of float32 products to 10 bits otherwise (TensorFloat-32)."""
    if backend == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415 - chosen by the caller

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif backend == "jax":
        import jax  # noqa: PLC0415 - the same

        jax.config.update("jax_default_matmul_precision", "highest")
    else:
        import torch  # noqa: PLC0415 - the same

        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


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
    same. A GPU whose memory does not suffice gets smaller batches from then on.
    """

    def __init__(
        self, model: "keras.Model", decoder: Decoder, finish: "Callable[[list[list[NDArray[np.float32]]]], Result]",
        batch_size: int = _BATCH, progress: Progress = SILENT,
    ) -> None:  # fmt: skip
        """Makes a runner of a model from levels, float32 [N, H, W, 3].

        Args:
            model: gives a list of arrays, each with one row per image.
            decoder: turns items into images.
            finish: of each tile of a view its row of each array -> what the futures give of the view.
            batch_size: N.
            progress: receives a note where the memory does not suffice.
        """
        self.network_model, self._decoder, self._finish, self._progress = of_bytes(model), decoder, finish, progress
        self.batch_size, self.window, self._at_once = batch_size, 3 * batch_size, batch_size
        self.decoding = DecodePool(decoder)
        self._collating, self._computing, self._finishing = (ThreadPoolExecutor(1) for _ in range(3))
        self._jobs: deque[_Job[Result]] = deque()
        self._ahead: deque[Future[None]] = deque()

    def submit(self, item: Item) -> "Future[list[Result]]":
        """See :meth:`tlcli.engines.interface.Runner.submit`."""
        job: _Job[Result] = _Job(Future(), self.decoding.submit(item))
        self._jobs.append(job)
        self._collating.submit(self._collate_all)  # returns at once if an earlier call has computed the job
        return job.result

    def close(self) -> None:
        """See :meth:`tlcli.engines.interface.Runner.close`."""
        self.decoding.close()
        for pool in (self._collating, self._computing, self._finishing):
            pool.shutdown(cancel_futures=pool is self._collating)
        for job in self._jobs:
            job.result.cancel()

    def _collate_all(self) -> None:
        """Puts the submitted jobs into batches until none is left."""
        batch: list[tuple[_Job[Result], NDArray[np.uint8]]] = []
        while self._jobs or batch:
            if not self._jobs or len(batch) >= self.batch_size:
                self._send(batch[: self.batch_size])
                del batch[: self.batch_size]
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

    def _send(self, batch: "list[tuple[_Job[Result], NDArray[np.uint8]]]") -> None:
        """Has a batch computed, once few are waiting."""
        batch = [(job, image) for job, image in batch if not job.result.done()]  # views of an item that failed before
        if not batch:
            return
        levels = np.zeros((self.batch_size, *batch[0][1].shape), np.uint8)  # [N, H, W, 3]
        for index, (_, image) in enumerate(batch):
            levels[index] = image
        while len(self._ahead) >= _AHEAD:
            self._ahead.popleft().result()
        self._ahead.append(self._computing.submit(self._compute, batch, levels))

    def _compute(self, batch: "list[tuple[_Job[Result], NDArray[np.uint8]]]", levels: "NDArray[np.uint8]") -> None:
        try:
            outputs = self._predict(levels)
        except BaseException as error:  # noqa: BLE001 - belongs to whoever asked for these items
            self._finishing.submit(_fail, batch, error)
        else:
            self._finishing.submit(self._finish_all, batch, outputs)

    def _predict(self, levels: "NDArray[np.uint8]") -> "list[NDArray[np.float32]]":
        """The model's outputs, in as many calls as the memory of the GPU needs."""
        while True:
            starts = range(0, len(levels), self._at_once)
            try:
                parts = [self.network_model.predict_on_batch(levels[start : start + self._at_once]) for start in starts]
            except Exception as error:
                if self._at_once == 1 or not is_out_of_memory(error):
                    raise
                self._at_once //= 2
                self._progress.note(f"The memory of the GPU is full: from now on {self._at_once} images at a time")
            else:
                return [np.asarray(np.concatenate(one), np.float32) for one in zip(*parts, strict=True)]

    def _finish_all(
        self, batch: "list[tuple[_Job[Result], NDArray[np.uint8]]]", outputs: "list[NDArray[np.float32]]"
    ) -> None:
        try:
            for index, (job, _) in enumerate(batch):
                job.outputs.append([output[index] for output in outputs])
                if len(job.outputs) == job.tiles[len(job.rows)]:
                    job.rows.append(self._finish(job.outputs))
                    job.outputs = []
                if len(job.rows) == len(job.tiles):
                    job.result.set_result(job.rows)
        except BaseException as error:  # noqa: BLE001 - belongs to whoever asked for these items
            _fail(batch, error)


def _fail(batch: "list[tuple[_Job[Any], Any]]", error: BaseException) -> None:
    for job in {id(job): job for job, _ in batch if not job.result.done()}.values():
        job.result.set_exception(error)


def of_bytes(model: "keras.Model") -> "keras.Model":
    """The model with bytes for levels, uint8 [N, H, W, 3]: a GPU receives a quarter of the data."""
    import keras  # noqa: PLC0415 - its backend was chosen before

    levels = keras.Input(model.input.shape[1:], dtype="uint8")
    return keras.Model(levels, model(keras.ops.cast(levels, "float32")))


class KerasEngine(_Batches["NDArray[np.float32]"]):
    """A backbone in Keras; see :class:`tlcli.engines.interface.Engine`."""

    def __init__(
        self, network: "Network", decoder: Decoder, batch_size: int = _BATCH, progress: Progress = SILENT
    ) -> None:  # fmt: skip
        """Makes an engine of a built network."""
        blocks = network.row.blocks

        def features(tiles: "list[list[NDArray[np.float32]]]") -> "NDArray[np.float32]":
            return blocks.rounded(blocks.over_tiles([np.concatenate(row) for row in tiles]))

        super().__init__(network.features(), decoder, features, batch_size, progress)
        self._network = network

    def maps(self) -> _Batches[FeatureMaps]:
        """See :meth:`tlcli.engines.interface.Engine.maps`."""
        blocks = self._network.row.blocks
        norms = [Normalization(np.asarray(x.gamma), np.asarray(x.beta), x.epsilon) for x in self._network.after]

        def finish(tiles: "list[list[NDArray[np.float32]]]") -> FeatureMaps:
            return FeatureMaps(blocks, tuple(dict(zip(blocks.layers, maps, strict=True)) for maps in tiles), *norms)

        return _Batches(self._network.feature_maps(), self._decoder, finish)
