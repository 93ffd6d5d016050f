"""Blocks of features: which there are, where they stand, and what they are rounded to."""

import numpy as np
import pytest

from tlcli.backbones.blocks import Block, Blocks, blocks_of, one_block

BLOCKS = blocks_of((2, 3), 4)


def row(seed: int = 0) -> np.typing.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, BLOCKS.width).astype(np.float32)


def test_every_layer_has_both_poolings_in_the_order_of_the_network() -> None:
    assert BLOCKS.names == ("stage1.avg", "stage1.max", "stage2.avg", "stage2.max", "last.avg", "last.max")
    assert BLOCKS.layers == ("stage1", "stage2", "last")
    assert BLOCKS.widths == (2, 2, 3, 3, 4, 4)
    assert BLOCKS.width == 18
    assert one_block(5).names == ("last.avg",)


def test_slices_cover_a_row_without_gaps() -> None:
    assert np.concatenate([np.arange(18)[place] for place in BLOCKS.slices]).tolist() == list(range(18))
    assert [place.stop - place.start for place in BLOCKS.slices] == list(BLOCKS.widths)


def test_a_choice_has_the_order_of_rows() -> None:
    assert BLOCKS.select(["last", "stage1"], ["avg"]).names == ("stage1.avg", "last.avg")
    assert BLOCKS.select(BLOCKS.layers, ["max", "avg"]) == BLOCKS
    assert BLOCKS.named(["last.max", "stage2.avg", "none"]).names == ("stage2.avg", "last.max")
    assert BLOCKS.last.names == ("last.avg",)


def test_the_last_layer_of_tokens_is_what_images_are_compared_by() -> None:
    tokens = Blocks((Block("last", "cls", 8), Block("last", "mean_tokens", 8), Block("last", "max", 8)))
    assert tokens.last.names == ("last.cls",)


@pytest.mark.parametrize("shape", [(), (5,)])
def test_taking_gives_the_columns_of_the_wanted_blocks(shape: tuple[int, ...]) -> None:
    rows = np.arange(int(np.prod(shape)) * 18, dtype=np.float32).reshape(*shape, 18)
    found = BLOCKS.take(rows, BLOCKS.named(["stage1.max", "last.avg"]))
    assert np.array_equal(found, rows[..., [2, 3, 10, 11, 12, 13]])
    assert BLOCKS.take(rows, BLOCKS) is rows


def test_all_but_the_last_average_are_rounded_and_stay_finite() -> None:
    before = row()
    before[:3] = 1e6, -1e6, 65519
    found = BLOCKS.rounded(before.copy())
    exact = slice(10, 14)
    assert np.array_equal(found[exact], before[exact])
    others = np.delete(found, range(10, 14))
    assert np.array_equal(others, others.astype(np.float16).astype(np.float32))
    assert found[:3].tolist() == [65504, -65504, 65504]
    assert not np.array_equal(others[3:], np.delete(before, range(10, 14))[3:])
    assert np.array_equal(BLOCKS.rounded(found.copy()), found)


def test_a_stored_row_has_four_bytes_for_exact_numbers_and_two_for_others() -> None:
    assert BLOCKS.stored_bytes == 4 * 4 + 14 * 2
    assert one_block(10).stored_bytes == 40


def test_over_tiles_maxima_are_maxima_and_all_else_means() -> None:
    tiles = [row(seed) for seed in range(3)]
    found = BLOCKS.over_tiles(tiles)
    assert found.dtype == np.float32
    for block, place in zip(BLOCKS.all, BLOCKS.slices, strict=True):
        stacked = np.stack([tile[place] for tile in tiles])
        expected = stacked.max(axis=0) if block.pooling == "max" else stacked.mean(axis=0)
        assert found[place] == pytest.approx(expected, rel=1e-6)
    assert np.array_equal(BLOCKS.over_tiles(tiles[:1]), tiles[0])
