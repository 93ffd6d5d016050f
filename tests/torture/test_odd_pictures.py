"""The CI size of odd and broken pictures."""

from pathlib import Path

import pytest
from tests.torture.odd_pictures import section


@pytest.mark.e2e
def test_odd_and_broken_pictures(session_cache: Path) -> None:
    lines = list(section(large=False, cache=session_cache))
    text = "\n".join(lines)
    assert lines[0].startswith("## Odd and broken pictures (")
    assert "the same pixels enter the network: difference 0" in text
    assert "byte for byte as they were" in text
    assert sum(line.startswith("| a mutation | ") for line in lines) >= 2
