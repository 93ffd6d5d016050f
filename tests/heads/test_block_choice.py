from typing import TYPE_CHECKING

import numpy as np
import pytest

from tlcli.features.rows import Rows
from tlcli.heads import fold_fits
from tlcli.heads.fit_record import Fit
from tlcli.heads.fold_fits import FoldFits
from tlcli.heads.folds import folds_of
from tlcli.heads.logistic_regression import fit_logistic_regression
from tlcli.heads.standardize import Standardizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTHS = (5, 8, 3)
ALL, FIRST, LAST = (0, 1, 2), (0, 1), (2,)


def rows(telling: int, count: int = 240) -> Rows:
    """Three blocks, of which one tells the classes apart; the others are noise of other sizes."""
    random = np.random.default_rng(telling)
    labels = np.arange(count, dtype=np.int64) % 3
    blocks = [random.normal(0, 10.0**number, (count, width)) for number, width in enumerate(WIDTHS)]
    blocks[telling][:, :3] += 2.5 * 10.0**telling * np.eye(3)[labels]
    return Rows.of(np.concatenate(blocks, axis=1).astype(np.float32), labels, widths=WIDTHS)


def fit(telling: int, candidates: tuple[tuple[int, ...], ...] = (ALL, FIRST, LAST)) -> Fit:
    return fit_logistic_regression(rows(telling), [1e-3, 1e-2, 1e-1], 5, True, "none", 0, candidates=candidates)


def columns(blocks: tuple[int, ...]) -> "NDArray[np.bool_]":
    return np.repeat(np.isin(np.arange(3), blocks), WIDTHS)


@pytest.mark.parametrize(("telling", "chosen"), [(0, FIRST), (2, LAST)])
def test_blocks_that_tell_the_classes_apart_are_chosen(telling: int, chosen: tuple[int, ...]) -> None:
    found = fit(telling)
    losses = [one.loss for one in found.candidates]
    assert losses == sorted(losses)
    assert {one.blocks for one in found.candidates} == {ALL, FIRST, LAST}
    assert found.candidates[0].blocks == chosen
    assert found.best.val_loss == losses[0]
    assert (found.head.weights[~columns(chosen)] == 0).all()
    assert (found.head.weights[columns(chosen)] != 0).all()


def test_the_head_is_that_of_its_blocks_alone() -> None:
    found, alone = fit(2), fit_logistic_regression(rows(2).of_blocks(LAST), [1e-3, 1e-2, 1e-1], 5, True, "none", 0)
    assert found.head.weights[columns(LAST)] == pytest.approx(alone.head.weights, abs=1e-5)
    assert found.best.C == alone.best.C
    assert found.held_out is not None
    assert alone.held_out is not None
    assert found.held_out.probabilities == pytest.approx(alone.held_out.probabilities, abs=1e-3)


def test_without_candidates_all_blocks_are_used() -> None:
    found = fit(1, ())
    assert [one.blocks for one in found.candidates] == [ALL]
    assert (found.head.weights != 0).all()


def test_some_blocks_are_read_in_their_order() -> None:
    everything = rows(0)
    part = everything.of_blocks((0, 2))
    assert part.widths == (5, 3)
    assert np.array_equal(part.features(), everything.features()[:, columns((0, 2))])
    assert np.array_equal(part.take(np.array([3, 1])).features(), part.features()[[3, 1]])
    assert everything.of_blocks(ALL) is everything


def test_each_block_is_standardised_by_itself() -> None:
    """In one block the features of small scale would be floored by the mean deviation of those of large scale."""
    found = Standardizer.of(rows(0), standardize=True)
    assert found.scale[:5] == pytest.approx(np.ones(5), rel=0.7)
    assert found.scale[5:13] == pytest.approx(np.full(8, 10), rel=0.7)
    part = found.of_blocks(WIDTHS, LAST)
    assert np.array_equal(part.scale, found.scale[13:])


def test_a_large_c_does_as_well_from_a_cold_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images that can be separated, the search ended too early from zeros."""
    random = np.random.default_rng(0)
    labels = np.arange(300, dtype=np.int64) % 2
    features = random.normal(size=(300, 1500)) * np.linspace(3, 0.01, 1500)
    features[:, :20] += labels[:, None]
    standardizer = Standardizer.of(Rows.of(features.astype(np.float32), labels), standardize=True)
    many = Rows.of(standardizer.apply(features.astype(np.float32)), labels)
    fits = FoldFits.of(many, list(folds_of(many, 5, 0)), standardizer, True, "none")
    warm = fits.scores(fits.solve(10, fits.solve(1, fits.solve(0.1))))[:, 2].mean()
    assert fits.scores(fits.solve(10))[:, 2].mean() == pytest.approx(warm, rel=1e-6)
    monkeypatch.setattr(fold_fits, "_COLD", np.inf)
    assert abs(fits.scores(fits.solve(10))[:, 2].mean() / warm - 1) > 0.01
