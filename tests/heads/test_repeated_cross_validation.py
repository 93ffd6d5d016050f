from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tlcli.errors import DataError
from tlcli.features.rows import Rows
from tlcli.heads import folds
from tlcli.heads.folds import folds_of
from tlcli.heads.repeated_cross_validation import SHARES, cross_validate
from tlcli.heads.standardize import Standardizer
from tlcli.progress import Progress


def toy(n: int = 150, classes: int = 2, distance: float = 1.5, units: "np.ndarray | None" = None) -> Rows:
    random = np.random.default_rng(3)
    labels = (np.arange(n) % classes).astype(np.int64)
    features = (random.normal(size=(n, 6)) + distance * np.eye(6)[labels] + 5).astype(np.float32)
    return Rows.of(features, labels, units)


@pytest.mark.parametrize("classes", [2, 3])
def test_out_of_fold_probabilities_are_those_of_scikit_learn(classes: int) -> None:
    rows = toy(classes=classes)
    found = cross_validate(rows, 0.5, folds=3, repeats=2, seed=7, shares=(1.0,))
    expected = np.zeros((150, classes))
    right = []
    for seed in (7, 8):
        for fitted, held in folds_of(rows, 3, seed):
            standard = Standardizer.of(rows.take(fitted), standardize=True)
            x, y = (standard.apply(rows.read(part)).astype(np.float64) for part in (fitted, held))
            model = LogisticRegression(C=0.5, tol=1e-8, max_iter=10_000).fit(x, rows.labels[fitted])
            expected[held] += model.predict_proba(y) / 2
            right.append(model.score(y, rows.labels[held]))
    assert found.probabilities == pytest.approx(expected, abs=0.01)
    assert found.accuracies[-1] == pytest.approx(right, abs=0.021)  # a row of 50 may lie on the boundary
    assert found.accuracies.shape == (1, 6)
    assert (found.sizes, found.rows_used) == ((100,), 150)
    assert found.test_share == pytest.approx(1 / 3)


def test_more_rows_give_more_accuracy_and_the_largest_size_does_not_depend_on_the_others() -> None:
    rows = toy(n=400)
    found = cross_validate(rows, 1 / 3)
    assert found.accuracies.shape == (5, 15)
    assert found.sizes == (20, 40, 80, 160, 320)
    assert found.accuracies.mean(axis=1)[-1] > found.accuracies.mean(axis=1)[0] + 0.02
    alone = cross_validate(rows, 1 / 3, shares=(1.0,))
    assert alone.accuracies[0] == pytest.approx(found.accuracies[-1], abs=0.02)
    assert alone.probabilities == pytest.approx(found.probabilities, abs=0.01)


def test_sizes_with_hardly_a_row_of_each_class_are_left_out() -> None:
    assert cross_validate(toy(n=60), 1 / 3).sizes == (12, 24, 48)
    assert cross_validate(toy(n=60, classes=6), 1 / 3).sizes == (24, 48)


def test_equal_seeds_give_equal_results() -> None:
    one, same, other = (cross_validate(toy(), 1 / 3, seed=seed) for seed in (1, 1, 2))
    assert (one.probabilities == same.probabilities).all()
    assert (one.accuracies == same.accuracies).all()
    assert (one.accuracies != other.accuracies).any()


def test_units_stay_whole_so_copies_do_not_make_it_look_better() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(40, 30)).astype(np.float32)  # noise: nothing to learn but the copies by heart
    labels = random.integers(0, 2, 40)
    units = np.repeat(np.arange(40), 5)
    copied = features[units], labels[units]
    whole = cross_validate(Rows.of(*copied, units), 10.0, shares=(1 / 4, 1.0))
    assert whole.accuracies[-1].mean() < 0.7
    assert cross_validate(Rows.of(*copied), 10.0, shares=(1.0,)).accuracies.mean() > 0.95
    assert [size % 5 for size in whole.sizes] == [0, 0]


def test_balanced_weights_find_the_rare_class_more_often() -> None:
    random = np.random.default_rng(8)
    labels = (np.arange(300) % 10 == 0).astype(np.int64)
    rows = Rows.of((random.normal(size=(300, 6)) + np.eye(6)[labels]).astype(np.float32), labels)
    plain, balanced = (
        cross_validate(rows, 1.0, class_weight=mode, repeats=1).probabilities for mode in ("none", "balanced")
    )
    assert plain[:, 1].mean() == pytest.approx(0.1, abs=0.02)
    assert balanced[:, 1].mean() > 0.3


def test_of_very_many_rows_a_sample_is_divided_and_the_others_are_predicted_by_all_heads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = toy(n=2000)
    everything = cross_validate(rows, 1 / 3, shares=(1.0,))
    monkeypatch.setattr(folds, "_ROWS", 500)
    found = cross_validate(rows, 1 / 3, shares=(1.0,))
    assert found.rows_used == 500
    assert found.probabilities.shape == (2000, 2)
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(2000))
    assert np.abs(found.probabilities - everything.probabilities).mean() < 0.05
    assert found.test_share == pytest.approx(0.2)


def test_rows_that_every_fold_needs_have_no_probabilities() -> None:
    units = np.repeat(np.arange(10), 6)
    labels = np.where((units < 2) & (np.arange(60) % 2 == 0), 1, 0)  # class 1 in two groups, beside class 0
    random = np.random.default_rng(0)
    features = (random.normal(size=(60, 4)) + 4 * np.eye(4)[labels]).astype(np.float32)
    found = cross_validate(Rows.of(features, labels, units), 1.0, repeats=1)
    lacking = np.isnan(found.probabilities).all(axis=1)
    assert set(units[lacking]) <= {0, 1}
    assert found.probabilities[~lacking].sum(axis=1) == pytest.approx(np.ones((~lacking).sum()))


def test_a_class_with_one_unit_is_refused() -> None:
    rows = toy(n=20)
    with pytest.raises(DataError) as error:
        cross_validate(Rows.of(rows.features(), rows.labels, np.where(rows.labels == 1, 1000, rows.units)), 1.0)
    assert error.value.code == "data.class_too_small"


def test_the_shares_double() -> None:
    assert [after / before for before, after in pairwise(SHARES)] == [2, 2, 2, 2]


def test_progress_is_seen_before_all_fits_are_done() -> None:
    steps, totals = [], []

    class Steps(Progress):
        @contextmanager
        def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[None]:
            totals.append(total)
            yield

        def advance(self, count: int = 1) -> None:
            steps.append(count)

    cross_validate(toy(n=400), 1 / 3, progress=Steps())
    assert sum(steps) == max(total for total in totals if total) == 75
    assert max(steps) <= 25
