"""Unusual and broken images at the size for CI; the assertions are in the section itself."""

from pathlib import Path

import pytest
from tests.torture.odd_images import section


@pytest.mark.slow
@pytest.mark.e2e
def test_odd_and_broken_images(session_cache: Path) -> None:
    lines = list(section(large=False, cache=session_cache))
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) > 40
    assert sum(row.startswith("| a mutation | ") for row in rows) >= 2
