"""Mini-batch training on stored features: one dense layer, trained epoch by epoch, as Keras would train it.

It is NumPy, since TensorFlow takes seconds to start and the training itself a fraction of a second; a test compares
the history with Keras's.
Shapes: N rows, n rows of a batch, D features, U output units (see :mod:`tlcli.heads.task`), L classes.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from tlcli.errors import ResourceError, UsageError
from tlcli.features.rows import Rows
from tlcli.heads.class_weight import ClassWeight, weights_of_classes
from tlcli.heads.fit_record import Fit, Step
from tlcli.heads.optimizers import Optimizer, OptimizerName
from tlcli.heads.standardize import Standardizer
from tlcli.heads.task import Task
from tlcli.progress import SILENT, Progress
from tlcli.system.files import format_size
from tlcli.system.memory import memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MIN_DELTA = 1e-4
"""Keras's: by how much the validation loss must fall so that the learning rate is kept."""
_MEASURED_ROWS = 8192
"""Validation rows whose losses are computed at once."""


class Plateau(NamedTuple):
    """Keras's ReduceLROnPlateau on the validation loss."""

    factor: float
    patience: int
    min_learning_rate: float


def fit_minibatch(
    train: Rows,
    validation: Rows,
    *,
    epochs: int,
    batch_size: int,
    optimizer: OptimizerName,
    learning_rate: float,
    reduce_on_plateau: Plateau | None,
    early_stopping: int | None,
    dropout: float,
    standardize: bool,
    class_weight: ClassWeight,
    seed: int,
    progress: Progress = SILENT,
) -> Fit:
    """Trains a head on training features [N, D], with the loss on validation features as its monitor.

    Equal seeds and rows give bit-equal heads on one machine. All rows are held in memory once, float32.

    Args:
        train: rows to train on.
        validation: rows to monitor.
        epochs: passes over the training rows, at most.
        batch_size: rows of a step.
        optimizer: Keras's, with its defaults but for the learning rate.
        learning_rate: initial learning rate.
        reduce_on_plateau: lowers the learning rate; None keeps it.
        early_stopping: epochs without a lower validation loss after which training stops; the weights of the best epoch
            are kept. None: all epochs are trained and the last weights kept.
        dropout: share of features dropped in each training step.
        standardize: train on standardised features; folded into the head's weights.
        class_weight: what an image of each class weighs in the loss.
        seed: of the initial weights, the order of the rows and the dropout.
        progress: receives a step an epoch.

    Raises:
        ResourceError: the rows do not fit into memory.
        UsageError: training diverged.
    """
    check_memory(4 * train.width * (len(train) + len(validation)))
    standardizer, task = Standardizer.of(train, standardize), Task.of(train)
    training = _Data.of(standardizer.rows(train), weights_of_classes(train.labels, class_weight).astype(np.float32))
    monitored = _Data.of(standardizer.rows(validation))
    layer = _Layer(train.width, task, optimizer, dropout, Draws(seed))
    rate = _LearningRate(learning_rate, reduce_on_plateau)
    history: list[Step] = []
    best: Step | None = None
    with (
        progress.stage("Training the head", epochs, "epochs"),
        threadpool_limits(1),  # the products of a batch are too small to divide
        np.errstate(over="ignore", invalid="ignore", divide="ignore"),  # divergence is reported below
    ):
        for epoch in range(1, epochs + 1):
            step = Step(epoch, *layer.train(training, batch_size, rate.value), *layer.measure(monitored), rate.value)
            history.append(step)
            progress.advance()
            rate.follow(step.val_loss)
            if early_stopping is None or best is None or step.val_loss < best.val_loss:
                best, parameters = step, layer.parameters.copy()
            elif epoch - best.step >= early_stopping:
                break
        head = standardizer.fold(parameters[:-1], parameters[-1])
    if not (np.isfinite(head.weights).all() and np.isfinite(head.bias).all()):
        raise UsageError(
            "config.training_diverged",
            f"Training diverged: the head's weights are no longer finite. Received train.learning_rate="
            f"{learning_rate:g}.",
            "Lower it (0.001 is the default), or set head.fit=logistic_regression, which needs none.",
        )
    return Fit("minibatch", head, tuple(history), best or history[-1])


def check_memory(needed: int) -> None:
    """Refuses rows that do not fit into memory: steps take them in random order, which a disk is too slow for.

    Raises:
        ResourceError: fewer bytes are available.
    """
    ram = memory()
    available = min((count for count in (ram.available, ram.limit) if count is not None), default=needed)
    if needed > available:
        raise ResourceError(
            "resource.features_exceed_memory",
            f"head.fit=minibatch holds all features in memory: {format_size(needed)}, and {format_size(available)} are "
            "available.",
            "Set head.fit=logistic_regression, which reads them block by block, or choose fewer of backbone.layers.",
        )


class Draws:
    """All that is random, from three streams of one seed: dropout changes neither the first weights nor the order."""

    def __init__(self, seed: int) -> None:
        streams = np.random.SeedSequence(seed).spawn(3)
        self._weights, self._order, self._dropout = map(np.random.default_rng, streams)

    def weights(self, width: int, units: int) -> "NDArray[np.float32]":
        """Initial weights [D, U] (Glorot & Bengio 2010, uniform, Keras's default)."""
        limit = (6 / (width + units)) ** 0.5
        return self._weights.uniform(-limit, limit, (width, units)).astype(np.float32)

    def order(self, count: int) -> "NDArray[np.int64]":
        """Order of the rows [N] in the next epoch."""
        return self._order.permutation(count)

    def drop(self, features: "NDArray[np.float32]", share: float) -> None:
        """Sets a share of the features [n, D] to 0, and scales the others so that sums stay the same on average."""
        features *= self._dropout.random(features.shape, np.float32) >= share
        features *= 1 / (1 - share)


class _Data(NamedTuple):
    """Rows in memory."""

    features: "NDArray[np.float32]"
    """[N, D], standardised"""
    labels: "NDArray[np.int64]"
    """[N]"""
    weights: "NDArray[np.float32]"
    """[N], of each row's loss"""

    @classmethod
    def of(cls, rows: Rows, class_weight: "NDArray[np.float32] | None" = None) -> "_Data":
        """Reads rows; class weights [L], 1 by default."""
        weights = np.ones(len(rows), np.float32) if class_weight is None else class_weight[rows.labels]
        return cls(np.ascontiguousarray(rows.features()), rows.labels, weights)


class _Layer:
    """The dense layer in training."""

    def __init__(self, width: int, task: Task, optimizer: OptimizerName, dropout: float, draws: Draws) -> None:
        self.parameters = np.zeros((width + 1, task.units), np.float32)
        """Weights [D, U], then biases [U]."""
        self.parameters[:-1] = draws.weights(width, task.units)
        self._gradient = np.empty_like(self.parameters)
        self._optimizer = Optimizer(optimizer, self.parameters.size)
        self._task, self._dropout, self._draws = task, dropout, draws

    def train(self, data: _Data, batch_size: int, learning_rate: float) -> tuple[float, float]:
        """Trains an epoch.

        Returns:
            Mean weighted loss and accuracy of the rows, each when it was trained on.
        """
        count = len(data.labels)
        order = self._draws.order(count)
        batch = np.empty((min(batch_size, count), data.features.shape[1]), np.float32)
        loss, correct = 0.0, 0
        for start in range(0, count, batch_size):
            rows = order[start : start + batch_size]
            features = np.take(data.features, rows, axis=0, out=batch[: len(rows)], mode="clip")
            if self._dropout:
                self._draws.drop(features, self._dropout)
            labels, weights = data.labels[rows], data.weights[rows]
            logits = self._logits(features)
            losses, excess = self._task.cross_entropy(logits[:, None], labels)
            loss += float(losses[:, 0] @ weights)
            correct += int(np.count_nonzero(self._task.predicted(logits) == labels))
            self._step(features, excess[:, 0] * (weights * (1 / len(rows)))[:, None], learning_rate)
        return loss / count, correct / count

    def measure(self, data: _Data) -> tuple[float, float]:
        """Mean loss and accuracy of rows."""
        count = len(data.labels)
        loss, correct = 0.0, 0
        for start in range(0, count, _MEASURED_ROWS):
            part = slice(start, start + _MEASURED_ROWS)
            logits, labels = self._logits(data.features[part]), data.labels[part]
            losses, _ = self._task.cross_entropy(logits[:, None], labels)
            loss += float(losses.sum(dtype=np.float64))
            correct += int(np.count_nonzero(self._task.predicted(logits) == labels))
        return loss / count, correct / count

    def _logits(self, features: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """[n, D] -> [n, U]"""
        logits = features @ self.parameters[:-1]
        logits += self.parameters[-1]
        return logits

    def _step(
        self, features: "NDArray[np.float32]", excess: "NDArray[np.float32]", learning_rate: float
    ) -> None:  # fmt: skip
        """Updates the parameters by a batch [n, D] and the gradient of its mean loss by its logits [n, U]."""
        np.matmul(features.T, excess, out=self._gradient[:-1])
        self._gradient[-1] = excess.sum(axis=0)
        self._optimizer.step(self.parameters.ravel(), self._gradient.ravel(), learning_rate)


class _LearningRate:
    """The learning rate of the next epoch."""

    def __init__(self, initial: float, plateau: Plateau | None) -> None:
        self.value = initial
        self._plateau = plateau
        self._best, self._waited = np.inf, 0

    def follow(self, val_loss: float) -> None:
        """Lowers it where the validation loss has not fallen for long enough; called after each epoch."""
        if self._plateau is None:
            return
        if val_loss + _MIN_DELTA < self._best:
            self._best, self._waited = val_loss, 0
            return
        self._waited += 1
        factor, patience, least = self._plateau
        if self._waited >= patience and self.value > least:
            self.value, self._waited = max(self.value * factor, least), 0
