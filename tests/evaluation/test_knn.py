"""The k-nearest-neighbours classifier, against scikit-learn and against counting by hand."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from tlcli.evaluation import knn as module
from tlcli.evaluation.knn import NEIGHBOURS, NearestNeighbours
from tlcli.features import rows as features_rows
from tlcli.features.rows import Rows


def clouds(n: int, classes: int = 3, noise: float = 1.5, seed: int = 0) -> Rows:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    features = random.normal(0, noise, (n, 8)) + 3 * np.eye(8)[labels]
    return Rows.of(features.astype(np.float32), labels.astype(np.int64))


def with_k(k: int, monkeypatch: pytest.MonkeyPatch, rows: Rows) -> NearestNeighbours:
    """With k given."""
    monkeypatch.setattr(module, "NEIGHBOURS", (k,))
    return NearestNeighbours(rows, 0)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_predictions_are_those_of_scikit_learn(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, unseen = clouds(200, classes=2), clouds(100, classes=2, seed=1)  # no ties with odd k and two classes
    model = KNeighborsClassifier(k, metric="cosine").fit(fitted.features(), fitted.labels)
    expected = model.predict(unseen.features())
    assert np.array_equal(with_k(k, monkeypatch, fitted).predict(unseen), expected)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, unseen = clouds(300), clouds(150, seed=1)
    whole = NearestNeighbours(fitted, 0)
    monkeypatch.setattr(features_rows, "BLOCK_ROWS", 7)
    parts = NearestNeighbours(fitted, 0)
    assert parts.k == whole.k
    assert np.array_equal(parts.predict(unseen), whole.predict(unseen))


def test_lengths_of_features_do_not_matter() -> None:
    fitted, unseen = clouds(100), clouds(50, seed=1)
    longer = Rows.of(unseen.features() * np.linspace(0.1, 9, 50, dtype=np.float32)[:, np.newaxis], unseen.labels)
    found = NearestNeighbours(fitted, 0)
    assert np.array_equal(found.predict(unseen), found.predict(longer))


def test_at_a_tie_the_nearest_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    angles = np.radians([0, 10, 20, 30])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = with_k(4, monkeypatch, Rows.of(np.tile(features, (2, 1)), np.array([1, 0, 0, 1] * 2)))
    assert found.predict(Rows.of(features[:1], np.array([0]))).tolist() == [1]
    assert found.predict(Rows.of(features[1:2], np.array([0]))).tolist() == [0]


def test_more_votes_outweigh_nearness(monkeypatch: pytest.MonkeyPatch) -> None:
    angles = np.radians([0, 10, 11, 12, 80, 85])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = with_k(5, monkeypatch, Rows.of(features, np.array([0, 1, 1, 1, 0, 0])))
    assert found.predict(Rows.of(features[:1], np.array([0]))).tolist() == [1]


def test_k_has_the_highest_leave_one_out_accuracy() -> None:
    rows = clouds(60, classes=2, noise=3.0)
    features = rows.features() / np.linalg.norm(rows.features(), axis=1, keepdims=True)
    right = []
    for k in NEIGHBOURS:
        model = KNeighborsClassifier(k, metric="cosine")
        said = [
            model.fit(np.delete(features, i, 0), np.delete(rows.labels, i)).predict(features[i : i + 1])[0]
            for i in range(60)
        ]
        right.append(int(np.count_nonzero(np.array(said) == rows.labels)))
    assert NearestNeighbours(rows, 0).k == NEIGHBOURS[right.index(max(right))]


def test_copies_of_one_unit_do_not_vote_for_each_other() -> None:
    once = clouds(200, classes=2, noise=3.0)  # where many neighbours do better than one
    features, labels = np.tile(once.features(), (2, 1)), np.tile(once.labels, 2)
    doubled, alone = Rows.of(features, labels, np.tile(np.arange(200), 2)), Rows.of(features, labels)
    assert NearestNeighbours(alone, 0).k == 1  # the copy says it
    assert NearestNeighbours(doubled, 0).k > 1


def test_very_many_rows_are_a_random_part_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 50)
    monkeypatch.setattr(module, "_MOST_TRIED", 20)
    rows, unseen = clouds(500, noise=0.3), clouds(50, noise=0.3, seed=1)
    found = NearestNeighbours(rows, 0)
    assert found.rows == 50
    assert np.array_equal(found.predict(unseen), unseen.labels)
    assert np.array_equal(NearestNeighbours(rows, 0).predict(unseen), found.predict(unseen))


def test_few_rows_features_of_zeros_and_nothing_to_classify() -> None:
    two = Rows.of(np.eye(2, dtype=np.float32), np.array([0, 1]))
    assert NearestNeighbours(two, 0).predict(two).tolist() == [0, 1]
    zeros = Rows.of(np.zeros((1, 2), np.float32), np.array([0]))
    assert NearestNeighbours(two, 0).predict(zeros).shape == (1,)
    assert NearestNeighbours(two, 0).predict(two.part(np.arange(0))).shape == (0,)
    assert np.array_equal(two.features(), np.eye(2))  # as they were
