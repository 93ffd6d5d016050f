"""Run folders: built under a ``.partial`` name, renamed when complete, found again by name or as the latest."""

import csv
import glob
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from tlcli.errors import ModelError, ResourceError, UsageError
from tlcli.system.files import disk_problem, read_regular, sync_folder, whole_file, write_text

_LATEST = "latest"
_PARTIAL = ".partial"
_MOST = 1 << 28
"""Bytes of a JSON file of a run; those of a million images, all of them broken, have half of it."""


@contextmanager
def new_run(runs_dir: Path, config_name: str) -> Iterator[Path]:
    """Yields the folder to fill; at the end it gets its final name, and ``latest`` points to it.

    The final name is that of the yielded folder without ``.partial``; see :func:`final_name`. If the body raises, the
    partial folder is removed.

    Raises:
        ResourceError: the folder cannot be made.
        UsageError: the config has the name of the pointer.
    """
    if config_name == _LATEST:
        raise UsageError(f"A config cannot be called '{_LATEST}', as {runs_dir / _LATEST} points to the newest run.")
    name = f"{_start(runs_dir):{_TIME}}-{secrets.token_hex(2)}"
    partial = runs_dir / config_name / f"{name}{_PARTIAL}"
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise ResourceError(f"The run folder {partial} cannot be made: {error.strerror}; choose --runs-dir.") from error
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
        for folder in (partial.parent, runs_dir):  # a run that failed leaves no empty folders behind
            with suppress(OSError):
                folder.rmdir()


_TIME = "%Y%m%dT%H%M%SZ"


def _start(runs_dir: Path) -> datetime:
    """Now; where a clock that was set back says that the newest run is still to come, a second after that."""
    now = datetime.now(UTC)
    for run in finished_runs(runs_dir)[:1]:
        with suppress(ValueError, OverflowError):
            if (before := datetime.strptime(run.name.split("-")[0], _TIME).replace(tzinfo=UTC)) > now:
                return before + timedelta(seconds=1)
    return now


def final_name(partial: Path) -> Path:
    """Where a run being built will lie."""
    return partial.with_name(partial.name.removesuffix(_PARTIAL))


def _point(link: Path, target: Path) -> None:
    """A relative symbolic link, replaced in one step; disks without links do without (see :func:`find_run`)."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}.{os.urandom(4).hex()}")  # a killed process left one
    with suppress(OSError):
        temporary.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
        temporary.replace(link)
    temporary.unlink(missing_ok=True)


def find_run(runs_dir: Path, config: str | None = None, run: Path | None = None) -> Path:
    """The run asked for, else the newest complete one (of a config, where named by its name or path).

    Raises:
        ModelError: there is none.
    """
    if run is not None:
        if not (run / "run.json").is_file():
            raise ModelError(f"{run} is not a run folder (it has no run.json); runs lie in {runs_dir}/NAME/.")
        if run.resolve().name.endswith(_PARTIAL):
            raise ModelError(f"{run} is what a training that was ended before its end has left; train again.")
        return run.resolve()
    complete = finished_runs(runs_dir, config)
    if not complete:
        which = f" of '{Path(config).stem}'" if config else ""
        option = f" --config {config}" if config else ""
        raise ModelError(f"There is no finished run{which} in {runs_dir} yet; run: tlcli train{option}")
    return complete[0].resolve()


def finished_runs(runs_dir: Path, config: str | None = None) -> list[Path]:
    """Complete runs (of a config, where named by its name or path), the newest first."""
    pattern = f"{glob.escape(Path(config).stem) if config else '*'}/*/run.json"
    folders = [path.parent for path in runs_dir.glob(pattern) if not path.parent.is_symlink()]
    return sorted((path for path in folders if not path.name.endswith(_PARTIAL)), key=age, reverse=True)


def age(run: Path) -> tuple[str, int]:
    """What runs are ordered by: the time of their start; within a second, when they were written."""
    try:
        written = (run / "run.json").stat().st_mtime_ns
    except OSError:
        written = 0
    return run.name.split("-")[0], written


_LATEST_BUT = re.compile(rf"(?:(?P<config>[^~]+)/)?{_LATEST}(?:~(?P<back>[0-9]{{1,9}}))?")


def named_run(runs_dir: Path, given: str) -> Path:
    """The run that somebody means.

    Args:
        runs_dir: where runs lie.
        given: a run's folder, ``NAME/TIME-xxxx`` below ``runs_dir``, the end of that if no other run has it,
            ``latest``, or ``latest~2`` for the second before it; ``NAME/latest`` is the latest of a config.

    Raises:
        ModelError: there is no such run.
        UsageError: several end so.
    """
    with suppress(OSError, ValueError, RuntimeError):  # a name of 5,000 letters, a NUL, ~ of a stranger
        folder = Path(given).expanduser().resolve()
        if (folder / "run.json").is_file() and not folder.name.endswith(_PARTIAL):
            return folder
    if counted := _LATEST_BUT.fullmatch(given):
        config, back = counted["config"], int(counted["back"] or 0)
        complete = finished_runs(runs_dir, config)
        if back < len(complete):
            return complete[back].resolve()
        raise ModelError(f"'{given}' is before the first of the {len(complete)} runs in {runs_dir}; see: tlcli runs")
    found = [path for path in finished_runs(runs_dir) if given and run_name(runs_dir, path).endswith(given)]
    exact = [path for path in found if run_name(runs_dir, path) == given]
    if len(exact or found) == 1:
        return (exact or found)[0].resolve()
    if found:
        names = ", ".join(run_name(runs_dir, path) for path in found[:5])
        raise UsageError(
            f"'{given}' fits {len(found)} runs: {names}{' ...' if len(found) > 5 else ''}; give more of it."
        )
    raise ModelError(
        f"There is no run '{given:.100}' in {runs_dir}; give its folder, NAME/TIME-xxxx, the end of that, latest or "
        "latest~1 (see: tlcli runs)."
    )


def run_name(runs_dir: Path, run: Path) -> str:
    """``NAME/TIME-xxxx`` for a run below ``runs_dir``, else its path."""
    run = run.resolve()
    root = runs_dir.resolve()
    return run.relative_to(root).as_posix() if run.is_relative_to(root) else str(run)


def write_json(path: Path, value: Any) -> None:
    """JSON for people and programs: indented, UTF-8; numbers that are not finite are refused."""
    _write(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def reasons(bad: Mapping[str, str]) -> list[dict[str, str]]:
    """Images that were left out, as run.json lists them."""
    return [{"path": name, "reason": reason} for name, reason in bad.items()]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a run.

    Raises:
        ModelError: missing or broken.
    """
    try:
        value = json.loads(read_regular(path, _MOST).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); train again."
        ) from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} is not what a run holds; train again.")
    return value


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table with one header line; whole or not there. Rows are written as they come."""
    with (
        whole_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(_UnixLines(file))
        writer.writerow(header)
        writer.writerows(rows)


class _UnixLines:
    """Makes ``\\n`` of the line ends of csv: asked for this, csv before Python 3.13 leaves a ``\\r`` in a cell bare."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.removesuffix("\r\n") + "\n")


def _write(path: Path, text: str) -> None:
    """The odd bytes of a file name that is no UTF-8 stand escaped, as JSON would: ``\\udcff``."""
    write_text(path, text.encode(errors="backslashreplace").decode())
