"""What goes away while it is used, in the size of every test run."""

from collections.abc import Callable


def test_what_goes_away_is_named_and_what_was_computed_is_kept(program: Callable[..., str]) -> None:
    said = program("vanished", 0)

    assert said.count("exit 6, names an image") == 3
    assert "/shapes went away while its images were read" in said
    assert said.count("every change is seen") == 2
