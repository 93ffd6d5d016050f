"""bench/doublings.py: what it takes for true is true, and it judges what the tool states."""

from functools import partial

import numpy as np
import pytest

import doublings


def test_the_true_gain_is_that_of_twice_the_images() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(600, 4)).astype(np.float32)
    labels = (features[:, 0] > 0).astype(np.int64)
    one = doublings.Doubling("drawn", 30, doublings.from_pool(features, labels))
    (drawn, _), (rest, _) = one.draw(random, 60)
    assert len(drawn) == 60
    assert len({row.tobytes() for row in np.concatenate([drawn, rest])}) == 600
    gains = [doublings.true_gain(one, seed) for seed in range(10)]
    assert -0.02 < np.mean(gains) < 0.1


def test_intervals_are_judged_by_the_true_gain() -> None:
    one = doublings.Doubling("2 clouds", 60, partial(doublings._simulated, "2 clouds"))
    made = doublings.measured(one, 0)
    assert made["sizes"][-1] == one.n
    stated = doublings.interval(one.n, made)
    assert stated is not None
    for gain, holds in ((sum(stated[1:]) / 2, 1), (stated[2] + 0.01, 0)):
        row = doublings.judged({"name": one.name, "n": one.n, "gain": gain, "error": 0.001, "subsets": [made]})
        assert (row["of"], row["holds"]) == (1, holds)
        assert row["width"] == pytest.approx(stated[2] - stated[1])
