"""Divides rows into stratified folds that keep units whole; and samples them where there are very many."""

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from tlcli.errors import DataError
from tlcli.features.rows import Rows
from tlcli.heads.task import Task
from tlcli.system.lazy import start_scikit_learn

if TYPE_CHECKING:
    from numpy.typing import NDArray

Folds = list[tuple["NDArray[np.int64]", "NDArray[np.int64]"]]
"""Of each fold the numbers of the rows fitted on, and of those held out."""

_ROWS, _OUTPUTS = 8192, 80_000
"""Limits of the rows that C is chosen on, and of rows times classes. The loss is a sum, so the best C does not depend
on the number of rows; and with as many as these it matters little."""

_DIVISIONS = 8
"""Divisions of groups that are kept: those of the repeats of a cross-validation, and of the choice of C."""


def sampled(rows: Rows, folds: int, seed: int, limit: int | None = None) -> "NDArray[np.int64]":
    """Numbers of all rows where they are few, else of a stratified random sample of whole units.

    Args:
        rows: the rows [N].
        folds: how many the sample will be divided into: each class keeps twice as many units, where it has them.
        seed: of the sample.
        limit: about how many rows; by default as many as C is chosen on.
    """
    classes = Task.of(rows).count
    limit = limit or min(_ROWS, max(_OUTPUTS // classes, 4 * folds * classes))
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
    if len(found) > 2 * limit:  # few units of many rows: sample within them
        _, one_of_each = np.unique(unit[found], return_index=True)  # a rare class may have one row in each unit
        chance = np.random.default_rng(seed).choice(len(found), limit, replace=False)
        found = found[np.union1d(one_of_each, chance)]
    return found


def folds_of(rows: Rows, folds: int, seed: int) -> "Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]":
    """Yields the numbers of the rows fitted on and held out, of each fold; stratified, units stay whole.

    Raises:
        DataError: a class has only one unit, or the groups cannot be divided.
    """
    labels = Task.of(rows).strata(rows.labels)
    units, unit = np.unique(rows.units, return_inverse=True)
    pairs = np.unique(np.stack([labels, unit]), axis=1)  # [2, pairs]: which class is in which unit
    count = min(folds, int(np.bincount(pairs[0]).min()))
    if count < 2:
        raise DataError(
            "data.class_too_small",
            "A class has only one distinct image (or group) for training; cross-validation needs at least 2.",
            "Add images of this class, or leave it out.",
        )
    if pairs.shape[1] > len(units):  # groups that hold several classes
        yield from _group_folds(labels.tobytes(), unit.tobytes(), count, seed)
        return
    strata = pairs[0][np.argsort(pairs[1])]  # [units]
    fold = _stratified(strata, count, seed)[unit]  # [N]
    for number in range(count):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def _stratified(strata: "NDArray[np.int64]", count: int, seed: int) -> "NDArray[np.int64]":
    """The fold that holds out each unit [units], by their strata [units]: those of scikit-learn's StratifiedKFold with
    ``shuffle``, which takes a second to import."""
    random = np.random.RandomState(seed)
    kinds, first, counts = np.unique(strata, return_index=True, return_counts=True)
    order = np.argsort(first)  # strata as they first occur
    ends = np.cumsum(counts[order])
    dealt = np.arange(len(strata)) % count  # folds of the units, were they sorted by stratum
    fold = np.empty(len(strata), np.int64)
    for kind, start, end in zip(kinds[order], ends - counts[order], ends, strict=True):
        members = np.sort(dealt[start:end])
        random.shuffle(members)
        fold[strata == kind] = members
    return fold


@lru_cache(_DIVISIONS)
def _group_folds(labels_bytes: bytes, unit_bytes: bytes, count: int, seed: int) -> Folds:
    """Like :func:`folds_of`, without folds that hold out every group of a class: their heads could not know it.

    Kept, as one division takes as long as a fit, and several heads are fitted on the same: labels and units as bytes.
    """
    start_scikit_learn()
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 - takes 1 s, for these groups alone

    labels, unit = np.frombuffer(labels_bytes, np.int64), np.frombuffer(unit_bytes, np.int64)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    classes = len(np.unique(labels))
    usable = [
        (fitted, held)
        for fitted, held in splitter.split(labels, labels, unit)
        if len(np.unique(labels[fitted])) == classes
    ]
    if not usable:
        raise DataError(
            "data.groups_not_divisible",
            "The groups cannot be divided so that every class is both fitted on and held out.",
            "Use smaller groups.",
        )
    return usable
