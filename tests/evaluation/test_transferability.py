"""Scores of transferability: against closed forms and dense formulas, and where they are not defined."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, ortho_group
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from tlcli.evaluation import transferability
from tlcli.evaluation.transferability import (
    h_score,
    knn_leave_one_out,
    leep,
    log_me,
    nleep,
    transfer_scores,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPES = [(40, 12), (24, 60), (30, 30), (90, 31)]


def clouds(n: int, width: int, classes: int = 3, distance: float = 1.0, seed: int = 0) -> "tuple[NDArray, NDArray]":  # type: ignore[type-arg]
    """Features [n, width] around the classes' middles, and labels [n]."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(n) % classes)
    return random.normal(size=(n, width)) + distance * random.normal(size=(classes, width))[labels], labels


def dense_evidence(features: "NDArray[np.float64]", target: "NDArray[np.float64]") -> float:
    """max ln N(y; 0, I / beta + F F' / alpha) / N, with the covariance written out."""
    count, gram = len(target), features @ features.T

    def lost(logs: "NDArray[np.float64]") -> float:
        alpha, beta = np.exp(logs)
        covariance = np.eye(count) / beta + gram / alpha
        log_determinant = np.linalg.slogdet(covariance)[1]
        return float(log_determinant + target @ np.linalg.solve(covariance, target) + count * np.log(2 * np.pi)) / 2

    options = {"xatol": 1e-6, "fatol": 1e-9}
    with threadpool_limits(1):  # threads cost more than they bring for matrices as small as these
        tries = [
            minimize(lost, start, method="Nelder-Mead", bounds=[(-25, 25)] * 2, options=options).fun
            for start in ((0.0, 1.0), (6.0, 1.0), (2.0, 8.0))
        ]
    return -float(min(tries)) / count


def test_the_dense_evidence_is_that_of_a_gaussian() -> None:
    """At F = 0 the maximum is known; elsewhere the density is scipy's."""
    target = np.array([1.0, 0, 0, 1])
    assert dense_evidence(np.zeros((4, 2)), target) == pytest.approx(-0.5 * (np.log(np.pi) + 1), abs=1e-8)
    features = np.random.default_rng(0).normal(size=(4, 2))
    some = multivariate_normal.logpdf(target, np.zeros(4), np.eye(4) / 3 + features @ features.T / 2)
    assert dense_evidence(features, target) >= some / 4


@pytest.mark.parametrize(("count", "width"), SHAPES)
@pytest.mark.parametrize("distance", [0.3, 1.0])
def test_log_me_is_the_maximum_of_the_evidence(count: int, width: int, distance: float) -> None:
    features, labels = clouds(count, width, distance=distance)
    expected = np.mean([dense_evidence(features, (labels == label).astype(float)) for label in range(3)])
    assert log_me(features, labels) == pytest.approx(expected, abs=1e-6)


def test_log_me_of_two_classes_is_the_mean_over_both() -> None:
    features, labels = clouds(30, 5, classes=2)
    expected = np.mean([dense_evidence(features, (labels == label).astype(float)) for label in range(2)])
    assert log_me(features, labels) == pytest.approx(expected, abs=1e-6)


def test_log_me_of_features_that_say_nothing_is_that_of_noise() -> None:
    """y' F = 0: the best alpha is infinite, and N(0, I / beta) has its maximum at beta = N / y'y."""
    labels = np.tile([0, 0, 1, 1], 5)
    features = np.tile([1.0, -1.0, 1.0, -1.0], 5)[:, None]
    expected = -0.5 * (np.log(2 * np.pi * 0.5) + 1)
    assert log_me(features, labels) == pytest.approx(expected, abs=1e-9)


def test_log_me_of_orthogonal_features_has_a_closed_form() -> None:
    """F F' = I, N below D: the covariance is any multiple of I."""
    labels = np.array([0, 1, 1, 1])
    features = np.eye(4, 9)
    expected = np.mean([-0.5 * (np.log(2 * np.pi * share) + 1) for share in (1 / 4, 3 / 4)])
    assert log_me(features, labels) == pytest.approx(expected, abs=1e-9)


def test_log_me_is_higher_for_better_features() -> None:
    for width in (10, 200):
        found = [log_me(*clouds(100, width, distance=distance)) for distance in (0.0, 0.5, 2.0)]
        assert found == sorted(found, key=lambda value: value or 0.0)


@pytest.mark.parametrize("score", [log_me, h_score, knn_leave_one_out], ids=lambda score: score.__name__)
@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_rotation_scale_and_the_order_of_rows_change_nothing(
    score: Callable[..., float | None], count: int, width: int
) -> None:
    features, labels = clouds(count, width)
    expected = pytest.approx(score(features, labels), rel=1e-9)
    order = np.random.default_rng(1).permutation(count)
    assert score(features @ ortho_group.rvs(width, random_state=2), labels) == expected
    assert score(1e-200 * features, labels) == expected
    assert score(1e200 * features, labels) == expected
    assert score(features[order], labels[order]) == expected
    assert score(features, 7 - 3 * labels) == expected


@pytest.mark.parametrize("score", [log_me, knn_leave_one_out], ids=lambda score: score.__name__)
@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_features_of_zeros_change_nothing(score: Callable[..., float | None], count: int, width: int) -> None:
    features, labels = clouds(count, width)
    wider = np.hstack([features, np.zeros((count, 50))])
    assert score(wider, labels) == pytest.approx(score(features, labels), rel=1e-9)


def test_nleep_does_not_depend_on_rotation_scale_and_position() -> None:
    features, labels = clouds(120, 8, distance=3)
    expected = pytest.approx(nleep(features, labels, 0), abs=1e-6)
    turned = features @ ortho_group.rvs(8, random_state=2)
    assert nleep(50 * turned + 10, labels, 0) == expected
    assert nleep(np.hstack([features, np.zeros((120, 200))]), labels, 0) == expected


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_h_score_is_the_trace_written_out(count: int, width: int) -> None:
    features, labels = clouds(count, width)
    fitted = LedoitWolf().fit(features)
    middles = np.stack([features[labels == label].mean(axis=0) for label in range(3)])[labels]
    between = np.cov(middles, rowvar=False, bias=True)
    expected = (1 - fitted.shrinkage_) * np.trace(np.linalg.inv(fitted.covariance_) @ between)
    assert h_score(features, labels) == pytest.approx(expected, rel=1e-9)


def test_h_score_of_classes_without_spread_is_their_number_less_one() -> None:
    """Every class is a point: all variance is between them, and the shrinkage of so many rows is next to nothing."""
    labels = np.arange(30_000) % 3
    assert h_score(np.eye(3)[labels][:, :2], labels) == pytest.approx(2, abs=1e-3)
    assert h_score(np.eye(3)[labels][:, :2], np.arange(30_000) // 3 % 3) == pytest.approx(0, abs=1e-3)


def test_h_score_of_one_feature_is_the_share_of_variance_between_classes() -> None:
    features, labels = np.array([[1.0], [3], [5], [7]]), np.array([0, 0, 1, 1])
    assert h_score(features, labels) == pytest.approx(4 / 5)


def test_leep_has_closed_forms() -> None:
    labels = np.array([0, 0, 0, 1])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert leep(np.eye(2)[labels], labels) == 0
    assert leep(np.full((4, 5), 0.2), labels) == pytest.approx(-entropy)
    assert leep(np.eye(7)[[3, 3, 5, 6]], labels) == 0  # classes that never occur change nothing
    assert leep(np.eye(4)[[0, 0, 1, 1]], labels) == pytest.approx(np.log(0.5) / 2)
    soft = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.2, 0.8]])
    second = np.array([2.4 / 2.6, 0.6 / 1.4])  # share of class 0 in each source class
    expected = np.log([*(soft[:3] @ second), soft[3] @ (1 - second)]).mean()
    assert leep(soft, labels) == pytest.approx(expected)


def test_nleep_of_separate_clouds_is_zero_and_of_noise_minus_the_entropy() -> None:
    features, labels = clouds(200, 20, classes=2, distance=8)
    assert nleep(features, labels, 0) == pytest.approx(0, abs=1e-6)
    noise = nleep(*clouds(2000, 20, classes=2, distance=0), 0)
    assert noise == pytest.approx(-np.log(2), abs=0.02)


@pytest.mark.parametrize("k", [1, 5])
def test_nearest_neighbours_are_those_of_scikit_learn(k: int) -> None:
    features, labels = clouds(60, 4, classes=2)
    right = 0
    for one in range(60):
        others = np.arange(60) != one
        model = KNeighborsClassifier(k, metric="cosine").fit(features[others], labels[others])
        right += model.predict(features[[one]])[0] == labels[one]
    assert knn_leave_one_out(features, labels, k) == pytest.approx(right / 60)


def test_nearest_neighbours_are_of_other_groups() -> None:
    """Every image has a copy: alone it is classified by that."""
    features, _ = clouds(40, 6, distance=0)
    labels = np.random.default_rng(3).integers(0, 2, 40)
    pairs, groups = np.repeat(features, 2, axis=0), np.repeat(np.arange(40), 2)
    assert knn_leave_one_out(pairs, np.repeat(labels, 2), 1) == 1
    apart = knn_leave_one_out(pairs, np.repeat(labels, 2), 1, groups)
    assert apart == knn_leave_one_out(features, labels, 1)


@pytest.mark.parametrize("score", [log_me, h_score, lambda x, y: nleep(x, y, 0), knn_leave_one_out])
@pytest.mark.parametrize("case", ["one class", "constant", "zeros", "one row", "infinite", "NaN"])
def test_degenerate_features_have_no_score(score: Callable[..., float | None], case: str) -> None:
    features, labels = clouds(60, 5, classes=2)
    if case == "one class":
        labels = np.zeros(60, int)
    elif case == "one row":
        features, labels = features[:1], labels[:1]
    elif case in ("infinite", "NaN"):
        features[3, 2] = np.inf if case == "infinite" else np.nan
    else:
        features = np.full((60, 5), 0.0 if case == "zeros" else 3.0)
    assert score(features, labels) is None


def test_scores_that_are_not_defined_are_none() -> None:
    features, labels = clouds(49, 5, classes=2)
    assert nleep(features, labels, 0) is None  # 50 rows for 10 Gaussians
    assert nleep(*clouds(50, 5, classes=2), 0) is not None
    assert knn_leave_one_out(features, labels, 3, np.zeros(49, int)) is None
    assert leep(np.full((4, 3), np.nan), np.array([0, 1, 0, 1])) is None
    assert leep(np.full((4, 3), 1 / 3), np.zeros(4, int)) is None
    exact = np.repeat(np.eye(2), 5, axis=0)
    assert log_me(exact, np.repeat([0, 1], 5)) is None  # the evidence has no maximum


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("count", "width"), [(2, 3), (3, 1), (5, 40), (60, 2)])
def test_no_score_is_nan(count: int, width: int, seed: int) -> None:
    """Rectified, rounded and partly equal features, as networks have them."""
    random = np.random.default_rng(seed)
    features = np.maximum(random.normal(size=(count, width)), 0).round(seed % 3).astype(np.float16)
    labels = random.integers(0, 2, count)
    found = transfer_scores(features, labels, random.integers(0, 3, count))
    scores = {name: getattr(found, name) for name in ("log_me", "h_score", "nleep", "leep", "knn")}
    assert all(score is None or np.isfinite(score) for score in scores.values())
    assert set(found.reasons) == {name for name, score in scores.items() if score is None}


def test_mixtures_of_fewer_points_than_gaussians_have_a_score() -> None:
    """Two points, one of each class in nine of ten rows: each Gaussian lies on one of them."""
    points = np.arange(100) % 2
    labels = np.where(np.arange(100) < 10, 1 - points, points)
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert nleep(np.eye(2)[points], labels, 0) == pytest.approx(-entropy)


def test_no_rows_and_no_features_have_no_scores() -> None:
    assert log_me(np.zeros((0, 4)), np.zeros(0, int)) is None
    assert transfer_scores(np.zeros((0, 4)), np.zeros(0, int)).rows == 0
    assert h_score(np.zeros((4, 0)), np.array([0, 1, 0, 1])) is None


def test_all_scores_are_those_of_their_functions() -> None:
    features, labels = clouds(200, 12)
    source = np.random.default_rng(0).dirichlet(np.ones(6), 200)
    groups = np.arange(200) // 2
    found = transfer_scores(features, labels, groups, source, seed=4)
    assert (found.rows, found.reasons) == (200, {})
    assert found.log_me == log_me(features, labels)
    assert found.h_score == h_score(features, labels)
    assert found.nleep == nleep(features, labels, 4)
    assert found.leep == leep(source, labels)
    assert found.knn == knn_leave_one_out(features, labels, 5, groups)
    assert set(transfer_scores(features, labels).reasons) == {"leep"}


def test_copies_are_left_out() -> None:
    """More features than rows, and a row twice: the evidence would rise without limit."""
    features, labels = clouds(60, 80, classes=2)
    twice = np.vstack([features, features[:5]])
    assert log_me(twice, np.concatenate([labels, labels[:5]])) is None
    found = transfer_scores(twice, np.concatenate([labels, labels[:5]]))
    assert (found.rows, found.log_me) == (60, log_me(features, labels))


def test_many_rows_are_sampled_by_class_and_not_by_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transferability, "N_MAX", 40)
    labels = np.repeat([0, 1, 2], [300, 99, 1])
    places = np.arange(400.0)
    seen = []

    def scored(features: "NDArray[np.float64]", given: "NDArray[np.int64]") -> float:
        seen.append((features[:, 0].tolist(), np.bincount(given).tolist()))
        return 0.0

    monkeypatch.setattr(transferability, "_log_me", scored)
    for second in (np.zeros(400), np.random.default_rng(0).normal(size=400)):
        assert transfer_scores(np.stack([places, second], axis=1), labels).rows == 40
    (first, counts), again = seen
    assert (first, counts) == again
    assert counts[2] == 1
    assert counts[0] == pytest.approx(30, abs=1)
