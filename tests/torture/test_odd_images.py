"""The CI size of odd and broken images."""

from pathlib import Path

import pytest
from tests.torture.odd_images import section


@pytest.mark.e2e
def test_odd_and_broken_images(session_cache: Path) -> None:
    lines = list(section(large=False, cache=session_cache))
    text = "\n".join(lines)
    assert lines[0].startswith("## Odd and broken images (")
    assert "the same pixels enter the network: difference 0" in text
    assert "byte for byte as they were" in text
    assert sum(line.startswith("| a mutation | ") for line in lines) >= 2
