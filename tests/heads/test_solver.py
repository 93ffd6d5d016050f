"""The solver against scikit-learn's: the problem is convex, so the solutions are equal."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tlcli.features.rows import BLOCK_ROWS, Rows
from tlcli.heads.solver import Axes, Problems, Solution, solve
from tlcli.heads.task import Task

TIGHT = 1e-6


def clouds(n: int, width: int, classes: int, seed: int = 0) -> Rows:
    """Correlated features of very different variance, classes that overlap."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    mixed = random.normal(0, 1, (n, width)) @ (random.normal(0, 1, (width, width)) / np.sqrt(np.arange(1, width + 1)))
    features = mixed + 2.0 * random.normal(0, 1, (classes, width))[labels]
    return Rows.of((features / features.std(axis=0)).astype(np.float32), labels)


def everything(rows: Rows, penalties: list[float], weights: "NDArray[np.float32] | None" = None) -> Problems:
    column = np.ones(len(rows), np.float32) if weights is None else weights
    return Problems(
        row_weights=lambda place: np.repeat(column[place, None], len(penalties), axis=1),
        total_weights=np.full(len(penalties), column.sum(dtype=np.float64)),
        penalties=np.array(penalties),
        scales=np.ones((rows.width, len(penalties)), np.float32),
    )


def reference(rows: Rows, penalty: float, weights: "NDArray[np.float32] | None" = None) -> LogisticRegression:
    model = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=100_000)
    return model.fit(rows.features().astype(np.float64), rows.labels, weights)


def difference(solution: Solution, place: int, rows: Rows, model: LogisticRegression) -> float:
    """Largest difference of logits beside the largest logit; those of a softmax may have a common number added."""
    ours = solution.logits(rows.features())[:, place].astype(np.float64)
    theirs = model.decision_function(rows.features().astype(np.float64)).reshape(ours.shape)
    if ours.shape[1] > 1:
        ours, theirs = ours - ours.mean(axis=1, keepdims=True), theirs - theirs.mean(axis=1, keepdims=True)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("n", "width"), [(40, 120), (120, 120), (600, 30)], ids=["N < D", "N = D", "N >> D"])
def test_the_answer_is_scikit_learns_for_every_penalty_at_once(n: int, width: int, classes: int) -> None:
    rows = clouds(n, width, classes)
    penalties = [100.0, 10.0, 1.0]
    found = solve(rows, Axes.of(rows.features()), everything(rows, penalties), Task.of(rows), TIGHT)
    for place, penalty in enumerate(penalties):
        assert difference(found, place, rows, reference(rows, penalty)) < 0.005


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("n", "width"), [(40, 120), (120, 120), (600, 30)], ids=["N < D", "N = D", "N >> D"])
def test_turned_rows_have_the_same_logits(n: int, width: int, classes: int) -> None:
    rows = clouds(n, width, classes)
    features, axes = Axes.turned(rows.features())
    assert features.shape[1] <= min(n, width)
    turned = Rows.of(features, rows.labels)
    penalties = [100.0, 10.0, 1.0]
    found = solve(turned, axes, everything(turned, penalties), Task.of(rows), TIGHT)
    for place, penalty in enumerate(penalties):
        model, ours = reference(rows, penalty), found.logits(features)[:, place].astype(np.float64)
        theirs = model.decision_function(rows.features().astype(np.float64)).reshape(ours.shape)
        if classes > 2:
            ours, theirs = ours - ours.mean(axis=1, keepdims=True), theirs - theirs.mean(axis=1, keepdims=True)
        assert np.abs(ours - theirs).max() / np.abs(theirs).max() < 0.005


def test_the_axes_of_few_rows_lead_to_the_same_answer() -> None:
    rows = clouds(400, 60, 2)
    few = Axes.of(rows.take(np.arange(20)).features())
    found = solve(rows, few, everything(rows, [5.0]), Task.of(rows), TIGHT)
    assert difference(found, 0, rows, reference(rows, 5.0)) < 0.005


def test_rows_of_weight_0_are_ignored_and_others_count_by_their_weight() -> None:
    rows = clouds(300, 20, 2)
    weights = np.random.default_rng(1).choice([0.0, 0.5, 3.0], 300).astype(np.float32)
    found = solve(rows, Axes.of(rows.features()), everything(rows, [2.0], weights), Task.of(rows), TIGHT)
    assert difference(found, 0, rows, reference(rows, 2.0, weights)) < 0.005


def test_each_problem_divides_the_features_by_its_own_scale() -> None:
    rows = clouds(300, 20, 2)
    spread = np.linspace(0.5, 2.0, 20).astype(np.float32)[:, None]
    problems = everything(rows, [2.0])
    problems = Problems(problems.row_weights, problems.total_weights, problems.penalties, spread)
    divided = Rows.of(rows.features() / spread[:, 0], rows.labels)
    found = solve(rows, Axes.of(rows.features()), problems, Task.of(rows), TIGHT)
    theirs = reference(divided, 2.0).decision_function(divided.features().astype(np.float64))
    assert np.abs(found.logits(rows.features())[:, 0, 0] - theirs).max() < 0.005 * np.abs(theirs).max()


def test_where_it_starts_changes_how_long_it_takes_and_not_the_answer() -> None:
    rows = clouds(300, 40, 3)
    axes, problems = Axes.of(rows.features()), everything(rows, [3.0])
    passes = [0, 0]

    def counted(number: int, start: Solution | None) -> Solution:
        def read(places: "NDArray[np.int64]") -> "NDArray[np.float32]":
            passes[number] += 1
            return rows.read(places)

        return solve(Rows(rows.labels, rows.units, rows.widths, read), axes, problems, Task.of(rows), 1e-4, start)

    cold = counted(0, None)
    warm = counted(1, cold)
    assert passes[1] <= 3 < passes[0]
    assert np.abs(cold.logits(rows.features()) - warm.logits(rows.features())).max() < 0.01


def test_rows_read_block_by_block_give_bit_for_bit_what_rows_in_memory_give() -> None:
    rows = clouds(BLOCK_ROWS + 300, 12, 3)
    features = rows.features()
    streamed = Rows(rows.labels, rows.units, rows.widths, lambda places: features[places[::-1]][::-1].copy())
    axes, problems = Axes.of(features[:500]), everything(rows, [10.0])
    one, other = (solve(each, axes, problems, Task.of(rows), 1e-4) for each in (rows, streamed))
    assert one.weights.tobytes() == other.weights.tobytes()
    assert one.bias.tobytes() == other.bias.tobytes()


@pytest.mark.parametrize("shape", [(5, 40), (40, 5)])
def test_axes_are_orthonormal_and_hold_all_the_variance(shape: tuple[int, int]) -> None:
    features = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    axes = Axes.of(features)
    assert axes.directions.shape == (shape[1], 5)
    assert axes.directions.T @ axes.directions == pytest.approx(np.eye(5), abs=1e-5)
    assert axes.variances.sum() == pytest.approx((features**2).sum() / shape[0], rel=1e-5)
