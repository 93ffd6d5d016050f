import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.heads.keras_reference import CASES, COLUMNS, RECORDED, keras_history, rows_of, settings_of

from tlcli.errors import UsageError
from tlcli.features.rows import Rows
from tlcli.heads.fit_record import Fit
from tlcli.heads.minibatch import Plateau, fit_minibatch
from tlcli.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLAIN: dict[str, Any] = {
    "epochs": 30,
    "batch_size": 32,
    "optimizer": "adam",
    "learning_rate": 0.03,
    "dropout": 0.0,
    "standardize": True,
    "class_weight": "none",
    "reduce_on_plateau": None,
    "early_stopping": None,
    "seed": 4,
}


def toy(n: int = 120, classes: int = 2, distance: float = 5.0, seed: int = 3) -> Rows:
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    features = random.normal(0, 1, (n, 8)) + distance * np.eye(8)[labels] + 5
    return Rows.of(features.astype(np.float32), labels.astype(np.int64), np.arange(n, dtype=np.int64))


def noise(seed: int) -> Rows:
    """Labels that features tell nothing of: the validation loss rises with training."""
    random = np.random.default_rng(seed)
    return Rows.of(random.normal(0, 1, (64, 8)).astype(np.float32), random.integers(0, 2, 64), np.arange(64))


def fit(classes: int = 2, distance: float = 5.0, **settings: Any) -> Fit:
    return trained(toy(classes=classes, distance=distance), toy(60, classes, distance, 9), **settings)


def trained(train: Rows, validation: Rows, **settings: Any) -> Fit:
    return fit_minibatch(train, validation, **{**PLAIN, **settings})


def digest(fitted: Fit) -> str:
    return hashlib.sha256(fitted.head.weights.tobytes() + fitted.head.bias.tobytes()).hexdigest()


def accuracy(fitted: Fit, rows: Rows) -> float:
    return float((fitted.head.probabilities(rows.features()).argmax(axis=1) == rows.labels).mean())


def assert_equal_history(fitted: Fit, expected: dict[str, list[float]]) -> None:
    for name in COLUMNS:
        assert [getattr(step, name) for step in fitted.history] == pytest.approx(expected[name], abs=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_history_is_the_one_recorded_of_keras(case: str) -> None:
    expected = json.loads(RECORDED.read_text())[case]
    assert_equal_history(fit_minibatch(*rows_of(case), **settings_of(case)), expected)


@pytest.mark.slow  # TensorFlow's start
@pytest.mark.parametrize("case", CASES)
def test_the_history_is_that_of_keras_with_the_same_batches(case: str) -> None:
    train, validation = rows_of(case)
    expected = keras_history(train, validation, settings_of(case))
    assert_equal_history(fit_minibatch(train, validation, **settings_of(case)), expected)


@pytest.mark.parametrize(("classes", "units"), [(2, 1), (3, 3)])
def test_separable_classes_are_classified_correctly(classes: int, units: int) -> None:
    fitted = fit(classes)
    assert fitted.head.weights.shape == (8, units)
    assert fitted.head.bias.shape == (units,)
    assert accuracy(fitted, toy(classes=classes, seed=77)) > 0.98


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
def test_every_optimizer_lowers_the_loss(optimizer: str) -> None:
    steps = fit(optimizer=optimizer, epochs=4).history
    assert steps[-1].val_loss < steps[0].val_loss


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_last_line_of_history_is_what_the_head_gives_on_plain_features(classes: int, standardize: bool) -> None:
    fitted = fit(classes, 2.0, standardize=standardize, epochs=6)
    validation = toy(60, classes, 2.0, 9)
    of_truth = fitted.head.probabilities(validation.features())[np.arange(60), validation.labels]
    last = fitted.history[-1]
    assert fitted.best == last
    assert (last.step, fitted.kind) == (6, "minibatch")
    assert last.val_loss == pytest.approx(-np.log(of_truth).mean(), rel=1e-4)
    assert last.val_accuracy == pytest.approx(accuracy(fitted, validation), abs=1e-6)


def test_the_history_has_a_line_an_epoch_with_every_column() -> None:
    advanced: list[int] = []

    class Counting(Progress):
        def advance(self, steps: int = 1) -> None:
            advanced.append(steps)

    steps = trained(toy(), toy(60, seed=9), epochs=3, progress=Counting()).history
    assert [step.step for step in steps] == [1, 2, 3]
    for step in steps:
        assert min(step.loss, step.val_loss) > 0
        assert 0 <= min(step.accuracy, step.val_accuracy) <= max(step.accuracy, step.val_accuracy) <= 1
        assert step.learning_rate == pytest.approx(0.03)
        assert step.C is None
    assert advanced == [1, 1, 1]


def test_the_learning_rate_falls_where_the_validation_loss_does_not_and_stops_at_its_floor() -> None:
    training, validation = noise(1), noise(2)
    plateau = Plateau(0.5, 2, 0.02)
    steps = trained(training, validation, epochs=20, learning_rate=0.1, reduce_on_plateau=plateau).history
    rates = [step.learning_rate or 0 for step in steps]
    # The rate of an epoch is set by the losses of the epochs before: halved after two without a lower one.
    expected, best, waited, rate = [], np.inf, 0, 0.1
    for step in steps:
        expected.append(rate)
        waited = 0 if step.val_loss < best - 1e-4 else waited + 1
        best = min(best, step.val_loss) if waited == 0 else best
        if waited == 2:
            rate, waited = max(rate * 0.5, 0.02), 0
    assert rates == pytest.approx(expected)
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.02)


def test_early_stopping_ends_training_and_keeps_the_weights_of_the_best_epoch() -> None:
    training, validation = noise(1), noise(2)
    stopped = trained(training, validation, epochs=40, early_stopping=3)
    losses = [step.val_loss for step in stopped.history]
    assert stopped.best == stopped.history[losses.index(min(losses))]
    assert len(losses) == stopped.best.step + 3 < 40
    of_truth = stopped.head.probabilities(validation.features())[np.arange(64), validation.labels]
    assert -np.log(of_truth).mean() == pytest.approx(min(losses), rel=1e-4)


def test_early_stopping_that_never_fires_still_keeps_the_best_epoch() -> None:
    training, validation = noise(1), noise(2)
    full = trained(training, validation, epochs=12, early_stopping=12)
    losses = [step.val_loss for step in full.history]
    assert len(losses) == 12
    assert full.best.step == losses.index(min(losses)) + 1 < 12
    of_truth = full.head.probabilities(validation.features())[np.arange(64), validation.labels]
    assert -np.log(of_truth).mean() == pytest.approx(min(losses), rel=1e-4)


def test_dropout_acts_in_training_and_not_in_validation() -> None:
    fitted = fit(distance=3.0, dropout=0.8, epochs=15)
    assert fitted.history[-1].loss > 1.5 * fitted.history[-1].val_loss
    assert fitted.head.trainable_parameters == 9


def test_balanced_class_weights_raise_the_probability_of_the_rare_class() -> None:
    random = np.random.default_rng(8)
    labels = (np.arange(200) % 10 == 0).astype(np.int64)  # one in ten is of class 1
    rows = Rows.of((random.normal(0, 1, (200, 8)) + np.eye(8)[labels]).astype(np.float32), labels, np.arange(200))
    plain = trained(rows, rows).head.probabilities(rows.features())[:, 1]
    balanced = trained(rows, rows, class_weight="balanced")
    weighted = balanced.head.probabilities(rows.features())[:, 1]
    assert digest(trained(rows, rows, class_weight=(200 / 360, 200 / 40))) == digest(balanced)
    assert plain.mean() == pytest.approx(0.1, abs=0.03)
    assert (weighted[labels == 1].mean() + weighted[labels == 0].mean()) / 2 == pytest.approx(0.5, abs=0.05)


def test_features_on_a_hostile_scale_are_learned_when_standardised() -> None:
    rows = toy(distance=5.0)
    scale, shift = np.float32(1e-4), np.float32(3.0)
    squeezed = Rows.of(rows.features() * scale + shift, rows.labels, rows.units)
    fitted = trained(squeezed, squeezed)
    assert accuracy(fitted, squeezed) > 0.98
    assert np.abs(fitted.head.weights).max() > 1000  # the scale is folded into the weights


def test_rows_are_read_once_whatever_their_order_in_memory_is() -> None:
    train, validation = toy(), toy(60, seed=9)
    reads: list[int] = []

    def read(numbers: "NDArray[np.int64]") -> "NDArray[np.float32]":
        reads.append(len(numbers))
        return np.asfortranarray(train.read(numbers))

    elsewhere = replace(train, read=read)
    assert digest(trained(elsewhere, validation, standardize=False)) == digest(
        trained(train, validation, standardize=False)
    )
    assert reads == [120]


def test_features_are_left_as_they_are() -> None:
    train, validation = toy(), toy(60, seed=9)
    before = train.features()
    trained(train, validation, dropout=0.5)
    assert np.array_equal(train.features(), before)


@pytest.mark.parametrize("size", [1, 120, 1000])
def test_batches_of_any_size(size: int) -> None:
    steps = trained(toy(), toy(60, seed=9), batch_size=size, epochs=4).history
    assert steps[-1].val_loss < steps[0].val_loss


def test_an_interruption_ends_training_at_once() -> None:
    class Interrupting(Progress):
        def advance(self, steps: int = 1) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(progress=Interrupting())


SETTINGS: dict[int, dict[str, Any]] = {
    2: {"epochs": 5, "dropout": 0.3, "reduce_on_plateau": Plateau(0.5, 1, 1e-5), "early_stopping": 4},
    3: {"epochs": 5, "optimizer": "sgd", "class_weight": "balanced"},
}


@pytest.mark.parametrize("classes", [2, 3])
def test_equal_seeds_give_bit_equal_heads_and_histories(classes: int) -> None:
    one, other = (fit(classes, 2.0, **SETTINGS[classes]) for _ in range(2))
    assert digest(one) == digest(other)
    assert one.history == other.history


def test_another_seed_gives_another_head() -> None:
    assert digest(fit(2, 2.0, **SETTINGS[2])) != digest(fit(2, 2.0, **SETTINGS[2], seed=5))


def test_equal_seeds_give_bit_equal_heads_in_another_process_with_another_number_of_threads() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "tests.heads.test_minibatch"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == [digest(fit(classes, 2.0, **settings)) for classes, settings in SETTINGS.items()]


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "learning_rate": 3e38},
        {"optimizer": "adam", "learning_rate": 1e300},
        {"optimizer": "rmsprop", "learning_rate": 3e38, "classes": 3, "early_stopping": None},
        {"optimizer": "adamw", "learning_rate": 1e300, "reduce_on_plateau": Plateau(0.5, 1, 0.0)},
    ],
)
def test_divergence_is_reported(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        fit(**{"epochs": 3, "standardize": False, **settings})
    assert error.value.code == "config.training_diverged"


if __name__ == "__main__":  # the other process
    for number, how in SETTINGS.items():
        sys.stdout.write(f"{digest(fit(number, 2.0, **how))}\n")
