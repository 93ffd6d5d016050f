"""Rows turned to fewer features: heads give the same answers."""

import numpy as np
import pytest

from tlcli.features.rows import Rows
from tlcli.heads import fold_fits
from tlcli.heads.logistic_regression import fit_logistic_regression
from tlcli.heads.reduced import reduced
from tlcli.heads.repeated_cross_validation import cross_validate
from tlcli.heads.solver import Axes

WIDTHS = (200, 40, 7)


def drawn(rows: int = 60) -> Rows:
    """Features in three blocks; each says a little of the label."""
    random = np.random.default_rng(0)
    labels = np.arange(rows) % 2
    features = random.normal(3, 1, (rows, sum(WIDTHS))) * random.uniform(0.1, 5, sum(WIDTHS))
    features[:, ::9] += labels[:, None] * 1.5
    return Rows.of(features.astype(np.float32), labels, np.arange(rows) // 2, WIDTHS)


def test_inner_products_of_centred_rows_stay_as_they_are() -> None:
    rows = drawn()
    turned = reduced(rows, [(0, 1, 2), (1,), (2,)], standardize=False)
    assert turned.widths[0] <= 60
    assert turned.widths[2] <= 7
    assert np.array_equal(turned.labels, rows.labels)
    assert np.array_equal(turned.units, rows.units)
    for number, blocks in enumerate([(0, 1, 2), (1,), (2,)]):
        whole, small = rows.of_blocks(blocks).features(), turned.of_blocks((number,)).features()
        whole = whole - whole.mean(axis=0)
        assert small @ small.T == pytest.approx(whole @ whole.T, rel=1e-3, abs=1e-2)


def test_a_head_gives_the_same_answers() -> None:
    rows, Cs = drawn(), (0.001, 0.01, 0.1)
    choices = [(0, 1, 2), (1, 2)]
    plain = fit_logistic_regression(rows, Cs, 5, True, "none", 0, candidates=choices)
    turned = reduced(rows, choices)
    fast = fit_logistic_regression(turned, Cs, 5, False, "none", 0, candidates=[(0,), (1,)])
    assert [one.C for one in fast.candidates] == [one.C for one in plain.candidates]
    assert [choices[one.blocks[0]] for one in fast.candidates] == [one.blocks for one in plain.candidates]
    answers = fast.head.probabilities(turned.features())
    assert answers == pytest.approx(plain.head.probabilities(rows.features()), abs=0.02)


@pytest.mark.parametrize("rows", [60, 600])
def test_axes_of_turned_rows_are_not_computed_again(rows: int) -> None:
    drawn_rows = drawn(rows)
    assert not Axes.of(drawn_rows.features()).are_turned
    turned = reduced(drawn_rows, standardize=False)
    found = Axes.of(turned.features())
    assert found.are_turned
    assert found.variances == pytest.approx(turned.features().var(axis=0), rel=1e-3, abs=1e-3)


def test_cross_validation_without_scales_is_the_same_on_turned_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_fits, "TOLERANCE", 1e-6)
    plain, turned = (
        cross_validate(rows, 0.1, 3, 2, standardize=False) for rows in (drawn(), reduced(drawn(), standardize=False))
    )
    assert turned.probabilities == pytest.approx(plain.probabilities, abs=0.01)
    assert turned.accuracies == pytest.approx(plain.accuracies, abs=0.06)  # an image more or less of 20
