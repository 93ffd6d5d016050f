"""The record of a fit: its kind, its history, and the head. Importing this does not import NumPy.

Shapes: n training rows that were held out, L classes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.heads.head import Head

FitKind = Literal["logistic_regression", "kernel", "minibatch", "finetune"]
WITH_FOLDS: tuple[FitKind, ...] = ("logistic_regression", "kernel")
"""Kinds whose C is chosen by cross-validation, which is then repeated with the head itself."""


@dataclass(frozen=True)
class Step:
    """One line of the history: an epoch, or a value of C that was tried."""

    step: int
    """Counted from 1."""
    loss: float
    """Log loss on the rows fitted on."""
    accuracy: float
    val_loss: float
    """Log loss on the validation rows, or on the held-out folds."""
    val_accuracy: float
    learning_rate: float | None = None
    """Of an epoch."""
    C: float | None = None
    """Of logistic regression: inverse regularisation strength, as in scikit-learn."""


@dataclass(frozen=True)
class HeldOut:
    """Predictions of cross-validation within the fit for training rows that were held out: a basis for calibration."""

    rows: "NDArray[np.int64]"
    """[n], numbers of the rows: all of them, or a sample where there are very many"""
    labels: "NDArray[np.int64]"
    """[n]"""
    probabilities: "NDArray[np.float64]"
    """[n, L]"""


@dataclass(frozen=True)
class Candidate:
    """Blocks of the features that the fit was tried with."""

    blocks: tuple[int, ...]
    """Their numbers."""
    C: float
    """The best for them."""
    loss: float
    """Log loss on the held-out folds, at this C."""
    accuracy: float


@dataclass(frozen=True)
class Fit:
    """A head and how it was fitted."""

    kind: FitKind
    head: "Head"
    history: tuple[Step, ...]
    best: Step
    """The step whose weights the head has."""
    held_out: HeldOut | None = None
    """At the best C; None of a mini-batch fit, which has no folds."""
    candidates: tuple[Candidate, ...] = ()
    """Of logistic regression: the choices of blocks that were tried, the best first. The head has weights of 0 for
    blocks that it does not use."""
