import numpy as np
import pytest
from sklearn import metrics

from tlcli.errors import UsageError
from tlcli.evaluation.objectives import Objective

NAMES = ("accuracy", "balanced_accuracy", "log_loss", "roc_auc", "f1_macro", "recall@precision=0.7")


def predictions(classes: int, n: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unequal classes, probabilities with ties, mostly right."""
    random = np.random.default_rng(seed)
    labels = np.minimum(random.geometric(0.5, n) - 1, classes - 1)
    logits = random.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    odds = np.exp(logits).round(1) + 0.1
    return labels, odds / odds.sum(axis=1, keepdims=True)


def of_scikit_learn(name: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    predicted = probabilities.argmax(axis=1)
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    if name == "accuracy":
        return float(metrics.accuracy_score(labels, predicted))
    if name == "balanced_accuracy":
        return float(metrics.balanced_accuracy_score(labels, predicted))
    if name == "log_loss":
        return -float(metrics.log_loss(labels, probabilities))
    if name == "f1_macro":
        return float(metrics.f1_score(labels, predicted, average="macro"))
    if name == "roc_auc":
        return float(np.mean([metrics.roc_auc_score(labels == one, probabilities[:, one]) for one in classes]))
    found = []
    for one in classes:
        precision, recall, _ = metrics.precision_recall_curve(labels == one, probabilities[:, one])
        found.append(recall[precision >= 0.7].max())
    return float(np.mean(found))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_scores_are_those_of_scikit_learn(name: str, classes: int) -> None:
    labels, probabilities = predictions(classes)
    assert len(np.unique(labels)) == classes
    found = Objective.parse(name).score(labels, probabilities)
    assert found == pytest.approx(of_scikit_learn(name, labels, probabilities), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_text_of_an_objective_names_it(name: str) -> None:
    found = Objective.parse(name)
    assert str(found) == name
    assert Objective.parse(str(found)) == found
    assert found.sign == (-1 if name == "log_loss" else 1)
    assert found.is_of_decisions == (name not in ("log_loss", "roc_auc"))


@pytest.mark.parametrize(
    "text",
    ["", "f1", "Accuracy", "recall", "recall@precision", "recall@precision=", "recall@precision=0",
     "recall@precision=1.01", "recall@precision=90%", "recall@precision=-0.5", "precision@recall=0.9", "nan"],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as error:
        Objective.parse(text)
    assert error.value.code == "usage.unknown_objective"


def test_an_unreachable_precision_has_recall_0() -> None:
    labels, probabilities = np.array([0, 1, 0, 1]), np.full((4, 2), 0.5)
    assert Objective.parse("recall@precision=0.6").score(labels, probabilities) == 0
    assert Objective.parse("recall@precision=0.5").score(labels, probabilities) == 1


def test_classes_without_images_are_left_out_of_means() -> None:
    labels, probabilities = np.array([0, 1]), np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])
    assert [Objective.parse(name).score(labels, probabilities) for name in NAMES if name != "log_loss"] == [1] * 5
    assert np.isnan(Objective.parse("roc_auc").score(np.zeros(3, int), np.full((3, 2), 0.5)))


def test_the_recall_of_decisions_counts_only_with_the_precision() -> None:
    labels, predicted = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 0, 1, 0])
    assert Objective.parse("recall@precision=0.6").of_decisions(labels, predicted, 2) == pytest.approx(2 / 3)
    assert Objective.parse("recall@precision=0.7").of_decisions(labels, predicted, 2) == 0
