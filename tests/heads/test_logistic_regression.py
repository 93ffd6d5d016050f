import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from tlcli.errors import DataError
from tlcli.features.rows import Rows
from tlcli.heads import fold_fits, solver
from tlcli.heads.fit_record import Fit
from tlcli.heads.folds import folds_of, sampled
from tlcli.heads.logistic_regression import fit_logistic_regression
from tlcli.heads.standardize import Standardizer
from tlcli.progress import Progress

CS = (0.001, 0.1, 1.0, 10.0, 100.0)


def toy(n: int = 120, classes: int = 2, distance: float = 6.0, noise: float = 1.0, seed: int = 3) -> Rows:
    """Clouds on different axes of an 8-dimensional space: separable at the default distance."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    features = random.normal(0, noise, (n, 8)) + distance * np.eye(8)[labels] + 5
    return Rows.of(features.astype(np.float32), labels.astype(np.int64), np.arange(n, dtype=np.int64))


def fit(rows: Rows, folds: int = 4, standardize: bool = True, class_weight: str = "none", seed: int = 0) -> Fit:
    return fit_logistic_regression(rows, CS, folds, standardize, class_weight, seed)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
def test_separable_classes_are_classified_correctly(classes: int, standardize: bool) -> None:
    fitted = fit(toy(classes=classes), standardize=standardize)
    unseen = toy(classes=classes, seed=99)
    probabilities = fitted.head.probabilities(unseen.features())
    assert probabilities.shape == (120, classes)
    assert (probabilities.argmax(axis=1) == unseen.labels).mean() > 0.99
    assert fitted.head.weights.shape == (8, 1 if classes == 2 else classes)


def test_history_has_a_line_for_each_c_in_ascending_order_and_the_best_is_chosen() -> None:
    fitted = fit(toy())
    assert [step.step for step in fitted.history] == [1, 2, 3, 4, 5]
    assert [step.C for step in fitted.history] == sorted(CS)
    assert all(step.learning_rate is None for step in fitted.history)
    losses = [step.val_loss for step in fitted.history]
    assert fitted.best == fitted.history[losses.index(min(losses))]
    assert fitted.kind == "logistic_regression"


def test_noise_gets_the_smallest_c_and_separable_classes_a_large_one() -> None:
    assert fit(toy(n=60, distance=0.0)).best.C == 0.001
    assert (fit(toy()).best.C or 0) > 0.1


def test_larger_cs_are_not_tried_once_the_loss_is_clearly_rising() -> None:
    tried = fit(toy(n=60, distance=0.0)).history
    assert len(tried) < len(CS)
    losses = np.array([step.val_loss for step in tried])
    assert losses[-1] > losses[:-1].min()


def test_a_fit_that_does_not_converge_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Notes(Progress):
        def note(self, message: str) -> None:
            notes.append(message)

    notes: list[str] = []
    fit_logistic_regression(toy(), CS, 4, True, "none", 0, Notes())
    assert notes == []
    monkeypatch.setattr(solver, "MAX_PASSES", 1)
    fit_logistic_regression(toy(), CS, 4, True, "none", 0, Notes())
    assert len(notes) == 1


def test_a_c_has_the_same_loss_whatever_was_tried_before_it() -> None:
    random, labels = np.random.default_rng(1), np.arange(1000) % 50
    means = random.normal(size=(50, 60))
    wide = Rows.of((means[labels] + random.normal(size=(1000, 60))).astype(np.float32), labels)
    after = fit_logistic_regression(wide, [1 / 3000, 1 / 1000, 1 / 300, 1 / 100], 3, True, "none", 0).history
    for step in after:
        alone = fit_logistic_regression(wide, [step.C or 0], 3, True, "none", 0).history[0]
        assert step.val_loss == pytest.approx(alone.val_loss, rel=5e-3)


def test_a_repeated_c_is_tried_once() -> None:
    tried = fit_logistic_regression(toy(), [1.0, 0.1, 0.1], 4, True, "none", 0).history
    assert [step.C for step in tried] == [0.1, 1]


@pytest.mark.parametrize("variables", [1, 2 * 8 * 3])
def test_many_classes_are_fitted_some_folds_at_once_with_the_same_losses(
    monkeypatch: pytest.MonkeyPatch, variables: int
) -> None:
    rows = toy(classes=3, distance=2.0)
    at_once = fit(rows)
    monkeypatch.setattr(fold_fits, "_VARIABLES", variables)
    apart = fit(rows)
    assert [step.val_loss for step in apart.history] == pytest.approx([s.val_loss for s in at_once.history], rel=5e-3)


def test_the_head_is_the_regularised_optimum_on_all_rows() -> None:
    rows = toy(distance=2.0)
    fitted = fit(rows, standardize=False)
    assert fitted.best.C is not None
    optimum = LogisticRegression(C=fitted.best.C, tol=1e-10, max_iter=10_000).fit(
        rows.features().astype(np.float64), rows.labels
    )
    assert fitted.head.weights == pytest.approx(optimum.coef_.T, abs=2e-3)


def test_the_losses_of_a_c_are_means_over_folds_standardised_by_their_fitted_part() -> None:
    rows = toy(distance=2.0)
    fitted = fit_logistic_regression(rows, [1.0], 3, standardize=True, class_weight="none", seed=5)
    inside, outside, right = [], [], []
    for used, held in folds_of(rows, 3, 5):
        standardizer = Standardizer.of(rows.take(used), standardize=True)
        x, y = (standardizer.apply(rows.read(part)).astype(np.float64) for part in (used, held))
        model = LogisticRegression(C=1.0, tol=1e-8, max_iter=10_000).fit(x, rows.labels[used])
        inside.append(log_loss(rows.labels[used], model.predict_proba(x)))
        outside.append(log_loss(rows.labels[held], model.predict_proba(y)))
        right.append(model.score(y, rows.labels[held]))
    (step,) = fitted.history
    assert step.loss == pytest.approx(np.mean(inside), rel=0.01)
    assert step.val_loss == pytest.approx(np.mean(outside), rel=0.01)
    assert step.val_accuracy == pytest.approx(np.mean(right))


@pytest.mark.parametrize("classes", [2, 3])
def test_equal_seeds_give_bit_equal_heads_and_histories(classes: int) -> None:
    rows = toy(classes=classes, distance=2.0)
    one, other = fit(rows, seed=11), fit(rows, seed=11)
    assert one.head.weights.tobytes() == other.head.weights.tobytes()
    assert one.head.bias.tobytes() == other.head.bias.tobytes()
    assert one.history == other.history


def test_another_seed_divides_the_rows_otherwise() -> None:
    rows = toy(distance=2.0)
    assert fit(rows, seed=1).history != fit(rows, seed=2).history


def test_balanced_weights_move_the_boundary_towards_the_common_class() -> None:
    random = np.random.default_rng(8)
    labels = (np.arange(200) % 10 == 0).astype(np.int64)  # one in ten is of class 1
    features = (random.normal(0, 1, (200, 8)) + 1.5 * np.eye(8)[labels]).astype(np.float32)
    rows = Rows.of(features, labels, np.arange(200))
    plain = fit(rows, class_weight="none").head.probabilities(features)[:, 1]
    balanced = fit(rows, class_weight="balanced").head.probabilities(features)[:, 1]
    # A fit with a free bias gives a mean probability equal to the share of the class, as weighted.
    assert plain.mean() == pytest.approx(0.1, abs=0.01)
    weighted = (balanced[labels == 1].mean() + balanced[labels == 0].mean()) / 2
    assert weighted == pytest.approx(0.5, abs=0.02)


def test_a_class_with_one_unit_is_refused() -> None:
    rows = toy(n=20)
    units = np.where(rows.labels == 1, 1000, rows.units)  # all images of class 1 are copies of one
    with pytest.raises(DataError) as error:
        fit(Rows.of(rows.features(), rows.labels, units))
    assert error.value.code == "data.class_too_small"


def test_the_smallest_class_bounds_the_number_of_folds() -> None:
    rows = toy(n=40)
    kept = np.flatnonzero((rows.labels == 0) | (np.arange(40) < 6))  # three rows of class 1
    few = Rows.of(rows.features()[kept], rows.labels[kept], rows.units[kept])
    assert len(list(folds_of(few, 10, 0))) == 3


@pytest.mark.parametrize("seed", range(5))
def test_units_are_never_divided_and_every_row_is_held_out_once(seed: int) -> None:
    random = np.random.default_rng(seed)
    units = random.integers(0, 30, 100)
    labels = units % 3  # a unit has one class
    rows = Rows.of(random.normal(0, 1, (100, 4)).astype(np.float32), labels, units)
    held_out = []
    for fitted, held in folds_of(rows, 5, seed):
        assert not set(units[fitted]) & set(units[held])
        assert set(labels[fitted]) == {0, 1, 2}
        assert sorted([*fitted, *held]) == list(range(100))
        held_out += list(held)
    assert sorted(held_out) == list(range(100))


def test_groups_that_hold_several_classes_are_never_divided_either() -> None:
    random = np.random.default_rng(0)
    units = np.repeat(np.arange(12), 10)  # twelve patients with ten images of either class each
    labels = random.integers(0, 2, 120)
    features = (random.normal(0, 1, (120, 8)) + 4 * np.eye(8)[labels]).astype(np.float32)
    rows = Rows.of(features, labels, units)
    folds = list(folds_of(rows, 4, 0))
    assert len(folds) == 4
    for fitted, held in folds:
        assert not set(units[fitted]) & set(units[held])
    assert (fit(rows).head.probabilities(features).argmax(axis=1) == labels).mean() > 0.95


@pytest.mark.parametrize(
    ("units", "labels"),
    [
        ([0] * 8, [0, 1] * 4),  # one group holds everything
        ([0, 0, 0, 0, 1, 1, 1, 1, 2, 2], [0, 1, 0, 1, 0, 0, 0, 0, 0, 0]),  # one group holds all of a class
        ([0, 0, 1, 2, 3, 4], [0, 1, 1, 1, 1, 1]),
    ],
)
def test_a_class_that_lies_in_one_group_is_refused(units: list[int], labels: list[int]) -> None:
    random = np.random.default_rng(0)
    rows = Rows.of(random.normal(0, 1, (len(units), 4)).astype(np.float32), np.array(labels), np.array(units))
    with pytest.raises(DataError) as error:
        fit(rows, folds=5)
    assert error.value.code == "data.class_too_small"


def test_a_class_in_two_groups_is_in_every_fitted_part() -> None:
    units = np.repeat(np.arange(10), 6)
    labels = np.where((units < 2) & (np.arange(60) % 2 == 0), 1, 0)  # class 1 in two groups, beside class 0
    random = np.random.default_rng(0)
    features = (random.normal(0, 1, (60, 4)) + 4 * np.eye(4)[labels]).astype(np.float32)
    rows = Rows.of(features, labels, units)
    for fitted, _held in folds_of(rows, 5, 0):
        assert set(labels[fitted]) == {0, 1}
    assert len(fit(rows, folds=5).history) == len(CS)


def test_folds_that_hold_out_every_group_of_a_class_are_skipped() -> None:
    skipped = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        units, labels = random.integers(0, 4, 16), random.integers(0, 3, 16)
        groups = [len(set(units[labels == label])) for label in range(3)]
        if min(groups) < 2 or len({*zip(units, labels, strict=True)}) == len(set(units)):
            continue
        folds = list(folds_of(Rows.of(np.zeros((16, 1), np.float32), labels, units), 5, 0))
        assert all(set(labels[fitted]) == {0, 1, 2} for fitted, _ in folds)
        skipped += min(groups) - len(folds)
    assert skipped > 0


@pytest.mark.parametrize("classes", [2, 3])
def test_the_held_out_probabilities_are_those_of_the_best_c(classes: int) -> None:
    rows = toy(distance=2.0, classes=classes)
    fitted = fit(rows)
    held = fitted.held_out
    assert held is not None
    assert sorted(held.rows) == list(range(120))
    assert (held.labels == rows.labels[held.rows]).all()
    chosen = fitted.best
    assert log_loss(held.labels, held.probabilities) == pytest.approx(chosen.val_loss, rel=1e-4)
    assert (held.probabilities.argmax(axis=1) == held.labels).mean() == pytest.approx(chosen.val_accuracy)


def test_sample_of_few_units_of_many_rows_keeps_the_rare_class() -> None:
    labels = np.repeat([0, 1], [60_000, 4])
    units = np.concatenate([np.arange(60_000) % 8, np.arange(8, 12)])
    rows = Rows(labels, units, (3,), lambda numbers: np.zeros((len(numbers), 3), np.float32))
    for seed in range(20):
        chosen = sampled(rows, 5, seed)
        assert len(chosen) < 10_000
        assert set(units[chosen]) == set(range(12))
