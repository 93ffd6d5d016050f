"""Many output units are solved in coordinates of their own: the problem is convex, so the solution is the same."""

import numpy as np
import pytest
from tests.heads.test_solver import clouds, difference, everything, reference

from tlcli.features.rows import Rows
from tlcli.heads import fold_fits, many_units, repeated_cross_validation
from tlcli.heads.fold_fits import FoldFits
from tlcli.heads.folds import folds_of
from tlcli.heads.logistic_regression import fit_logistic_regression
from tlcli.heads.many_units import PrincipalRows, minimise, solve_many
from tlcli.heads.repeated_cross_validation import cross_validate
from tlcli.heads.solver import Axes, Solution, curvature_of, solve
from tlcli.heads.standardize import Standardizer
from tlcli.heads.task import Task


def rotated(rows: Rows, weights: "np.ndarray | None" = None, scales: "np.ndarray | None" = None) -> PrincipalRows:
    ones = np.ones(len(rows), np.float32) if weights is None else weights
    return PrincipalRows.of(
        rows.features(), rows.labels, ones, np.ones(rows.width, np.float32) if scales is None else scales
    )


@pytest.mark.parametrize("penalty", [10.0, 0.5])
@pytest.mark.parametrize(("n", "width"), [(60, 120), (600, 30)], ids=["N < D", "N >> D"])
def test_the_answer_is_scikit_learns(n: int, width: int, penalty: float) -> None:
    rows = clouds(n, width, 12)
    found = solve_many(rotated(rows), penalty, Task.of(rows), 1e-6, None)
    assert found.converged
    assert difference(found, 0, rows, reference(rows, penalty)) < 0.005


def test_weights_and_scales_count_as_in_the_other_solver() -> None:
    rows = clouds(300, 20, 5)
    weights = np.random.default_rng(1).choice([0.5, 3.0], 300).astype(np.float32)
    spread = np.linspace(0.5, 2.0, 20).astype(np.float32)
    found = solve_many(rotated(rows, weights, spread), 2.0, Task.of(rows), 1e-6, None)
    divided = Rows.of(rows.features() / spread, rows.labels)
    back = Solution(found.weights * spread[:, None, None], found.bias)
    assert difference(back, 0, divided, reference(divided, 2.0, weights)) < 0.005


def test_a_solution_is_where_the_next_search_starts() -> None:
    rows = clouds(300, 20, 5)
    one = solve_many(rotated(rows), 2.0, Task.of(rows), 1e-5, None)
    again = solve_many(rotated(rows), 2.0, Task.of(rows), 1e-4, one)
    assert np.abs(one.weights - again.weights).max() < 1e-5 * np.abs(one.weights).max()


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = clouds(700, 30, 12)
    found = []
    for count in (1, 3):
        monkeypatch.setattr(many_units, "threads", lambda count=count: count)
        found.append(solve_many(rotated(rows), 1.0, Task.of(rows), 1e-4, None).weights.tobytes())
    assert found[0] == found[1]


def test_folds_of_many_units_have_the_solutions_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = clouds(240, 30, 6)
    standardizer = Standardizer.of(rows, standardize=True)
    sample = Rows.of(standardizer.apply(rows.features()), rows.labels, rows.units)
    fits = FoldFits.of(sample, list(folds_of(sample, 3, 0)), standardizer, True, "balanced")
    monkeypatch.setattr(fold_fits, "TOLERANCE", 1e-5)
    plain = fits.solve(0.5)
    monkeypatch.setattr(fold_fits, "MANY_UNITS", 2)
    for one, other in zip(plain, fits.solve(0.5), strict=True):
        assert np.abs(one.logits(sample.features()) - other.logits(sample.features())).max() < 0.02


def test_folds_side_by_side_have_the_same_bits_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = clouds(240, 30, 6)
    standardizer = Standardizer.of(rows, standardize=False)
    monkeypatch.setattr(fold_fits, "MANY_UNITS", 2)
    found = []
    for count in (1, 3):
        monkeypatch.setattr(fold_fits, "threads", lambda count=count: count)
        fits = FoldFits.of(rows, list(folds_of(rows, 3, 0)), standardizer, False, "none")
        found.append([one.weights.tobytes() for one in fits.solve(0.5)])
    assert found[0] == found[1]


def test_a_head_of_many_classes_is_fitted_and_the_same_each_time() -> None:
    rows = clouds(4 * many_units.MANY_UNITS, 64, many_units.MANY_UNITS)
    fits = [fit_logistic_regression(rows, (0.01, 0.1, 1.0), 3, True, "none", 0) for _ in range(2)]
    assert fits[0].head.weights.tobytes() == fits[1].head.weights.tobytes()
    assert fits[0].history == fits[1].history
    assert np.mean(fits[0].head.predict(rows).argmax(axis=1) == rows.labels) > 0.9


def test_the_last_fit_is_the_same_whether_or_not_rows_are_rotated() -> None:
    rows = clouds(400, 30, 6)
    one = solve_many(rotated(rows), 1.0, Task.of(rows), 1e-5, None)
    other = solve(rows, Axes.of(rows.features()), everything(rows, [1.0]), Task.of(rows), 1e-5)
    assert np.abs(one.logits(rows.features()) - other.logits(rows.features())).max() < 0.02


def test_curvature_is_that_of_few_units_up_to_twenty() -> None:
    assert [curvature_of(Task.of_units(units)) for units in (1, 3, 20, 1000)] == [0.05, 0.05, 0.05, 0.001]


def test_a_search_that_does_not_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_units, "MAX_PASSES", 2)
    rows = clouds(300, 20, 5)
    assert not solve_many(rotated(rows), 0.01, Task.of(rows), 1e-7, None).converged


def test_a_parabola_is_minimised() -> None:
    scale = np.linspace(1, 30, 50).astype(np.float32)

    def parabola(at: "np.ndarray") -> "tuple[float, np.ndarray]":
        return float((scale * (at - 1) ** 2).sum(dtype=np.float64)), 2 * scale * (at - 1)

    point, converged = minimise(parabola, np.zeros(50, np.float32), 1e-4)
    assert converged
    assert point == pytest.approx(np.ones(50), abs=1e-4)


def test_repeats_and_sizes_are_reduced_where_the_budget_is_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = many_units.MANY_UNITS
    rows = clouds(12 * classes, 16, classes)
    a_repeat = 3 * 8 * classes * 16.0 * classes  # rows fitted on in three folds x features x classes
    for budget, expected in ((1e12, (2, False)), (2.0 * a_repeat, (1, False)), (1.4 * a_repeat, (1, True))):
        monkeypatch.setattr(repeated_cross_validation, "BUDGET", budget)
        found = cross_validate(rows, 0.01, folds=3, repeats=2, shares=(0.5, 1.0))
        assert (found.repeats, found.reduced_sizes) == expected
        assert found.repeats_requested == 2
        assert found.accuracies.shape == (1 if found.reduced_sizes else 2, 3 * found.repeats)
