"""Every situation of docs/situations.md has the outcome that it should have."""

from pathlib import Path

import pytest
from tests.situations.all import SITUATIONS
from tests.situations.situation import Situation, outcome

ALL = [(kind, one) for kind, listed in SITUATIONS.items() for one in listed]


@pytest.mark.parametrize("situation", [one for _, one in ALL], ids=[f"{kind}: {one.brings}" for kind, one in ALL])
def test_situation_has_its_outcome(situation: Situation, tmp_path: Path) -> None:
    found = outcome(situation, tmp_path)
    assert found.value == situation.expected, found.said
