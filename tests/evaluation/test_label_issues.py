import numpy as np

from tlcli.evaluation.label_issues import find_label_issues


def test_wrong_labels_rank_first() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(3, size=600)
    logits = random.normal(size=(600, 3))
    logits[np.arange(600), truth] += 4
    odds = np.exp(logits)
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    labels = truth.copy()
    flipped = random.permutation(600)[:30]
    labels[flipped] = (labels[flipped] + 1) % 3
    found = find_label_issues(labels, probabilities)
    assert len(set(found.numbers[:60].tolist()) & set(flipped.tolist())) >= 25
    assert 15 <= found.count <= 60
    assert sorted(found.numbers.tolist()) == list(range(600))
    assert found.scores[0] < 0.2
    np.testing.assert_allclose(found.scores, probabilities[found.numbers, labels[found.numbers]])


def test_images_without_probabilities_are_left_out() -> None:
    probabilities = np.tile([[0.9, 0.1], [0.2, 0.8]], (20, 1))
    labels = np.tile([0, 1], 20)
    probabilities[7] = np.nan
    found = find_label_issues(labels, probabilities)
    assert 7 not in found.numbers
    assert len(found.numbers) == 39
    assert found.count == 0
