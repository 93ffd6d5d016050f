"""Runs the command line for tests: in this process, or as a process of its own where that is what is tested."""

import io
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.cli import app
from tlcli.system.cache.fallback import remove_fallback
from tlcli.system.cache.locks import release_all


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)

    def problems(self) -> list[tuple[str, str, str]]:
        """Place, key and code of each mistake in a config, of a command that failed with ``--json``."""
        return [(one["place"], one["key"], one["code"]) for one in self.json()["error"]["problems"]]

    @property
    def error(self) -> str:
        """The code of the error, as ``--json`` gives it."""
        return str(self.json()["error"]["code"])


Tlcli = Callable[..., Done]


def as_process(folder: Path, cache: Path) -> Tlcli:
    """Returns a function that runs ``tlcli ARGUMENTS`` in a directory as a process of its own."""

    def run(*arguments: object, env: Mapping[str, str] | None = None) -> Done:
        environment = {**os.environ, "TLCLI_CACHE": str(cache), "COLUMNS": "100", **(env or {})}
        command = [sys.executable, "-m", "tlcli", *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def in_process(folder: Path, cache: Path) -> Tlcli:
    """Like :func:`as_process`, in this process: TensorFlow is imported once for all commands, not once for each."""

    def run(*arguments: object, env: Mapping[str, str] | None = None) -> Done:
        given = {"TLCLI_CACHE": str(cache), "COLUMNS": "100", **(env or {})}
        with _surroundings(folder, given, ["tlcli", *map(str, arguments)]) as (out, err):
            try:
                app.main()
                code: object = 0
            except SystemExit as ending:
                code = ending.code
            finally:
                release_all()
                remove_fallback()
        done = Done(code if isinstance(code, int) else int(code is not None), _text(out), _text(err))
        assert "Traceback" not in done.err, done.err
        assert done.code != 1, done.err
        return done

    return run


@contextmanager
def _surroundings(
    folder: Path, environment: Mapping[str, str], arguments: list[str]
) -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """The directory, variables, arguments and streams that a process of its own would have."""
    before = Path.cwd(), dict(os.environ), sys.argv, sys.stdout, sys.stderr
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    os.chdir(folder)
    os.environ.update(environment)
    sys.argv, sys.stdout, sys.stderr = arguments, out, err
    try:
        with warnings.catch_warnings():
            yield out, err
    finally:
        os.chdir(before[0])
        os.environ.clear()
        os.environ.update(before[1])
        sys.argv, sys.stdout, sys.stderr = before[2:]


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
