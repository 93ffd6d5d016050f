"""The CI size of hostile model files."""

from pathlib import Path

import pytest
from tests.torture.hostile_models import section


@pytest.mark.slow
@pytest.mark.e2e
def test_hostile_model_files(session_cache: Path) -> None:
    lines = list(section(large=False, cache=session_cache))
    assert lines[0].startswith("## Hostile model files (")
    rows = [line for line in lines if line.startswith("| ")][2:]
    assert len(rows) > 20
    assert all("refused" in line or "the same answers" in line for line in rows)
