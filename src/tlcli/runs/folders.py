"""Run directories: built under a ``.partial`` name, renamed when complete, found by name or as the latest."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tlcli.errors import ModelError, ResourceError, UsageError
from tlcli.system.files import disk_problem, sync_folder

_LATEST = "latest"
_PARTIAL = ".partial"
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


def find_run(runs_dir: Path, config: str | None = None, run: Path | None = None) -> Path:
    """The run given (see :func:`named_run`), else the newest complete one (of a config, given by name or path).

    Raises:
        ModelError: there is none.
        UsageError: several runs have the ending given.
    """
    if run is not None:
        return named_run(runs_dir, str(run))
    complete = finished_runs(runs_dir, config)
    if not complete:
        which = f" of '{Path(config).stem}'" if config else ""
        option = f" --config {config}" if config else ""
        raise ModelError(
            "model.no_runs", f"There is no finished run{which} in {runs_dir} yet.", f"Run: tlcli train{option}"
        )
    return complete[0].resolve()


def finished_runs(runs_dir: Path, config: str | None = None) -> list[Path]:
    """Complete runs (of a config, given by name or path), the newest first."""
    return [run for run in run_directories(runs_dir, config) if (run / "run.json").is_file()]


def run_directories(runs_dir: Path, config: str | None = None) -> list[Path]:
    """Everything that has a run's name or its record, damaged runs included, the newest first."""
    name = Path(config).stem if config else None
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
        given: a run's directory, ``NAME/TIME-xxxx`` below ``runs_dir``, a unique ending of that, ``latest``, or
            ``latest~2`` for the second before it; ``NAME/latest`` is the latest of a config.

    Raises:
        ModelError: there is no such run.
        UsageError: several have this ending.
    """
    with suppress(OSError, ValueError, RuntimeError):  # a name of 5,000 letters, a NUL, ~ of an unknown user
        folder = Path(given).expanduser().resolve()
        if (folder / "run.json").is_file() and not folder.name.endswith(_PARTIAL):
            return folder
    if counted := _LATEST_BUT.fullmatch(given):
        config, back = counted["config"], int(counted["back"] or 0)
        complete = finished_runs(runs_dir, config)
        if back < len(complete):
            return complete[back].resolve()
        raise ModelError(
            "model.run_not_found",
            f"'{given}' does not exist: there are {len(complete)} runs in {runs_dir}.",
            "List them: tlcli runs",
        )
    found = [path for path in finished_runs(runs_dir) if given and run_name(runs_dir, path).endswith(given)]
    exact = [path for path in found if run_name(runs_dir, path) == given]
    if len(exact or found) == 1:
        return (exact or found)[0].resolve()
    if found:
        names = ", ".join(run_name(runs_dir, path) for path in found[:5])
        raise UsageError(
            "usage.run_ambiguous",
            f"'{given}' matches {len(found)} runs: {names}{' ...' if len(found) > 5 else ''}.",
            "Give more of the name.",
        )
    raise ModelError(
        "model.run_not_found",
        f"There is no complete run '{given:.100}' in {runs_dir}. Allowed: a run's directory, NAME/TIME-xxxx, the end "
        "of that, latest, latest~1.",
        "List them: tlcli runs",
    )


def run_name(runs_dir: Path, run: Path) -> str:
    """``NAME/TIME-xxxx`` for a run below ``runs_dir``, else its path."""
    run = run.resolve()
    root = runs_dir.resolve()
    return run.relative_to(root).as_posix() if run.is_relative_to(root) else str(run)
