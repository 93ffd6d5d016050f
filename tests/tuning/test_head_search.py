"""Heads scored on nested folds: the same as fitting each alone."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tlcli.backbones.blocks import Block, Blocks
from tlcli.evaluation.objectives import Objective
from tlcli.features.rows import Rows
from tlcli.tuning.head_search import NestedFolds, score_heads
from tlcli.tuning.settings import HeadSetting, all_heads, blocks_of_setting, coarse_heads, input_choices

BLOCKS = Blocks(
    (Block("stage1", "avg", 6), Block("stage1", "max", 6), Block("last", "avg", 10), Block("last", "max", 10))
)


def clouds(count: int = 240, classes: int = 2, seed: int = 0) -> Rows:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    features = random.normal(0, 1, (count, BLOCKS.width)) + 0.6 * random.normal(0, 1, (classes, BLOCKS.width))[labels]
    return Rows.of(features.astype(np.float32), labels, widths=BLOCKS.widths)


def scored(
    rows: Rows, folds: NestedFolds, settings: list[HeadSetting], metric: str = "log_loss"
) -> dict[HeadSetting, np.ndarray]:
    return dict(score_heads(rows, BLOCKS, folds, settings, Objective.parse(metric).score))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_scores_are_those_of_scikit_learn(classes: int, class_weight: str) -> None:
    rows = clouds(classes=classes)
    keep = np.flatnonzero((rows.labels > 0) | (np.arange(len(rows)) % 3 == 0))  # unequal classes
    rows = rows.take(keep)
    folds = NestedFolds.of(rows, 4, 3, 0)
    head = HeadSetting("logistic_regression", ("stage1", "last"), "avg", True, class_weight, 0.1)
    ((_, found),) = scored(rows, folds, [head]).items()
    features = rows.features().astype(np.float64)[:, [*range(6), *range(12, 22)]]
    widths = (6, 10)
    deviations = features.std(axis=0)
    floors = np.repeat([part.mean() for part in np.split(deviations, [6])], widths)
    features = (features - features.mean(axis=0)) / np.maximum(deviations, floors)
    expected = []
    for fitted, held in folds.all:
        model = LogisticRegression(
            C=0.1, tol=1e-8, max_iter=10_000, class_weight=None if class_weight == "none" else "balanced"
        )
        model.fit(features[fitted], rows.labels[fitted])
        own = model.predict_proba(features[held])[np.arange(len(held)), rows.labels[held]]
        expected.append(np.log(own).mean())
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_every_head_of_a_group_is_scored_until_the_penalty_is_clearly_too_weak() -> None:
    rows = clouds(120)
    heads = [
        HeadSetting("logistic_regression", ("last",), "avg_max", True, "none", C)
        for C in (1e-3, 1e-2, 0.1, 1, 10, 100, 1000)
    ]
    found = scored(rows, NestedFolds.of(rows, 5, 0, 0), heads)
    best = max(found, key=lambda head: found[head].mean())
    assert best.C < 10
    assert 2 < len(found) < len(heads)
    assert [head.C for head in found] == sorted(head.C for head in found)


def test_all_kinds_are_scored_and_equal_searches_have_equal_scores() -> None:
    rows = clouds(100)
    folds = NestedFolds.of(rows, 3, 2, 0)
    settings = all_heads(BLOCKS)
    assert {one.kind for one in settings} == {"logistic_regression", "kernel"}
    assert len(set(settings)) == len(settings)
    groups = [one for one in settings if one.C in (0.1, 10.0)]
    first, second = scored(rows, folds, groups, "accuracy"), scored(rows, folds, groups, "accuracy")
    assert first.keys() == second.keys()
    assert {one.group for one in first} == {one.group for one in groups}
    for head, values in first.items():
        assert values.shape == (len(folds.all),)
        np.testing.assert_array_equal(values, second[head])


def test_weights_of_the_config_stand_behind_their_name() -> None:
    rows = clouds(120)
    folds = NestedFolds.of(rows, 3, 0, 0)
    head = HeadSetting("logistic_regression", ("last",), "avg", True, "given", 0.1)
    plain = HeadSetting("logistic_regression", ("last",), "avg", True, "none", 0.1)
    score = Objective.parse("log_loss").score
    ((_, weighted),) = score_heads(rows, BLOCKS, folds, [head], score, 0, {"given": (1.0, 1.0)})
    ((_, other),) = score_heads(rows, BLOCKS, folds, [head], score, 0, {"given": (1.0, 5.0)})
    ((_, expected),) = score_heads(rows, BLOCKS, folds, [plain], score)
    np.testing.assert_array_equal(weighted, expected)
    assert not np.array_equal(other, expected)


def test_blocks_of_a_head() -> None:
    head = HeadSetting("logistic_regression", ("stage1", "last"), "max", True, "none", 1.0)
    assert blocks_of_setting(head, BLOCKS) == (1, 3)
    assert {one.layers for one in coarse_heads(BLOCKS)} == {("stage1", "last"), ("stage1",), ("last",)}
    tokens = Blocks((Block("last", "cls", 8), Block("last", "mean_tokens", 8)))
    assert {one.pooling for one in all_heads(tokens)} == {"avg_max", "cls", "mean_tokens"}
    assert {one.layers for one in all_heads(tokens)} == {("last",)}


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        ((300, 300), [((224, 224), "crop"), ((224, 224), "squash"), ((288, 288), "crop"), ((288, 288), "squash")]),
        ((250, 250), [((224, 224), "crop"), ((224, 224), "squash")]),  # hardly more pixels
        ((3000, 3000), [((224, 224), "crop"), ((224, 224), "squash"), ((448, 448), "crop"), ((448, 448), "squash")]),
    ],
)  # fmt: skip
def test_inputs_are_as_large_as_the_images_give_reason_for(
    native: tuple[float, float], expected: list[tuple[tuple[int, int], str]]
) -> None:
    assert input_choices((224, 224), native, 0.875, True, None) == expected
    assert {size for size, _ in input_choices((224, 224), native, 0.875, False, None)} == {(224, 224)}


def test_long_images_are_tried_in_their_own_shape() -> None:
    found = input_choices((224, 224), (200, 800), 0.875, True, "pad")
    assert found[0] == ((224, 224), "pad")
    assert ((96, 448), "squash") in found or ((128, 448), "squash") in found
