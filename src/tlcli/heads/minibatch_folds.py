"""Mini-batch heads on the folds of a cross-validation.

Shapes: N rows, n held-out rows, D features, L classes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlcli.features.rows import Rows
from tlcli.heads.class_weight import ClassWeight
from tlcli.heads.folds import folds_of
from tlcli.heads.minibatch import Plateau, fit_minibatch
from tlcli.heads.optimizers import OptimizerName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PARTS = 5
"""One of so many parts of the fitted rows is the monitor."""


@dataclass(frozen=True)
class Minibatch:
    """How a mini-batch head is trained, as :func:`~tlcli.heads.minibatch.fit_minibatch` takes it."""

    epochs: int
    batch_size: int
    optimizer: OptimizerName
    learning_rate: float
    reduce_on_plateau: Plateau | None
    early_stopping: int | None
    dropout: float


def held_out_probabilities(
    rows: Rows,
    fold: "tuple[NDArray[np.int64], NDArray[np.int64]]",
    how: Minibatch,
    class_weight: ClassWeight,
    seed: int,
) -> "NDArray[np.float64]":
    """Trains on the fitted rows of a fold, a fifth of which (stratified, whole units) only monitors the loss.

    Args:
        rows: standardised features [N, D], in memory.
        fold: numbers of the rows fitted on, and of those held out, which training never sees.
        how: the settings.
        class_weight: what an image of each class weighs.
        seed: of the training, and of the rows that monitor.

    Returns:
        Probabilities of the held-out rows [n, L].

    Raises:
        DataError: a class has too few units to be divided.
        UsageError: training diverged.
    """
    fitted, held = fold
    kept, monitored = next(iter(folds_of(rows.part(fitted), _PARTS, seed)))
    fit = fit_minibatch(
        rows.take(fitted[kept]), rows.take(fitted[monitored]), epochs=how.epochs, batch_size=how.batch_size,
        optimizer=how.optimizer, learning_rate=how.learning_rate, reduce_on_plateau=how.reduce_on_plateau,
        early_stopping=how.early_stopping, dropout=how.dropout, standardize=False, class_weight=class_weight, seed=seed,
    )  # fmt: skip
    return fit.head.probabilities(rows.read(held))
