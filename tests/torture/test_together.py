"""Processes at once, in the size of every test run."""

import os
from collections.abc import Callable


def test_nothing_torn_is_ever_read_also_where_a_lock_locks_nothing(program: Callable[..., str]) -> None:
    said = program("together", 8, 5, os.getpid())

    assert said.count(", 0 torn") == 4
