"""The config that was used last in a folder: what fetch, inspect and train take where none is named."""

from contextlib import suppress
from pathlib import Path

from tlcli.errors import TlcliError
from tlcli.runs.folders import config_argument_of, finished_runs
from tlcli.system.files import read_regular, write_text

_FILE = ".last-config"
_LIMIT = 10_000
"""Bytes of a path."""


def remember_config(runs_dir: Path, argument: str, path: Path | None) -> None:
    """Notes which config is used, in the directory of the runs; where that is not writable, nothing.

    Args:
        runs_dir: directory of the runs.
        argument: what ``--config`` takes.
        path: of its file; None of a config that comes with tlcli. Beside runs that are named by an absolute path it is
            noted as an absolute path, else relative to the working directory, so that both can move.
    """
    if path is not None and runs_dir.is_absolute():
        argument = str(path.absolute())
    with suppress(OSError, TlcliError):
        write_text(runs_dir / _FILE, argument)


def last_config(runs_dir: Path) -> str | None:
    """What ``--config`` takes for the config that was used last; of the newest run, where none was noted; else None."""
    with suppress(OSError, ValueError):
        if noted := read_regular(runs_dir / _FILE, _LIMIT).decode():
            return noted
    return next(filter(None, map(config_argument_of, finished_runs(runs_dir))), None)
