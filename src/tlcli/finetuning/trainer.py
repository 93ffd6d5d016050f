"""The network that is trained, with its optimizer: what an epoch does. Keras on TensorFlow.

Shapes: N rows of a request, n rows of a batch, D features that the head takes, E of them computed before the part that
is trained, U output units, L classes.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file

from tlcli.backbones.blocks import Blocks
from tlcli.backbones.catalog import row_for
from tlcli.finetuning.inputs import ImageInputs, Inputs, MapInputs
from tlcli.finetuning.mixing import Batch, mixed
from tlcli.finetuning.request import HEAD_FILE, ROWS_FILE, START_FILE, TAIL_FILE, ImageFiles, Request
from tlcli.heads.task import Task
from tlcli.system.files import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.backbones.build import Tail

_TIMED = 3
"""Steps that the cost of a training is measured with, after a first one, which builds the graph."""
_BFLOAT16 = (8, 0)
"""Compute capability of the first GPUs that have it."""


class Rows(NamedTuple):
    """The rows of a request."""

    keys: "NDArray[np.uint8]"
    labels: "NDArray[np.int64]"
    weights: "NDArray[np.float32]"
    held_out: "NDArray[np.bool_]"
    plain: "NDArray[np.bool_]"
    scored: "NDArray[np.bool_] | bool" = False

    @property
    def seen(self) -> "NDArray[np.bool_]":
        """[N], all but those that are scored alone."""
        return ~np.broadcast_to(self.scored, self.labels.shape)

    @property
    def fitted(self) -> "NDArray[np.int64]":
        """Numbers of the rows that are trained on while the learning rate is chosen."""
        return np.flatnonzero(self.seen & ~self.held_out)

    @property
    def choosing(self) -> "NDArray[np.int64]":
        """Numbers of the rows that it is chosen by."""
        return np.flatnonzero(self.seen & self.held_out & self.plain)


class Trainer:
    """The last blocks, or the whole backbone, and the head, with their optimizer."""

    def __init__(self, request: Request) -> None:
        """Builds the network, and reads the request's files.

        Raises:
            ModelError: the weights do not fit, or the network cannot be cut there.
        """
        import keras
        import tensorflow as tf

        from tlcli.backbones.build import build  # noqa: PLC0415 - the same

        tf.config.threading.set_intra_op_parallelism_threads(request.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        keras.utils.set_random_seed(request.recipe.seed)
        self._tf, self._keras, self.recipe = tf, keras, request.recipe
        self.on_gpu = _use_gpu(tf, keras)
        if not self.on_gpu:  # some of their gradients have no deterministic kernel
            tf.config.experimental.enable_op_determinism()
        network = build(row_for(request.name, request.layout), request.size, Path(request.weights))
        before, tail = Blocks(()), None
        if request.blocks == "all":
            tail = network.whole()
        else:
            split = network.split(request.blocks)
            before, tail = split.before, split.tail
        self._shape = tuple(tail.model.input.shape[1:])
        self._start = load_file(request.place / START_FILE)
        self.task = Task.of_units(len(self._start["bias"]))
        self.rows = Rows(**load_file(request.place / ROWS_FILE))
        self._inputs: Inputs = (
            ImageInputs(request.data) if isinstance(request.data, ImageFiles)
            else MapInputs(request.data.store, self.rows.keys, self._shape, before, request.inputs)
        )  # fmt: skip
        self._model, self._head = self._with_head(tail, request.inputs)
        self._tail = {variable.path: variable for variable in tail.model.trainable_variables}
        self._all = [*self._tail.values(), *self._head.trainable_variables]
        depths = [*(tail.depths[path] for path in self._tail), 0, 0]
        self._shares = [self.recipe.layer_decay**depth for depth in depths]
        self._origin = [tf.Variable(variable.value, trainable=False) for variable in self._all]
        self._optimizer = _layerwise_adam(keras, self._shares)
        self._optimizer.build(self._all)
        self._step = tf.function(self._train_step, reduce_retracing=True)
        self._infer = tf.function(lambda maps, early: self._model([maps, early], training=False))

    def _with_head(self, tail: "Tail", inputs: Sequence[str]) -> tuple[Any, Any]:
        """The part that is trained with the head behind it, [map, early features [n, E]] -> logits [n, U]; and the
        head, which takes standardised features: so all its weights are of one size, as one learning rate wants it."""
        layers, ops, start = self._keras.layers, self._keras.ops, self._start
        maps, early = layers.Input(self._shape), layers.Input((self._inputs.early_width,))
        late = [one for one, name in zip(tail.model(maps, training=False), tail.blocks.names, strict=True)
                if name in inputs]  # fmt: skip
        features = ops.concatenate([early, *(ops.cast(one, "float32") for one in late)], axis=-1)
        head = layers.Dense(len(start["bias"]), name="head", dtype="float32")
        logits = head((features - start["mean"]) / start["scale"])
        return self._keras.Model([maps, early], logits), head

    def reset(self, part: bool) -> None:
        """Back to the frozen network and head, with a new optimizer."""
        self.start_from(part)
        for variable, value in zip(self._all, self._origin, strict=True):
            variable.assign(value)
        for variable in self._optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))

    def start_from(self, part: bool) -> None:
        """Sets where weight decay draws to: the frozen network with its head, or, ``part``, with the head that was
        fitted without the held-out images."""
        weights, bias = (self._start[f"part_{name}" if part else name] for name in ("weights", "bias"))
        self._origin[-2].assign(weights * self._start["scale"][:, None])
        self._origin[-1].assign(bias + self._start["mean"] @ weights)

    def state(self) -> "dict[str, NDArray[Any]]":
        """All that a training depends on, by name."""
        named = {f"weight.{number:04d}": variable for number, variable in enumerate(self._all)}
        named |= {f"optimizer.{number:04d}": variable for number, variable in enumerate(self._optimizer.variables)}
        return {name: np.array(self._keras.ops.convert_to_numpy(one), order="C") for name, one in named.items()}

    def restore(self, state: "dict[str, NDArray[Any]]") -> None:
        """Takes what :meth:`state` gave."""
        for number, variable in enumerate(self._all):
            variable.assign(state[f"weight.{number:04d}"])
        for number, variable in enumerate(self._optimizer.variables):
            variable.assign(state[f"optimizer.{number:04d}"].astype(variable.dtype))

    def train_epoch(
        self, chosen: "NDArray[np.int64]", phase: str, epoch: int, peak: float, total: int
    ) -> tuple[float, float]:
        """Trains on rows, in an order that follows from seed, phase and epoch; returns their mean loss and accuracy.

        Args:
            chosen: numbers of the rows.
            phase: of the training.
            epoch: counted from 1.
            peak: of the learning rate.
            total: epochs of the whole schedule.
        """
        recipe, losses, correct = self.recipe, 0.0, 0
        random = np.random.default_rng([recipe.seed, *phase.encode(), epoch])
        batches = self._batches(chosen[random.permutation(len(chosen))])
        mixing = np.random.default_rng([recipe.seed, *phase.encode(), epoch, 1])
        for number, (rows, (maps, early)) in enumerate(zip(batches, self._inputs.read(batches, epoch), strict=True)):
            batch = Batch(maps, early, self._targets(self.rows.labels[rows]), self.rows.weights[rows])
            batch = mixed(batch, recipe.mixup, recipe.cutmix, mixing)
            rate = recipe.rate(peak, (epoch - 1) * len(batches) + number, total * len(batches))
            loss, logits = self._step(*map(self._filled, batch), np.float32(rate), np.float32(len(rows)))
            if not math.isfinite(loss):
                return math.nan, math.nan
            losses += float(loss) * len(rows)
            correct += int((self.task.predicted(np.array(logits)[: len(rows)]) == self.rows.labels[rows]).sum())
        return losses / len(chosen), correct / len(chosen)

    def seconds_per_image(self) -> float:
        """Measured on some rows, which leaves the weights changed."""
        rows = np.resize(self.rows.fitted, (_TIMED + 1) * self.recipe.batch_size)
        batches, started = self._batches(rows), 0.0
        for number, (of_batch, (maps, early)) in enumerate(zip(batches, self._inputs.read(batches, 1), strict=True)):
            if number == 1:
                started = time.perf_counter()
            batch = (maps, early, self._targets(self.rows.labels[of_batch]), self.rows.weights[of_batch])
            self._step(*batch, np.float32(0), np.float32(len(of_batch)))
        return (time.perf_counter() - started) / (_TIMED * self.recipe.batch_size)

    def probabilities(self, chosen: "NDArray[np.int64]") -> "NDArray[np.float64]":
        """Of rows [n, L]."""
        found, batches = [np.empty((0, self.task.count))], self._batches(chosen)
        for rows, parts in zip(batches, self._inputs.read(batches, 0), strict=True):
            logits = np.array(self._infer(*map(self._filled, parts)), np.float64)[: len(rows)]
            found.append(self.task.probabilities(logits))
        return np.concatenate(found)

    @property
    def is_finite(self) -> bool:
        """Whether all weights are numbers."""
        return all(np.isfinite(np.array(variable.value)).all() for variable in self._all)

    def answer(self, folder: Path) -> None:
        """Writes the variables of the last blocks, and the head for features as they are."""
        tail = {path: np.array(variable.value) for path, variable in self._tail.items()}
        weights, bias = self._head.get_weights()
        weights = (weights / self._start["scale"][:, None]).astype(np.float32)
        head = {"weights": weights, "bias": (bias - self._start["mean"] @ weights).astype(np.float32)}
        for name, arrays in ((TAIL_FILE, tail), (HEAD_FILE, head)):
            with whole_file(folder / name) as temporary:
                save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, temporary)

    def _batches(self, rows: "NDArray[np.int64]") -> "list[NDArray[np.int64]]":
        size = self.recipe.batch_size
        return [rows[first : first + size] for first in range(0, len(rows), size)]

    def _filled(self, part: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Followed by zeros up to the size of a batch: one shape, one graph."""
        missing = self.recipe.batch_size - len(part)
        return np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)]) if missing else part

    def _targets(self, labels: "NDArray[np.int64]") -> "NDArray[np.float32]":
        """[n, U], smoothed."""
        units, smoothing = self.task.units, self.recipe.label_smoothing
        hard = labels[:, None] == (np.arange(units) if units > 1 else 1)
        return np.asarray(hard * (1 - smoothing) + smoothing / max(units, 2), np.float32)

    def _train_step(self, maps: Any, early: Any, targets: Any, weights: Any, rate: Any, count: Any) -> Any:
        """One step of AdamW, whose decay draws towards the start; the mean loss of the batch, and its logits before."""
        tf = self._tf
        with tf.GradientTape() as tape:
            logits = self._model([maps, early], training=False)
            if self.task.units == 1:
                losses = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)[:, 0]
            else:
                losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_sum(losses * weights) / count
        gradients = tape.gradient(loss, self._all)
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply(gradients, self._all)
        for variable, start, share in zip(self._all, self._origin, self._shares, strict=True):
            variable.assign(variable - rate * share * self.recipe.weight_decay * (variable - start))
        return loss, logits


def _use_gpu(tf: Any, keras: Any) -> bool:
    """Whether there is a GPU; with mixed precision where it has bfloat16, whose range needs no scaling of the loss."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0)) >= _BFLOAT16:
        keras.config.set_dtype_policy("mixed_bfloat16")
    return bool(gpus)


def _layerwise_adam(keras: Any, shares: Sequence[float]) -> Any:
    """Adam with a share of the learning rate for each variable."""

    class LayerwiseAdam(keras.optimizers.Adam):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate * shares[self._get_variable_index(variable)])

    return LayerwiseAdam(1.0)
