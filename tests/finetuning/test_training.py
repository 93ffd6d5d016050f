"""Which rows a training may see."""

import numpy as np

from tlcli.finetuning.trainer import Rows


def test_rows_that_are_scored_are_neither_trained_on_nor_chosen_by() -> None:
    held_out, plain = np.arange(8) % 4 == 0, np.arange(8) < 6
    rows = Rows(np.zeros((8, 32), np.uint8), np.arange(8), np.ones(8, np.float32), held_out, plain)
    assert rows.fitted.tolist() == [1, 2, 3, 5, 6, 7]
    assert rows.choosing.tolist() == [0, 4]
    assert rows.seen.all()
    some = rows._replace(scored=np.arange(8) >= 4)
    assert some.fitted.tolist() == [1, 2, 3]
    assert some.choosing.tolist() == [0]
    assert np.flatnonzero(some.seen).tolist() == [0, 1, 2, 3]
