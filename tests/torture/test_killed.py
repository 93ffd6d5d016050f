"""Kills of trainings, in the size of every test run."""

import os
from pathlib import Path

from tests.torture import killed, toy


def test_whatever_is_killed_the_next_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    outcome = killed.run(24, seed=os.getpid(), folder=tmp_path)

    assert outcome.moments.total() == 24
    assert outcome.moments["computing features"]
    assert max(outcome.again) <= toy.SHARD
