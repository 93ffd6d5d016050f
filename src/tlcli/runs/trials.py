"""The trials of a search: appended to a file as they are scored, and known to the next part of the same search."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from tlcli.errors import ResourceError, UsageError
from tlcli.system.files import disk_problem

_FILE = "trials.jsonl"


class Trial(BaseModel):
    """One score, or one measurement."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")
    key: str
    """See :func:`trial_key`."""
    what: dict[str, Any]
    """What was tried: names and values."""
    scores: tuple[float, ...]
    """Of each fold; of a measurement, what was measured."""
    seconds: float
    """How long it took; of heads that were fitted together, their share."""


def trial_key(what: Mapping[str, object]) -> str:
    """Names a trial by what was tried."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]


class Trials:
    """All trials of a search. A process that is killed loses the one that it was writing, at most."""

    def __init__(self, folder: Path) -> None:
        """Reads the trials that a folder has.

        Raises:
            ResourceError: the file cannot be written.
        """
        self._path = folder / _FILE
        self._known: dict[str, Trial] = {}
        self.resumed = 0
        """Trials that were there at the start and were asked for since."""
        whole = 0
        try:
            data = self._path.read_bytes() if self._path.exists() else b""
            for line in data.splitlines(keepends=True):
                try:
                    trial = Trial.model_validate_json(line)
                except ValidationError:
                    break  # cut off by a kill; nothing was written after it
                if not line.endswith(b"\n"):
                    break
                self._known[trial.key] = trial
                whole += len(line)
            self._file = self._path.open("ab")
            self._file.truncate(whole)
        except OSError as error:
            raise self._problem(error) from error
        self._before = frozenset(self._known)
        self._asked: set[str] = set()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, what: Mapping[str, object]) -> Trial | None:
        """The trial of this, if it is known."""
        key = trial_key(what)
        if key in self._before and key not in self._asked:
            self._asked.add(key)
            self.resumed += 1
        return self._known.get(key)

    def add(self, what: Mapping[str, object], scores: tuple[float, ...], seconds: float) -> Trial:
        """Keeps a trial.

        Raises:
            ResourceError: the disk is full.
        """
        trial = Trial(key=trial_key(what), what=dict(what), scores=scores, seconds=round(seconds, 4))
        try:
            self._file.write(trial.model_dump_json().encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._problem(error) from error
        self._known[trial.key] = trial
        return trial

    def all(self) -> tuple[Trial, ...]:
        """In the order in which they were scored."""
        return tuple(self._known.values())

    def seconds_of(self, setting: Mapping[str, object]) -> float:
        """Spent on a pass: on the features of all samples, and on all heads on them.

        Args:
            setting: of the pass, as the trials have it.
        """
        same = trial_key(setting)
        return sum(one.seconds for one in self._known.values() if trial_key(one.what.get("pass") or {}) == same)

    def close(self) -> None:
        """Makes what was written last through a power cut."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _problem(self, error: OSError) -> ResourceError:
        return disk_problem(error, self._path) or ResourceError(
            "resource.runs_dir_not_writable", f"The trials {self._path} cannot be written ({error.strerror}).",
            "Choose another directory with --runs-dir.",
        )  # fmt: skip


@contextmanager
def open_search(runs_dir: Path, config_name: str, digest: str) -> Iterator[tuple[Path, Trials]]:
    """The folder of a search, ``runs/CONFIG/tune-DIGEST``, which the same search finds again; and its trials.

    Args:
        runs_dir: directory of the runs.
        config_name: the directory in it.
        digest: hex, of everything that the scores depend on.

    Raises:
        ResourceError: the folder cannot be made or written.
        UsageError: another process runs the same search.
    """
    folder = runs_dir / config_name / f"tune-{digest[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            "resource.runs_dir_not_writable",
            f"The directory {folder} cannot be made ({error.strerror}).",
            "Choose another one with --runs-dir.",
        ) from error
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            "usage.search_is_running", f"Another process runs this search in {folder}.",
            "Wait for it, or change --metric, --backbones or the config for another search.",
        ) from error  # fmt: skip
    except OSError as error:
        raise ResourceError(
            "resource.runs_dir_not_writable", f"{folder} cannot be written ({error.strerror}).",
            "Choose another one with --runs-dir.",
        ) from error  # fmt: skip
    trials = Trials(folder)
    try:
        yield folder, trials
    finally:
        trials.close()
        lock.release()
