"""Programs of this folder start processes by fork: each runs in an interpreter that has no threads yet."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., str]:
    """Runs ``python -m tests.torture.NAME ARGUMENTS``; what it prints."""

    def run(name: str, *arguments: object) -> str:
        command = [sys.executable, "-m", f"tests.torture.{name}", *map(str, arguments)]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run
