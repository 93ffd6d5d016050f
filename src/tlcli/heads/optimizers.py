"""Keras's optimizers with their defaults, in NumPy: what a gradient does to parameters, in place.

Source: Keras 3, keras/src/optimizers (adam.py, adamw.py, rmsprop.py, sgd.py). Arithmetic is float32, as there.
Shapes: S parameters, flat.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

OptimizerName = Literal["adam", "adamw", "rmsprop", "sgd"]

_BETA_1, _BETA_2 = 0.9, 0.999
_RHO = 0.9
_EPSILON = 1e-7
_WEIGHT_DECAY = 0.004
"""Of AdamW, biases included."""
_PART = 1 << 15
"""Parameters updated at once: with their averages they stay in the processor's cache, with many classes too."""


class _Kind(NamedTuple):
    averages: int
    """Running averages that are kept of each parameter."""
    update: "Callable[..., None]"
    """Takes parameters and gradient [s], the learning rate, the number of the step from 1 on, and the averages [s]."""


class Optimizer:
    """Updates parameters step by step, and remembers what it needs of the steps before."""

    def __init__(self, name: OptimizerName, size: int) -> None:
        """Starts at step 0 with S = ``size`` parameters."""
        averages, self._update = _KINDS[name]
        self._averages = np.zeros((averages, size), np.float32)
        self._step = 0

    def step(
        self, parameters: "NDArray[np.float32]", gradient: "NDArray[np.float32]", learning_rate: float
    ) -> None:  # fmt: skip
        """Moves parameters [S] in place, against their gradient [S]."""
        self._step += 1
        for start in range(0, len(parameters), _PART):
            part = slice(start, start + _PART)
            averages = self._averages[:, part]
            self._update(parameters[part], gradient[part], learning_rate, self._step, *averages)


def _sgd(parameters: "NDArray[np.float32]", gradient: "NDArray[np.float32]", rate: float, _step: int) -> None:
    parameters -= gradient * rate


def _adam(
    parameters: "NDArray[np.float32]", gradient: "NDArray[np.float32]", rate: float, step: int,
    mean: "NDArray[np.float32]", square: "NDArray[np.float32]",
) -> None:  # fmt: skip
    # The averages begin at 0, so that they are too small at first; of both corrections Keras makes one of the rate. In
    # float32 1 - 0.999 is wrong by 1e-5, which shows in the history.
    one, count = np.float32(1), np.float32(step)
    corrected = rate * float(np.sqrt(one - np.float32(_BETA_2) ** count) / (one - np.float32(_BETA_1) ** count))
    mean += (gradient - mean) * (1 - _BETA_1)
    square += (gradient * gradient - square) * (1 - _BETA_2)
    parameters -= mean * corrected / (np.sqrt(square) + _EPSILON)


def _adamw(
    parameters: "NDArray[np.float32]", gradient: "NDArray[np.float32]", rate: float, step: int,
    mean: "NDArray[np.float32]", square: "NDArray[np.float32]",
) -> None:  # fmt: skip
    parameters -= parameters * (_WEIGHT_DECAY * rate)
    _adam(parameters, gradient, rate, step, mean, square)


def _rmsprop(
    parameters: "NDArray[np.float32]", gradient: "NDArray[np.float32]", rate: float, _step: int,
    square: "NDArray[np.float32]",
) -> None:  # fmt: skip
    square *= _RHO
    square += gradient * gradient * (1 - _RHO)
    parameters -= gradient * rate / np.sqrt(square + _EPSILON)


_KINDS = {
    "adam": _Kind(2, _adam),
    "adamw": _Kind(2, _adamw),
    "rmsprop": _Kind(1, _rmsprop),
    "sgd": _Kind(0, _sgd),
}
