"""Kills of trainings, in the size of every test run."""

import os
from collections.abc import Callable

import pytest


@pytest.mark.slow
def test_after_a_kill_the_next_training_ends_with_the_same_bits(program: Callable[..., str]) -> None:
    printed = program("killed", 10, os.getpid())

    assert printed.split()[0] == "10"
    assert " computing features\n" in printed
