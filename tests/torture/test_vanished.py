"""Files that disappear while they are used, in the size of every test run."""

from collections.abc import Callable

import pytest


@pytest.mark.slow
def test_what_disappears_is_named_and_what_was_computed_is_kept(program: Callable[..., str]) -> None:
    said = program("vanished", 0)

    assert said.count(", names an image") == 3
    assert "exit 6, `resource.file_disappeared`, names the folder" in said
    assert said.count("every change is seen") == 2
