import numpy as np
from numpy.typing import NDArray

from tlcli.features.rows import BLOCK_ROWS, Rows

RANDOM = np.random.default_rng(7)
FEATURES = RANDOM.normal(3, 2, (20, 5)).astype(np.float32)


def rows_of(features: NDArray[np.float32]) -> Rows:
    return Rows.of(features, np.arange(len(features)) % 2)


def test_blocks_give_every_row_once_in_order_and_never_more_than_their_size() -> None:
    many = RANDOM.normal(0, 1, (2 * BLOCK_ROWS + 5, 3)).astype(np.float32)
    blocks = list(rows_of(many).blocks())
    assert [len(features) for _, features in blocks] == [BLOCK_ROWS, BLOCK_ROWS, 5]
    assert all(np.array_equal(many[place], features) for place, features in blocks)


def test_what_is_done_to_a_block_is_not_done_to_the_rows() -> None:
    rows = rows_of(FEATURES.copy())
    for _, block in rows.blocks():
        block[:] = 0
    assert np.array_equal(rows.features(), FEATURES)


def test_rows_taken_keep_their_labels_and_units() -> None:
    rows = Rows.of(FEATURES, np.arange(20), np.arange(20) // 4)
    some = rows.take(np.array([7, 2, 19]))
    assert np.array_equal(some.features(), FEATURES[[7, 2, 19]])
    assert some.labels.tolist() == [7, 2, 19]
    assert some.units.tolist() == [1, 0, 4]


def test_a_part_reads_its_own_rows_when_asked_and_not_before() -> None:
    read: list[int] = []
    features = np.arange(20, dtype=np.float32).reshape(10, 2)

    def reading(places: "np.typing.NDArray[np.int64]") -> "np.typing.NDArray[np.float32]":
        read.extend(places.tolist())
        return features[places]

    rows = Rows(np.arange(10), np.arange(10) // 2, (2,), reading)
    part = rows.part(np.array([7, 2, 5]))
    assert (part.labels.tolist(), part.units.tolist(), part.width) == ([7, 2, 5], [3, 1, 2], 2)
    assert read == []
    assert part.part(np.array([2, 0])).features().tolist() == [[10, 11], [14, 15]]
    assert read == [5, 7]
