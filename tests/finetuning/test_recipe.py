"""The schedule of the learning rate."""

import numpy as np
import pytest

from tlcli.finetuning.recipe import Recipe


def test_the_rate_rises_to_its_peak_and_falls_along_a_cosine() -> None:
    recipe, steps = Recipe(warm_up=0.1), 100
    rates = np.array([recipe.rate(1e-3, step, steps) for step in range(steps)])
    assert rates[:10] == pytest.approx(1e-3 * np.arange(1, 11) / 10)
    assert rates[10] == pytest.approx(1e-3)
    assert rates[55] == pytest.approx(0.5e-3)
    assert (np.diff(rates[10:]) < 0).all()
    assert 0 < rates[-1] < 1e-6


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_few_steps_have_a_rate(steps: int) -> None:
    rates = [Recipe().rate(1e-3, step, steps) for step in range(steps)]
    assert rates[0] == 1e-3
    assert min(rates) >= 0
