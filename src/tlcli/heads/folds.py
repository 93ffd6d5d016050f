"""Rows divided for cross-validation: whole units, every class in every part; and a sample where there are very many."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from tlcli.errors import DataError
from tlcli.features.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

Folds = list[tuple["NDArray[np.int64]", "NDArray[np.int64]"]]
"""Row numbers fitted on and held out, of each fold."""

_ROWS, _OUTPUTS = 8192, 80_000
"""Rows that the strength is chosen on at most, and rows times classes. The loss is a sum, so the best strength does not
grow with the rows; and with as many as these it decides little."""


def sampled(rows: Rows, classes: int, folds: int, seed: int) -> "NDArray[np.int64]":
    """Numbers of all rows where they are few, else of whole units drawn evenly from every class."""
    limit = min(_ROWS, max(_OUTPUTS // classes, 4 * folds * classes))
    if len(rows) <= limit:
        return np.arange(len(rows))
    units, first, unit = np.unique(rows.units, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(units))
    label, size = rows.labels[first][order], np.bincount(unit)[order]  # [units], a unit is of its first row's class
    chosen = np.zeros(len(units), bool)
    for number in range(classes):
        share = limit * np.mean(rows.labels == number)
        members = np.flatnonzero(label == number)
        enough = np.cumsum(size[members]) <= share
        enough[: 2 * folds] = True  # rare classes keep what the folds need
        chosen[order[members[enough]]] = True
    found = np.flatnonzero(chosen[unit])
    if len(found) > 2 * limit:  # few units of many rows: some of each must do
        found = np.sort(np.random.default_rng(seed).choice(found, limit, replace=False))
    return found


def folds_of(rows: Rows, folds: int, seed: int) -> "Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]":
    """Row numbers fitted and held out; units stay whole, classes are spread evenly."""
    units, unit = np.unique(rows.units, return_inverse=True)
    holds = np.unique(np.stack([rows.labels, unit]), axis=1)  # [2, pairs]: which class is in which unit
    count = min(folds, int(np.bincount(holds[0]).min()))
    if count < 2:
        raise DataError("A class has one different image (or group) for training; cross-validation needs at least 2.")
    if holds.shape[1] > len(units):  # groups that hold several classes
        yield from _group_folds(rows, unit, count, seed)
        return
    labels = holds[0][np.argsort(holds[1])]  # [units]
    for fitted, held in StratifiedKFold(count, shuffle=True, random_state=seed).split(units, labels):
        yield np.flatnonzero(np.isin(unit, fitted)), np.flatnonzero(np.isin(unit, held))


def _group_folds(
    rows: Rows, unit: "NDArray[np.int64]", count: int, seed: int
) -> Folds:  # fmt: skip
    """Like :func:`folds_of`, less the folds that hold out every group of a class: nothing fitted could tell it."""
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    classes = len(np.unique(rows.labels))
    splits = splitter.split(rows.labels, rows.labels, unit)
    usable = [(fitted, held) for fitted, held in splits if len(np.unique(rows.labels[fitted])) == classes]
    if not usable:
        raise DataError("The groups cannot be divided so that every class is on both sides; use smaller groups.")
    return usable
