"""Kills of trainings, in the size of every test run."""

import os
from collections.abc import Callable


def test_whatever_is_killed_the_next_training_ends_with_the_same_bits(program: Callable[..., str]) -> None:
    said = program("killed", 30, os.getpid())

    assert said.startswith("30 kills")
    assert "computing features" in said
