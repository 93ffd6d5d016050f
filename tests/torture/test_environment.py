"""Unusual environments and unusual names, through the real command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.torture.environment import CASES, Case, many_files, narrow, try_one
from tests.torture.names import NAMED, named
from tests.torture.setting import Setting, set_up

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def setting(session_cache: Path) -> Iterator[Setting]:
    """One for all, with the backbone that other tests have converted."""
    with set_up(session_cache) as made:
        yield made


def test_every_name_goes_through_every_command(setting: Setting) -> None:
    outcomes = named(setting)
    assert list(outcomes) == list(NAMED)


@pytest.mark.parametrize("case", [case for case in CASES if not case.large], ids=lambda case: case.name)
def test_environment(setting: Setting, case: Case) -> None:
    assert try_one(case, setting) == case.outcome


def test_a_real_terminal_of_40_columns(setting: Setting) -> None:
    assert len(list(narrow(setting))) == 4


def test_many_files_are_counted(setting: Setting) -> None:
    assert many_files(setting, 2000) == 2000


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert len(names) + len(NAMED) > 80
