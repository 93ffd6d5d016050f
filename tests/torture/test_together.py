"""Concurrent processes, in the size of every test run."""

import os
from collections.abc import Callable

import pytest


@pytest.mark.slow
def test_nothing_torn_is_read_even_where_a_lock_locks_nothing(program: Callable[..., str]) -> None:
    counts = [line.split()[0] for line in program("together", 8, 5, os.getpid()).splitlines()]

    assert counts[:-1] == ["40", "40", "8", "8"]
