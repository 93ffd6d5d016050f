"""Few rows of many features, turned so that they have no more features than there are rows.

A head with an L2 penalty knows features by their inner products alone, so that on the turned rows it gives the same
answers, in a fraction of the time.
Shapes: N rows, D features, R <= min(N, D) axes.
"""

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from tlcli.features.rows import Rows
from tlcli.heads.solver import Axes
from tlcli.heads.standardize import Standardizer


def reduced(rows: Rows, choices: Sequence[tuple[int, ...]] = (), standardize: bool = True) -> Rows:
    """The rows with one block for each choice of their blocks: its features, standardised over all rows and turned to
    their principal axes.

    The rows of a fold alone are then not standardised again; what that changes is below what a fold's chance does.

    Args:
        rows: N rows of D features; they are read into memory.
        choices: numbers of blocks; by default all blocks are the only choice.
        standardize: as in :func:`~tlcli.heads.logistic_regression.fit_logistic_regression`; else only the mean of each
            feature is subtracted, which changes nothing but the intercept.
    """
    turned = []
    with threadpool_limits(1):  # as in all fits of a head: the same sums on every machine
        standardizer = Standardizer.of(rows, standardize)
        whole = rows.with_features(standardizer.apply(rows.features()))
        for numbers in choices or [tuple(range(len(rows.widths)))]:
            features = whole.of_blocks(numbers).features()
            features -= features.mean(axis=0)
            turned.append(features @ Axes.of(features).directions)
    widths = tuple(one.shape[1] for one in turned)
    return Rows.of(np.concatenate(turned, axis=1), rows.labels, rows.units, widths)
