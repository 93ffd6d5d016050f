import numpy as np
import pytest
from sklearn import metrics
from tests.evaluation.test_objectives import predictions

from tlcli.evaluation.labelled_predictions import Predictions
from tlcli.evaluation.operating_curve import operating_curves


def predicted(classes: int, seed: int = 0, answers: "np.ndarray | None" = None, n: int = 400) -> Predictions:
    labels, probabilities = predictions(classes, n, seed)
    return Predictions((), labels, probabilities, answers)


def test_the_curve_of_two_classes_is_scikit_learns_of_the_second() -> None:
    found = predicted(2, n=250)
    (curve,) = operating_curves({"test": found})
    positive = found.truth == 1
    scores = found.probabilities[:, 1]
    precision, recall, _ = metrics.precision_recall_curve(positive, scores)
    assert (curve.number, curve.source) == (1, "test")
    assert curve.average_precision == pytest.approx(metrics.average_precision_score(positive, scores))
    assert curve.precisions == pytest.approx(precision[:-1][::-1])
    assert curve.recalls == pytest.approx(recall[:-1][::-1])
    assert curve.share == pytest.approx(positive.mean())
    assert curve.answers == curve.most_probable
    assert curve.answers.recall == pytest.approx(metrics.recall_score(positive, scores > 0.5))
    assert curve.answers.precision == pytest.approx(metrics.precision_score(positive, scores > 0.5))


def test_the_point_of_the_answers_is_that_of_the_thresholds() -> None:
    found = predicted(2)
    answers = (found.probabilities[:, 1] > 0.2).astype(np.int64)
    (curve,) = operating_curves({"test": predicted(2, answers=answers)})
    assert curve.answers.recall == pytest.approx(answers[found.truth == 1].mean())
    assert curve.answers.recall > curve.most_probable.recall
    (never,) = operating_curves({"test": predicted(2, answers=np.zeros(400, np.int64))})
    assert (never.answers.recall, never.answers.precision) == (0, None)


def test_of_more_classes_the_two_hardest_of_the_first_images_are_shown() -> None:
    test, other = predicted(5), predicted(5, seed=1)
    average = [metrics.average_precision_score(test.truth == one, test.probabilities[:, one]) for one in range(5)]
    hardest = np.argsort(average)[:2].tolist()
    found = operating_curves({"test": test, "out_of_fold": other})
    assert [curve.number for curve in found] == [hardest[0]] * 2 + [hardest[1]] * 2
    assert [curve.source for curve in found] == ["test", "out_of_fold"] * 2


def test_without_images_of_a_class_or_any_there_is_no_curve() -> None:
    nothing = Predictions((), np.zeros(0, np.int64), np.zeros((0, 2)))
    only = Predictions((), np.zeros(5, np.int64), np.full((5, 2), 0.5))
    assert operating_curves({"test": nothing, "out_of_fold": None}) == ()
    assert operating_curves({"test": only}) == ()


def test_the_curve_of_many_images_has_few_points() -> None:
    random = np.random.default_rng(0)
    positive = random.random(5000)
    found = Predictions((), (positive > random.random(5000)).astype(int), np.stack([1 - positive, positive], axis=1))
    (curve,) = operating_curves({"out_of_fold": found})
    assert len(curve.recalls) == 300
    assert curve.recalls[-1] == 1
