"""Every hostile or damaged archive is refused, quickly and in little memory, and nothing is written outside."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter

import pytest
from tests.datasets.acquire.hostile_archives import HOSTILE, Hostile, refusal

SECONDS = 5.0
"""What an archive may take, with making it; the slowest takes a fifth of it on two slow cores."""
ROOM = 2**30
"""Bytes of address space for all: libraries and threads take half; most bombs would need more than all of it."""
ROOT = Path(__file__).parents[3]
ALL = f"""
import resource, sys
from pathlib import Path
from tests.datasets.acquire.hostile_archives import HOSTILE, refusal
resource.setrlimit(resource.RLIMIT_AS, ({ROOM}, {ROOM}))
for number, case in enumerate(HOSTILE):
    refusal(case, Path(sys.argv[1], str(number)))
"""


@pytest.mark.parametrize("case", HOSTILE, ids=[case.name for case in HOSTILE])
def test_hostile_or_damaged_archive_is_refused_at_once(tmp_path: Path, case: Hostile) -> None:
    started = perf_counter()

    error = refusal(case, tmp_path / "place")

    assert error.code == case.code
    assert perf_counter() - started < SECONDS
    assert {path.name for path in tmp_path.iterdir()} <= {"place", "cache"}
    assert {path.name for path in (tmp_path / "place").iterdir()} <= {"archive", "outer"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit a process's memory")
def test_all_are_refused_in_little_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_catalogue_is_large_and_no_name_is_there_twice() -> None:
    assert len(HOSTILE) >= 60
    assert [name for name, times in Counter(case.name for case in HOSTILE).items() if times > 1] == []
