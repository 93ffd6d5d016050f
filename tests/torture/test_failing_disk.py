"""Failing disks, in the size of every test run."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.torture import failing_disk

from tlcli.errors import ResourceError
from tlcli.system.files import disk_problem, whole_file


@pytest.mark.slow
def test_whatever_call_fails_the_exit_code_and_the_next_run_are_right(program: Callable[..., str]) -> None:
    printed = program("failing_disk", 1, os.getpid(), 5)

    assert " exit 6, `resource." in printed


@pytest.mark.parametrize("number", failing_disk.ERRORS)
def test_a_failed_write_names_the_file_though_the_system_does_not(tmp_path: Path, number: int) -> None:
    def write() -> None:
        with whole_file(tmp_path / "file"):
            raise OSError(number, "the system's reason")

    with pytest.raises(ResourceError) as error:
        write()
    assert error.value.code in ("resource.disk_full", "resource.write_failed")
    assert str(tmp_path / "file") in error.value.message
    assert not list(tmp_path.iterdir())


def test_an_error_about_another_path_is_not_reported_for_the_file(tmp_path: Path) -> None:
    of_data = OSError(errno.ESTALE, "Stale file handle", "/data/images/1.jpg")
    assert disk_problem(of_data, tmp_path / "file") is None
    assert disk_problem(OSError(errno.ENOENT, "not there"), tmp_path / "file") is None
