import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight

from tlcli.features.rows import Rows
from tlcli.heads.class_weight import ClassWeight, weights_of, weights_of_classes
from tlcli.heads.kernel import fit_kernel
from tlcli.heads.logistic_regression import fit_logistic_regression
from tlcli.heads.repeated_cross_validation import cross_validate


def unequal(n: int = 300, classes: int = 2) -> Rows:
    """Overlapping clouds; the last class has a tenth of the rows."""
    random = np.random.default_rng(8)
    labels = np.where(np.arange(n) % 10 == 0, classes - 1, np.arange(n) % (classes - 1))
    features = random.normal(size=(n, classes + 4)) + np.eye(classes + 4)[labels]
    return Rows.of(features.astype(np.float32), labels.astype(np.int64))


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = unequal().labels
    expected = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    assert weights_of_classes(labels, "balanced") == pytest.approx(expected)
    assert (weights_of(labels, "none") == 1).all()
    assert set(weights_of(labels, (1.0, 3.0))[labels == 1]) == {3}


@pytest.mark.parametrize("classes", [2, 3])
def test_weights_of_classes_are_those_of_scikit_learn(classes: int) -> None:
    rows, weights = unequal(classes=classes), (1.0, 0.5, 4.0)[-classes:]
    fit = fit_logistic_regression(rows, (0.3,), 3, False, weights, 0)
    model = LogisticRegression(C=0.3, class_weight=dict(enumerate(weights)), tol=1e-8, max_iter=1000)
    model.fit(rows.features().astype(np.float64), rows.labels)
    expected = model.predict_proba(rows.features().astype(np.float64))
    assert fit.head.predict(rows) == pytest.approx(expected, abs=0.01)


def test_all_weights_doubled_are_a_c_twice_as_large() -> None:
    rows = unequal()
    double, plain = (
        fit_logistic_regression(rows, (C,), 3, True, weight, 0).head.predict(rows)
        for C, weight in ((0.1, (2.0, 2.0)), (0.2, "none"))
    )
    assert double == pytest.approx(plain, abs=0.01)


def rare_share(head: str, weight: ClassWeight) -> float:
    """Mean probability of the rare class."""
    rows = unequal()
    if head == "kernel":
        probabilities = fit_kernel(rows, 40, 3, True, weight, 0).head.predict(rows)
    elif head == "cross-validation":
        probabilities = cross_validate(rows, 1.0, repeats=1, class_weight=weight).probabilities
    elif head == "many units":
        many = Rows.of(np.tile(rows.features(), (4, 1)), np.append(np.tile(rows.labels, 3), np.arange(300) % 120))
        weights = weight if isinstance(weight, str) else (*weight, *[1.0] * 118)
        probabilities = fit_logistic_regression(many, (1.0,), 2, True, weights, 0).head.predict(many)
    else:
        probabilities = fit_logistic_regression(rows, (1.0,), 3, True, weight, 0).head.predict(rows)
    return float(probabilities[:, 1].mean())


@pytest.mark.parametrize("head", ["kernel", "cross-validation", "many units", "logistic regression"])
def test_every_head_weighs_a_class_as_asked(head: str) -> None:
    assert rare_share(head, (1.0, 9.0)) > 1.5 * rare_share(head, "none")
