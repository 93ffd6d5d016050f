import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tlcli.evaluation.intervals import corrected_resampled_t
from tlcli.evaluation.learning_curve import LearningCurve, learning_curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZES = np.array([50, 100, 200, 400, 800])


def draws(a: float, b: float, c: float, noise: float, seed: int = 0, count: int = 15) -> "NDArray[np.float64]":
    """Accuracies [S, J] around a power law; a draw's held-out rows move all its sizes alike, and each a little."""
    random = np.random.default_rng(seed)
    apart = random.normal(0, noise, count) + random.normal(0, noise / 2, (len(SIZES), count))
    return np.clip((a - b * SIZES.astype(float) ** -c)[:, None] + apart, 0, 1)


def curve(accuracies: "NDArray[np.float64]", seed: int = 0) -> LearningCurve:
    """With a fifth held out of 1,000."""
    found = learning_curve(SIZES, accuracies, 0.2, 1000, seed)
    assert found is not None
    return found


@pytest.mark.parametrize(("a", "b", "c"), [(0.9, 1.0, 0.5), (0.95, 0.6, 0.3), (1.0, 2.0, 0.8)])
def test_a_power_law_is_found_again(a: float, b: float, c: float) -> None:
    found = curve(draws(a, b, c, 0))
    gain, (low, high) = b * 1000**-c - b * 2000**-c, found.doubling_gain_ci95
    assert found.doubling_gain == pytest.approx(gain, abs=1.5e-3)
    assert low < gain < high < low + 0.01
    for point in found.fitted:
        assert point.accuracy == pytest.approx(a - b * point.n**-c, abs=4e-3)
    assert (found.fitted[0].n, found.fitted[-1].n) == (50, 2000)


@pytest.mark.parametrize("gains", [(0.02, 0.03, 0.04, 0.05), (0.04, 0.04, 0.04, 0.04), (0.08, 0.04, 0.02, 0.01)])
def test_curves_that_bend_either_way_are_within_the_interval(gains: tuple[float, ...]) -> None:
    """Gains of each doubling: growing, as where near duplicates fill the set, equal, or halved."""
    means = np.array([0.6, *(0.6 + np.cumsum(gains))])
    random = np.random.default_rng(0)
    found = curve(means[:, None] + random.normal(0, 0.01, 15) + random.normal(0, 0.01, (5, 15)))
    low, high = found.doubling_gain_ci95
    assert low <= gains[-1] * gains[-1] / gains[-2] <= high


def test_a_flat_curve_gains_nothing_and_an_impossible_one_stays_below_1() -> None:
    flat = curve(draws(0.9, 0, 1, 0.01))
    assert 0 <= flat.doubling_gain < 0.005
    assert flat.doubling_gain_ci95[0] == pytest.approx(0, abs=1e-4)
    falling = curve(draws(0.5, -1.0, 0.5, 0.0))
    assert falling.doubling_gain == 0
    steep = curve(draws(1.0, 1.2, 0.3, 0.02))
    assert all(point.accuracy <= 1 and point.high <= 1 for point in steep.fitted)


def test_all_right_at_every_size_is_no_trouble() -> None:
    found = curve(np.ones((5, 15)))
    assert found.fitted[-1].accuracy == pytest.approx(1, abs=2e-3)
    low, high = found.doubling_gain_ci95
    assert low == pytest.approx(0, abs=1e-4)
    assert high > 2e-4  # 1,000 images without an error do not prove that there is none to gain


def test_two_sizes_are_no_curve() -> None:
    accuracies = draws(0.9, 1, 0.5, 0.01)
    assert learning_curve(SIZES[:2], accuracies[:2], 0.2, 125) is None
    assert learning_curve(SIZES[:3], accuracies[:3], 0.2, 250) is not None


def test_more_noise_makes_the_gain_less_sure() -> None:
    widths = []
    for noise in (0.005, 0.02):
        low, high = curve(draws(0.9, 1.0, 0.5, noise)).doubling_gain_ci95
        widths.append(high - low)
    assert widths[1] > 2 * widths[0] > 0


def test_the_band_of_a_measured_size_is_nadeaus_and_bengios() -> None:
    accuracies = draws(0.9, 1.0, 0.5, 0.02)
    found = curve(accuracies)
    for point, scores in zip(found.measured, accuracies, strict=True):
        assert point.accuracy == pytest.approx(scores.mean())
        assert (point.low, point.high) == pytest.approx(corrected_resampled_t(scores, 0.2), abs=0.004)


def test_it_is_seeded_and_goes_into_json() -> None:
    accuracies = draws(0.9, 1.0, 0.5, 0.02)
    one, same, other = (curve(accuracies, seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    told = json.loads(json.dumps(asdict(one)))
    assert told["measured"][0]["n"] == 50
    assert told["doubling_gain_ci95"] == list(one.doubling_gain_ci95)
