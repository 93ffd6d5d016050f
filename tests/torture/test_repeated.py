"""Equal seeds, in the size of every test run; `python -m tests.torture.repeated` tries both heads 20 times."""

from pathlib import Path

import pytest
from tests.torture import repeated


@pytest.mark.slow
def test_equal_seeds_give_equal_bits(session_cache: Path) -> None:
    found = repeated.run(2, ("logistic_regression",), session_cache)

    assert found["logistic_regression"].equal == 2
