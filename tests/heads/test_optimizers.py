import numpy as np
import pytest

from tlcli.heads.optimizers import Optimizer, OptimizerName


def moved(name: OptimizerName, gradients: list[float], rate: float = 0.1, size: int = 1) -> float:
    """Where a parameter is that was at 1, after steps with these gradients."""
    parameters, optimizer = np.ones(size, np.float32), Optimizer(name, size)
    for gradient in gradients:
        optimizer.step(parameters, np.full(size, gradient, np.float32), rate)
    assert np.ptp(parameters) == 0
    return float(parameters[0])


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("sgd", 1 - 0.1 * 2),
        ("adam", 1 - 0.1),  # the first step is the rate, whatever the gradient is
        ("adamw", 1 - 0.1 * 0.004 - 0.1),
        ("rmsprop", 1 - 0.1 / 0.1**0.5),
    ],
)
def test_the_first_step(name: OptimizerName, after: float) -> None:
    assert moved(name, [2.0]) == pytest.approx(after, rel=1e-5)


def test_adam_follows_its_definition() -> None:
    gradients = list(np.random.default_rng(1).normal(0, 1, 20))
    at, mean, square = 1.0, 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        at -= 0.1 * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)) ** 0.5 + 1e-7)
    assert moved("adam", gradients) == pytest.approx(at, rel=1e-4)


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "sgd"])
def test_all_of_many_parameters_are_updated_alike(name: OptimizerName) -> None:
    assert moved(name, [1.0, -0.5, 3.0], size=70_000) == moved(name, [1.0, -0.5, 3.0])
