"""Flipped bytes, in the size of every test run."""

import os
from collections.abc import Callable


def test_a_flipped_byte_is_found_in_whatever_is_kept(program: Callable[..., str]) -> None:
    said = program("bit_rot", 40, os.getpid())

    assert "40 shards, all at once: found, set aside, computed anew" in said
    assert "refused, names the file" in said
