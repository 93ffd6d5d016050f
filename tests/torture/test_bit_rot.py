"""Flipped bits, in the size of every test run."""

import os
from collections.abc import Callable


def test_a_flipped_bit_is_found_in_every_kind_of_file(program: Callable[..., str]) -> None:
    counts = [line.split()[0] for line in program("bit_rot", 40, os.getpid()).splitlines()]

    assert counts[1:-1] == ["40", *["20"] * 4]
