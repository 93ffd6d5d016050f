import numpy as np
import pytest
from sklearn import metrics
from tests.evaluation.test_objectives import predictions

from tlcli.evaluation.objectives import Objective
from tlcli.evaluation.thresholds import Thresholds, choose_thresholds, cross_validated_thresholds, nested_decisions
from tlcli.features.rows import Rows
from tlcli.heads.repeated_cross_validation import cross_validate

OF_ANSWERS = ("accuracy", "balanced_accuracy", "f1_macro")


def skewed(classes: int, n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that prefer the first class far too much."""
    labels, probabilities = predictions(classes, n, seed)
    probabilities = probabilities * np.append(5, np.ones(classes - 1))
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", [*OF_ANSWERS, "recall@precision=0.8"])
def test_the_threshold_of_two_classes_is_the_best_of_all(name: str) -> None:
    labels, probabilities = skewed(2)
    objective = Objective.parse(name)
    values = np.unique(probabilities[:, 1])
    every = np.concatenate([[0], (values[1:] + values[:-1]) / 2, [1]])
    best = max(objective.of_decisions(labels, (probabilities[:, 1] > one).astype(int), 2) for one in every)
    found = choose_thresholds(labels, probabilities, objective)
    assert objective.of_decisions(labels, found.decide(probabilities), 2) == pytest.approx(best, abs=1e-12)
    assert (found.decide(probabilities) == (probabilities[:, 1] > found.of_classes[1])).all()
    assert found.objective == name
    assert sum(found.of_classes) == pytest.approx(1)


def test_the_recall_at_a_precision_is_that_of_scikit_learn() -> None:
    labels, probabilities = skewed(2)
    precision, recall, _ = metrics.precision_recall_curve(labels, probabilities[:, 1])
    answers = choose_thresholds(labels, probabilities, Objective.parse("recall@precision=0.9")).decide(probabilities)
    assert metrics.recall_score(labels, answers) == pytest.approx(recall[precision >= 0.9].max())
    assert metrics.precision_score(labels, answers) >= 0.9


def test_an_unreachable_precision_gives_the_highest() -> None:
    labels, positive = np.array([0, 1, 0, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1])
    probabilities = np.stack([1 - positive, positive], axis=1)
    found = choose_thresholds(labels, probabilities, Objective.parse("recall@precision=0.9"))
    assert found.decide(probabilities).tolist() == [1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("name", OF_ANSWERS)
@pytest.mark.parametrize("classes", [3, 6])
def test_no_threshold_of_one_class_alone_does_better(name: str, classes: int) -> None:
    labels, probabilities = skewed(classes)
    objective = Objective.parse(name)
    found = choose_thresholds(labels, probabilities, objective)

    def score(thresholds: np.ndarray) -> float:
        answers = Thresholds(name, tuple(thresholds)).decide(probabilities)
        return objective.of_decisions(labels, answers, classes)

    reached = score(np.array(found.of_classes))
    assert reached > objective.of_decisions(labels, probabilities.argmax(axis=1), classes) + 0.02
    for number in range(classes):
        for factor in np.geomspace(0.01, 100, 41):
            moved = np.array(found.of_classes)
            moved[number] *= factor
            assert score(moved) <= reached + 2e-3  # the last sweep may leave so little


def test_the_best_are_left_as_they_are() -> None:
    labels = np.array([0, 1, 2, 2, 1, 0])
    for name in OF_ANSWERS:
        found = choose_thresholds(labels, np.eye(3)[labels] * 0.7 + 0.1, Objective.parse(name))
        assert found.of_classes == pytest.approx([1 / 3] * 3)


def test_of_exact_probabilities_the_shares_are_best_for_the_balanced_accuracy() -> None:
    random = np.random.default_rng(5)
    labels = (random.random(20_000) < 0.1).astype(int)
    x = random.normal(size=20_000) + 1.5 * labels
    odds = np.stack([0.9 * np.exp(-(x**2) / 2), 0.1 * np.exp(-((x - 1.5) ** 2) / 2)], axis=1)
    found = choose_thresholds(labels, odds / odds.sum(axis=1, keepdims=True), Objective.parse("balanced_accuracy"))
    assert found.of_classes[1] == pytest.approx(0.1, abs=0.02)


def test_a_class_without_images_keeps_its_threshold_and_is_no_error() -> None:
    labels, probabilities = skewed(3)
    inside = labels < 2
    found = choose_thresholds(labels[inside], probabilities[inside], Objective.parse("f1_macro"))
    assert len(found.of_classes) == 3
    assert min(found.of_classes) > 0


def test_thresholds_of_noise_do_not_flatter_where_they_are_nested() -> None:
    """Chosen on all images they beat the most probable class by chance; chosen on the others they do not."""
    flattered, nested = [], []
    objective = Objective.parse("accuracy")
    for seed in range(40):
        random = np.random.default_rng(seed)
        labels, positive = random.integers(0, 2, 60), random.random(60)
        probabilities = np.stack([1 - positive, positive], axis=1)
        chosen = choose_thresholds(labels, probabilities, objective)
        flattered.append(np.mean(chosen.decide(probabilities) == labels))
        nested.append(np.mean(nested_decisions(labels, probabilities, np.arange(60) % 5, objective) == labels))
    assert np.mean(flattered) > 0.56
    assert np.mean(nested) < 0.52


def rows(n: int = 300, share: int = 8) -> Rows:
    random = np.random.default_rng(1)
    labels = (np.arange(n) % share == 0).astype(np.int64)
    features = random.normal(size=(n, 6)) + 1.2 * np.eye(6)[labels]
    return Rows.of(features.astype(np.float32), labels)


def test_cross_validation_with_thresholds_helps_the_balanced_accuracy_of_unequal_classes() -> None:
    data = rows()
    found = cross_validate(data, 0.3, folds=4, repeats=2, shares=(0.5, 1.0), keep_folds=True)
    assert [len(held) for held in found.folds] == [75] * 8
    assert found.repeat_of.tolist() == [0] * 4 + [1] * 4
    for size, held in enumerate(found.fold_probabilities):  # what is kept is what was measured
        right = held.argmax(axis=1) == data.labels[np.concatenate(found.folds)]
        assert right.reshape(8, 75).mean(axis=1) == pytest.approx(found.accuracies[size])
    objective = Objective.parse("balanced_accuracy")
    nested = cross_validated_thresholds(found, data.labels, found.probabilities, 1.0, objective)
    assert nested.accuracies.shape == (2, 8)
    assert nested.gain.chosen > nested.gain.most_probable + 0.1
    assert nested.gain.gain_ci95[0] > 0
    assert nested.gain.precision is None
    assert objective.of_decisions(data.labels, nested.predicted, 2) == pytest.approx(nested.gain.chosen, abs=0.05)
    assert not cross_validate(data, 0.3, folds=4, repeats=1, shares=(1.0,)).fold_probabilities


def test_of_a_recall_the_gain_states_the_precision_that_new_folds_reach() -> None:
    data = rows()
    found = cross_validate(data, 0.3, repeats=1, shares=(1.0,), keep_folds=True)
    objective = Objective.parse("recall@precision=0.4")
    gain = cross_validated_thresholds(found, data.labels, found.probabilities, 1.0, objective).gain
    assert gain.precision == pytest.approx(0.4, abs=0.1)
    assert gain.chosen > gain.most_probable
