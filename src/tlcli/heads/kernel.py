"""Logistic regression on the features of an RBF kernel: a non-linear head.

The width of the kernel and C are chosen together, by the same cross-validation as for a linear head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from tlcli.errors import DataError
from tlcli.features.rows import Rows
from tlcli.heads.class_weight import ClassWeight
from tlcli.heads.expansion import Expansion, rbf_kernel
from tlcli.heads.fit_record import Fit
from tlcli.heads.folds import sampled
from tlcli.heads.logistic_regression import fit_found, search_logistic_regression
from tlcli.heads.standardize import Standardizer
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

GAMMAS = (0.5, 1.0, 2.0)
"""Candidates for gamma, in units of one over the median squared distance of two training images."""
_CS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
MOST_ROWS = 50_000
"""Rows of training, with augmented views, at most: their expanded features are held in memory (400 MB)."""
_FLAT = 1e-6
"""Directions with less than this share of the largest eigenvalue are rounding errors."""
_PAIRS = 500
"""Images that the median distance is measured on, at most."""


def fit_kernel(
    rows: Rows, landmarks: int, folds: int, standardize: bool, class_weight: ClassWeight, seed: int,
    progress: Progress = SILENT,
) -> Fit:  # fmt: skip
    """Chooses gamma and C by cross-validation, then fits on all rows.

    Args:
        rows: training features [N, D]; those of one unit stand in one fold.
        landmarks: M, training rows that the kernel is computed to, a stratified sample; all where they are fewer.
        folds: see :func:`~tlcli.heads.logistic_regression.fit_logistic_regression`.
        standardize: as there.
        class_weight: as there.
        seed: of the folds and of the sample.
        progress: receives the stages.

    Raises:
        DataError: there are more than :data:`MOST_ROWS` rows, or a class has only one unit.
    """
    check_rows(len(rows))
    with progress.stage("Computing the kernel"):
        found = list(expansions(rows, landmarks, folds, standardize, seed))
    tried = (
        (search_logistic_regression(one.rows(rows), _CS, folds, False, class_weight, seed, progress), one)
        for _, one in found
    )
    searched, expansion = min(tried, key=lambda pair: pair[0].val_loss)
    fit = fit_found(expansion.rows(rows), searched, progress)  # expanded again: to keep them would take their memory
    return replace(fit, kind="kernel", head=replace(fit.head, expansion=expansion))


def check_rows(rows: int) -> None:
    """Refuses more rows, training images with their augmented views, than :data:`MOST_ROWS`.

    Raises:
        DataError: there are more.
    """
    if rows > MOST_ROWS:
        raise DataError(
            "data.too_many_images_for_kernel",
            f"head.fit: kernel takes {MOST_ROWS:,} training images, with their augmented views, at most. Received: "
            f"{rows:,}.",
            "Set head.fit: logistic_regression, or fewer augment.views.",
        )


def expansions(
    rows: Rows, landmarks: int, folds: int, standardize: bool, seed: int, gammas: Sequence[float] = GAMMAS
) -> Iterator[tuple[float, Expansion]]:
    """Yields each of ``gammas`` with the kernel's features of this width; see :func:`fit_kernel`."""
    standardizer = Standardizer.of(rows, standardize)
    chosen = standardizer.apply(rows.read(_landmarks(rows, landmarks, folds, seed))).astype(np.float16)
    unit = 1 / _median_distance(chosen.astype(np.float32), seed)
    for gamma in gammas:
        yield gamma, _expansion(standardizer, chosen, gamma * unit)


def _landmarks(rows: Rows, count: int, folds: int, seed: int) -> "NDArray[np.int64]":
    """Numbers of rows, a stratified sample of at most ``count``."""
    numbers = sampled(rows, folds, seed)
    order = np.random.default_rng(seed).permutation(len(numbers))
    labels = rows.labels[numbers][order]
    turn = np.empty(len(numbers))
    for label in np.unique(labels):
        members = labels == label
        turn[members] = (np.arange(members.sum()) + 0.5) / members.sum()
    return np.sort(numbers[order[np.argsort(turn, kind="stable")[:count]]])


def _median_distance(features: "NDArray[np.float32]", seed: int) -> float:
    """The median squared distance of two rows [n, D]."""
    few = features[np.random.default_rng(seed).permutation(len(features))[:_PAIRS]]
    distances = -np.log(np.maximum(rbf_kernel(few, few, 1 / few.shape[1]), np.finfo(np.float32).tiny))
    return float(np.median(distances[np.triu_indices(len(few), 1)]) * few.shape[1]) or 1.0


def _expansion(standardizer: Standardizer, landmarks: "NDArray[np.float16]", gamma: float) -> Expansion:
    exact = landmarks.astype(np.float32)
    values, vectors = eigh(rbf_kernel(exact, exact, gamma).astype(np.float64), check_finite=False)
    kept = values > _FLAT * values[-1]
    transform = (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)
    return Expansion(standardizer.mean, standardizer.scale, landmarks, transform, gamma)
