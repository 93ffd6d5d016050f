from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tlcli.errors import DataError
from tlcli.features.rows import Rows
from tlcli.heads import kernel
from tlcli.heads.expansion import Expansion, rbf_kernel
from tlcli.heads.fit_record import Fit
from tlcli.heads.kernel import fit_kernel
from tlcli.heads.logistic_regression import fit_logistic_regression
from tlcli.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray


def rings(count: int, seed: int = 0) -> "tuple[NDArray[np.float32], NDArray[np.int64]]":
    """Two classes that no plane separates: points near to the origin, and around them."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 2
    directions = random.normal(size=(count, 6))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radius = np.where(labels == 1, 3.0, 1.0) + random.normal(0, 0.3, count)
    return (directions * radius[:, None]).astype(np.float32), labels


def fit(count: int = 200, landmarks: int = 100, rows: Rows | None = None) -> Fit:
    return fit_kernel(rows or Rows.of(*rings(count)), landmarks, 5, True, "none", 0)


def test_it_separates_what_no_plane_does() -> None:
    features, labels = rings(300, seed=1)
    linear = fit_logistic_regression(Rows.of(*rings(200)), [0.1, 1.0], 5, True, "none", 0).head
    found = fit()
    assert np.mean(linear.probabilities(features).argmax(axis=1) == labels) < 0.7
    assert np.mean(found.head.probabilities(features).argmax(axis=1) == labels) > 0.95
    assert found.kind == "kernel"
    assert found.held_out is not None
    assert np.mean(found.held_out.probabilities.argmax(axis=1) == found.held_out.labels) > 0.95


def test_equal_rows_give_equal_heads() -> None:
    one, other = fit(), fit()
    assert np.array_equal(one.head.weights, other.head.weights)
    assert one.head.expansion is not None
    assert other.head.expansion is not None
    assert np.array_equal(one.head.expansion.landmarks, other.head.expansion.landmarks)


def test_landmarks_are_a_stratified_sample_and_all_rows_where_they_are_few() -> None:
    features, labels = rings(200)
    labels = np.where(np.arange(200) < 20, 1, 0)  # a tenth is of class 1
    found = fit(landmarks=50, rows=Rows.of(features, labels)).head.expansion
    assert found is not None
    assert found.landmarks.shape == (50, 6)
    standardised = ((features - found.mean) / found.scale).astype(np.float16)
    chosen = [int(np.flatnonzero((standardised == one).all(axis=1))[0]) for one in found.landmarks]
    assert (labels[chosen] == 1).sum() == 5
    everything = fit(60, 1000).head.expansion
    assert everything is not None
    assert len(everything.landmarks) == 60


def test_with_all_rows_as_landmarks_products_are_the_kernel() -> None:
    """Nystroem's features are then exact: their products are the kernel's values."""
    found = fit(60, 60).head.expansion
    assert found is not None
    features, _ = rings(60)
    expanded = found.apply(features)
    scaled = ((features - found.mean) / found.scale).astype(np.float16).astype(np.float32)
    assert expanded @ expanded.T == pytest.approx(rbf_kernel(scaled, scaled, found.gamma), abs=2e-3)


def test_the_kernel_is_one_of_equal_rows_and_falls_with_the_distance() -> None:
    rows = np.array([[0, 0], [3, 4]], np.float32)
    assert rbf_kernel(rows, rows, 0.1) == pytest.approx(np.array([[1, np.exp(-2.5)], [np.exp(-2.5), 1]]), abs=1e-6)


def test_rows_are_expanded_block_by_block() -> None:
    found = fit().head.expansion
    assert found is not None
    features, labels = rings(5000)
    expanded = found.rows(Rows.of(features, labels))
    assert expanded.width == found.width
    # Products of blocks of other heights round differently on some processors, and small eigenvalues multiply that.
    assert expanded.features() == pytest.approx(found.apply(features), abs=2e-4)


def test_repeated_landmarks_give_fewer_features() -> None:
    random = np.random.default_rng(0)
    features = np.repeat(random.normal(size=(20, 6)), 3, axis=0).astype(np.float32)
    found = fit(rows=Rows.of(features, np.arange(60, dtype=np.int64) % 2, np.repeat(np.arange(20), 3)), landmarks=60)
    assert isinstance(found.head.expansion, Expansion)
    assert found.head.expansion.width == 20


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "MOST_ROWS", 199)
    with pytest.raises(DataError) as caught:
        fit()
    assert caught.value.code == "data.too_many_images_for_kernel"


def test_the_head_is_fitted_once_with_the_best_gamma() -> None:
    stages = []

    class Stages(Progress):
        @contextmanager
        def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[None]:
            stages.append(title)
            yield

    rows = Rows.of(*rings(200))
    found = fit_kernel(rows, 100, 5, True, "none", 0, Stages())
    assert (stages.count("Choosing C"), stages.count("Fitting the head")) == (len(kernel.GAMMAS), 1)
    each = [
        fit_logistic_regression(expansion.rows(rows), kernel._CS, 5, False, "none", 0)
        for _, expansion in kernel.expansions(rows, 100, 5, True, 0)
    ]
    best = min(each, key=lambda one: one.best.val_loss)
    assert found.best == best.best
    assert np.array_equal(found.head.weights, best.head.weights)
