import numpy as np
import pytest
from numpy.typing import NDArray

from tlcli.features.rows import BLOCK_ROWS, Rows
from tlcli.heads.head import Head
from tlcli.heads.standardize import Standardizer

RANDOM = np.random.default_rng(7)
FEATURES = RANDOM.normal(3, 2, (20, 5)).astype(np.float32)


def rows_of(features: NDArray[np.float32]) -> Rows:
    return Rows.of(features, np.arange(len(features)) % 2)


def test_standardised_rows_have_mean_0_and_spread_1_unless_they_move_less_than_features_do_on_average() -> None:
    spreads = np.array([0.1, 1, 2, 5, 9])
    many = RANDOM.normal(3, spreads, (3 * BLOCK_ROWS, 5)).astype(np.float32)
    rows = rows_of(many)
    found = Standardizer.of(rows, standardize=True).rows(rows).features().astype(np.float64)
    assert found.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-6)
    own = many.std(axis=0, dtype=np.float64)
    assert found.std(axis=0)[3:] == pytest.approx(np.ones(2), rel=1e-6)
    assert found.std(axis=0)[:3] == pytest.approx(own[:3] / own.mean(), rel=1e-6)


def test_without_standardising_rows_stay_as_they_are() -> None:
    rows = rows_of(FEATURES)
    assert np.array_equal(Standardizer.of(rows, standardize=False).rows(rows).features(), FEATURES)


def test_a_feature_that_never_moves_becomes_0_and_is_not_blown_up() -> None:
    rows = rows_of(np.full((10, 1), 0.1, np.float32))
    standardizer = Standardizer.of(rows, standardize=True)
    assert standardizer.scale.tolist() == [1]
    assert np.abs(standardizer.rows(rows).features()).max() < 1e-7


def test_a_feature_that_moves_in_one_image_of_many_is_not_made_as_loud_as_the_others() -> None:
    features = RANDOM.normal(0, 1, (1000, 5)).astype(np.float32)
    features[:, 0] = 0
    features[7, 0] = 0.1  # deviation 0.003: 32 of them
    rows = rows_of(features)
    found = Standardizer.of(rows, standardize=True).rows(rows).features()
    assert found[7, 0] == pytest.approx(0.1 / 0.8, rel=0.05)
    assert found[:, 1:].std(axis=0) == pytest.approx(np.ones(4), rel=1e-5)


@pytest.mark.parametrize("units", [1, 4])
def test_a_folded_head_on_plain_features_equals_the_fitted_one_on_standardised_features(units: int) -> None:
    rows = rows_of(FEATURES)
    standardizer = Standardizer.of(rows, standardize=True)
    fitted = Head(RANDOM.normal(0, 1, (5, units)).astype(np.float32), RANDOM.normal(0, 1, units).astype(np.float32))
    folded = standardizer.fold(fitted.weights, fitted.bias)
    on_standardised = fitted.probabilities(standardizer.rows(rows).features())
    assert folded.typical == pytest.approx(FEATURES.mean(axis=0), abs=1e-5)
    assert folded.weights.dtype == folded.bias.dtype == np.float32
    assert folded.weights.shape == (5, units)
    assert folded.probabilities(FEATURES) == pytest.approx(on_standardised, abs=1e-5)
