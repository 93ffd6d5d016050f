"""Division into folds."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from tlcli.features.rows import Rows
from tlcli.heads.folds import folds_of


@pytest.mark.parametrize(("rows", "classes", "folds"), [(40, 2, 5), (97, 3, 5), (61, 7, 3), (30, 2, 10)])
def test_folds_are_those_of_scikit_learn(rows: int, classes: int, folds: int) -> None:
    random = np.random.default_rng(rows)
    labels = random.permutation(np.arange(rows) % classes)
    units = random.permutation(rows) * 3  # each row is its own, in another order than the rows are in
    in_order = labels[np.argsort(units)]
    for seed in range(5):
        found = list(folds_of(Rows.of(np.zeros((rows, 1), np.float32), labels, units), folds, seed))
        expected = StratifiedKFold(min(folds, rows // classes), shuffle=True, random_state=seed)
        for (fitted, held), (_, units_held) in zip(found, expected.split(in_order, in_order), strict=True):
            assert np.array_equal(np.sort(units[held]), np.sort(units)[units_held])
            assert np.array_equal(np.union1d(fitted, held), np.arange(rows))
