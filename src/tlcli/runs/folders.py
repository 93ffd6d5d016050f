"""Run directories: built under a ``.partial`` name, renamed when complete, found by name or as the latest."""

import os
import re
import secrets
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from tlcli.errors import ModelError, ResourceError, UsageError
from tlcli.runs.files import read_json
from tlcli.system.files import disk_problem, sync_folder

_LATEST = "latest"
_PARTIAL = ".partial"
_MODEL = "model"
_TIME = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{4}")


@contextmanager
def new_run(runs_dir: Path, config_name: str) -> Iterator[Path]:
    """Yields a new run directory to fill; at the end it gets its final name, and ``latest`` points to it.

    The final name is that of the yielded directory without ``.partial``; see :func:`final_name`. If the body raises,
    the directory is removed.

    Raises:
        ResourceError: the directory cannot be made.
        UsageError: the config's name is reserved.
    """
    if config_name == _LATEST:
        raise UsageError(
            "config.name_reserved",
            f"A config cannot be called '{_LATEST}': {runs_dir / _LATEST} points to the newest run.",
            "Rename the file.",
        )
    name = f"{_start(runs_dir):{_TIME}}-{secrets.token_hex(2)}"
    partial = runs_dir / config_name / f"{name}{_PARTIAL}"
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise ResourceError(
            "resource.runs_dir_not_writable",
            f"The run directory {partial} cannot be made ({error.strerror}).",
            "Choose another one with --runs-dir.",
        ) from error
    try:
        yield partial
        final = final_name(partial)
        sync_folder(partial)
        partial.replace(final)
        sync_folder(final.parent)
        _point(runs_dir / config_name / _LATEST, final)
        _point(runs_dir / _LATEST, final)
    except OSError as error:
        if problem := disk_problem(error, partial):
            raise problem from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for folder in (partial.parent, runs_dir):  # a run that failed leaves no empty directories
            with suppress(OSError):
                folder.rmdir()


def _start(runs_dir: Path) -> datetime:
    """The time now; or, where the clock was set back, a second after the newest run."""
    now = datetime.now(UTC)
    for run in finished_runs(runs_dir)[:1]:
        before = start_of(run)
        with suppress(OverflowError):
            if before and before > now:
                return before + timedelta(seconds=1)
    return now


def final_name(partial: Path) -> Path:
    """The final path of a run that is being built."""
    return partial.with_name(partial.name.removesuffix(_PARTIAL))


def _point(link: Path, target: Path) -> None:
    """Replaces a relative symbolic link atomically. File systems without links do without (see :func:`find_run`)."""
    temporary = link.with_name(
        f".{link.name}.{os.getpid()}.{os.urandom(4).hex()}"
    )  # a killed process may have left one
    with suppress(OSError):
        temporary.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
        temporary.replace(link)
    temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class RunConfig:
    """A config whose runs are asked for."""

    given: str
    """As ``--config`` takes it."""
    name: str
    """The name of its runs' directory."""
    file: Path | None = None
    """Absolute path of its file, without links; None for a config that comes with tlcli."""
    sha256: str = ""
    """Of its text."""


class _ConfigOfRun(BaseModel):
    """What run.json says of the config."""

    config: str = ""
    config_file: str | None = None
    config_sha256: str = ""
    name: str | None = None


_CONFIG_OF_RUN = TypeAdapter(_ConfigOfRun)


def find_run(runs_dir: Path, config: RunConfig | None = None, run: Path | None = None) -> Path:
    """The run given (see :func:`named_run`), else the newest complete one (of a config).

    Raises:
        ModelError: there is none yet.
        UsageError: there is no such run, several have the ending given, or it is of another config than the one given.
    """
    if run is not None:
        found = named_run(runs_dir, str(run))
        if config is not None and not _is_of(found, config):
            raise UsageError(
                "usage.run_of_another_config",
                f"The run {found} was not trained with {config.file or config.given}.",
                "Give either --run or --config.",
            )
        return found
    newest = next((run for run in finished_runs(runs_dir) if config is None or _is_of(run, config)), None)
    if newest is None:
        raise no_runs(runs_dir, config)
    return newest.resolve()


def complete_runs_of(runs_dir: Path, config: RunConfig) -> list[Path]:
    """Complete runs of a config, the newest first."""
    return [run for run in finished_runs(runs_dir) if _is_of(run, config)]


def no_runs(runs_dir: Path, config: RunConfig | None) -> ModelError:
    """The error where there is no complete run (of a config); it lists the configs of the same name that have some."""
    command = shlex.join(["tlcli", "train", *(["--config", config.given] if config else [])])
    if config and (others := other_configs(runs_dir, config)):
        listed = ", ".join(f"{file} ({count} run{'' if count == 1 else 's'})" for file, count in others.items())
        return ModelError(
            "model.no_runs_of_config",
            f"No run in {runs_dir} was trained with {config.file or config.given}; those named '{config.name}' are of "
            f"{listed}.",
            f"Name one of them with --run (tlcli runs lists them), or run: {command}",
        )
    which = f" of '{config.given}'" if config else ""
    return ModelError("model.no_runs", f"There is no finished run{which} in {runs_dir} yet.", f"Run: {command}")


def other_configs(runs_dir: Path, config: RunConfig) -> dict[str, int]:
    """Other configs of the same name, and how many complete runs each has."""
    others = [run for run in finished_runs(runs_dir, config.name) if not _is_of(run, config)]
    return dict(Counter(_config_of(run).config_file or f"the shipped '{config.name}'" for run in others))


def runs_of(runs_dir: Path, config: RunConfig | None = None) -> list[Path]:
    """Everything that has a run's name or its record (of a config), damaged runs included, the newest first."""
    return [run for run in run_directories(runs_dir) if config is None or _is_of(run, config)]


def _is_of(run: Path, config: RunConfig) -> bool:
    """Whether a run was trained with this config: this very file, or its text where the file that was is gone (moved
    with its folder). A run whose record is damaged goes by the name of its directory."""
    try:
        recorded = _config_of(run)
    except ModelError:
        return run.parent.name == config.name
    if recorded.config_file is None or config.file is None:
        both_shipped = recorded.config_file is None and config.file is None
        return both_shipped and config.name == (recorded.config or run.parent.name)
    if recorded.config_file == str(config.file):
        return True
    return recorded.config_sha256 == config.sha256 != "" and not Path(recorded.config_file).exists()


def _config_of(run: Path) -> _ConfigOfRun:
    return read_json(run / "run.json", _CONFIG_OF_RUN)


def config_argument_of(run: Path) -> str | None:
    """What ``--config`` takes for the config of a run; None where its record is damaged."""
    try:
        recorded = _config_of(run)
    except ModelError:
        return None
    return recorded.config_file or recorded.config or None


def finished_runs(runs_dir: Path, name: str | None = None) -> list[Path]:
    """Complete runs (in the directory of this name), the newest first."""
    return [run for run in run_directories(runs_dir, name) if (run / "run.json").is_file()]


def run_directories(runs_dir: Path, name: str | None = None) -> list[Path]:
    """Everything that has a run's name or its record, damaged runs included, the newest first."""
    found = [
        path
        for path in runs_dir.glob("*/*")
        if name in (None, path.parent.name) and path.parent.name != _LATEST  # else a link names its runs twice
        if not path.is_symlink() and not path.name.endswith(_PARTIAL)
        if _NAME.fullmatch(path.name) or (path / "run.json").is_file()
    ]
    return sorted(found, key=age, reverse=True)


def start_of(run: Path) -> datetime | None:
    """When a run started, in UTC; None where its directory was renamed."""
    if named := _NAME.fullmatch(run.name):
        with suppress(ValueError):  # the 31st of February
            return datetime.strptime(named[1], _TIME).replace(tzinfo=UTC)
    return None


def age(run: Path) -> tuple[str, int]:
    """Orders runs by the time of their start; within a second, by when they were written."""
    try:
        written = (run / "run.json").stat().st_mtime_ns
    except OSError:
        written = 0
    return run.name.split("-")[0], written


_LATEST_BUT = re.compile(rf"(?:(?P<config>[^~]+)/)?{_LATEST}(?:~(?P<back>[0-9]{{1,9}}))?")


def named_run(runs_dir: Path, given: str) -> Path:
    """The run that a user names.

    Args:
        runs_dir: directory of the runs.
        given: a run's directory or the folder ``model`` in it, ``NAME/TIME-xxxx`` below ``runs_dir``, a unique ending
            of that, what ``--name`` was given, ``latest``, or ``latest~2`` for the second before it; ``NAME/latest`` is
            the latest of a config.

    Raises:
        UsageError: there is no such run, or several have this ending.
    """
    with suppress(OSError, ValueError, RuntimeError):  # a name of 5,000 letters, a NUL, ~ of an unknown user
        folder = Path(given).expanduser().resolve()
        if folder.name == _MODEL and (folder.parent / "run.json").is_file():
            folder = folder.parent
        if (folder / "run.json").is_file() and not folder.name.endswith(_PARTIAL):
            return folder
        if (folder / "manifest.json").is_file():
            raise UsageError(
                "usage.model_without_run", f"{folder} is the model of a run, without the run around it.",
                "Give the run's folder, in which the model is the folder model/, with the other files of the run.",
            )  # fmt: skip
    if counted := _LATEST_BUT.fullmatch(given):
        config, back = counted["config"], int(counted["back"] or 0)
        complete = finished_runs(runs_dir, config)
        if back < len(complete):
            return complete[back].resolve()
        raise UsageError(
            "usage.run_not_found",
            f"'{given}' does not exist: there are {len(complete)} runs in {runs_dir}.",
            "List them: tlcli runs",
        )
    found = [path for path in finished_runs(runs_dir) if given and run_name(runs_dir, path).endswith(given)]
    exact = [path for path in found if run_name(runs_dir, path) == given] or named_so(runs_dir, given)
    found = exact or found
    if len(found) == 1:
        return found[0].resolve()
    if found:
        names = ", ".join(run_name(runs_dir, path) for path in found[:5])
        raise UsageError(
            "usage.run_ambiguous",
            f"'{given}' matches {len(found)} runs: {names}{' ...' if len(found) > 5 else ''}.",
            "Give more of the name.",
        )
    raise UsageError(
        "usage.run_not_found",
        f"There is no complete run '{given:.100}' in {runs_dir}. Allowed: a run's directory, NAME/TIME-xxxx, the end "
        "of that, a name given with --name, latest, latest~1.",
        "List them: tlcli runs",
    )


def named_so(runs_dir: Path, name: str) -> list[Path]:
    """Complete runs that train was given this name for."""
    return [run for run in finished_runs(runs_dir) if name and given_name(run) == name]


def given_name(run: Path) -> str | None:
    """What train was given as the name of a run; None also where its record is damaged."""
    try:
        return _config_of(run).name
    except ModelError:
        return None


_RUN_NAME = re.compile(r"\w[\w .+=-]{0,99}")


def check_name(runs_dir: Path, name: str) -> None:
    """Checks that a new run can have a name.

    Raises:
        UsageError: it is malformed, reserved, or that of another run.
    """
    if not _RUN_NAME.fullmatch(name) or _LATEST_BUT.fullmatch(name) or _NAME.fullmatch(name):
        raise UsageError(
            "usage.invalid_name", f"A run cannot be called '{name:.100}'.",
            "Use letters, digits, spaces, and any of - _ . + =, beginning with a letter or digit; and not 'latest'.",
        )  # fmt: skip
    if taken := named_so(runs_dir, name):
        raise UsageError("usage.name_taken", f"The run {taken[0]} has the name '{name}'.", "Give another --name.")


def run_name(runs_dir: Path, run: Path) -> str:
    """``NAME/TIME-xxxx`` for a run below ``runs_dir``, else its path."""
    run = run.resolve()
    root = runs_dir.resolve()
    return run.relative_to(root).as_posix() if run.is_relative_to(root) else str(run)
