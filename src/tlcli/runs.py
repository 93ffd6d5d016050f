"""Run folders: built under a ``.partial`` name, renamed when complete, found again by name or as the latest."""

import csv
import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlcli.disk import FULL, disk_full, sync_folder, whole_file, write_text
from tlcli.errors import ModelError, ResourceError, UsageError

_LATEST = "latest"


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
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    partial = runs_dir / config_name / f"{name}.partial"
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
        if error.errno in FULL:
            raise disk_full(partial) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for folder in (partial.parent, runs_dir):  # a run that failed leaves no empty folders behind
            with suppress(OSError):
                folder.rmdir()


def final_name(partial: Path) -> Path:
    """Where a run being built will lie."""
    return partial.with_name(partial.name.removesuffix(".partial"))


def _point(link: Path, target: Path) -> None:
    """A relative symbolic link, replaced in one step; disks without links do without (see :func:`find_run`)."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
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
        return run.resolve()
    config_name = Path(config).stem if config else None
    pattern = f"{glob.escape(config_name) if config_name else '*'}/*/run.json"
    complete = [path.parent for path in runs_dir.glob(pattern) if not path.parent.is_symlink()]
    complete = [path for path in complete if not path.name.endswith(".partial")]
    if not complete:
        which = f" of '{config_name}'" if config_name else ""
        option = f" --config {config}" if config else ""
        raise ModelError(f"There is no finished run{which} in {runs_dir} yet; run: tlcli train{option}")
    return max(complete, key=lambda path: (path.name.split("-")[0], (path / "run.json").stat().st_mtime_ns)).resolve()


def write_json(path: Path, value: Any) -> None:
    """JSON for people and programs: indented, UTF-8; numbers that are not finite are refused."""
    _write(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def reasons(bad: Mapping[str, str]) -> list[dict[str, str]]:
    """Pictures that were left out, as run.json lists them."""
    return [{"path": name, "reason": reason} for name, reason in bad.items()]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a run.

    Raises:
        ModelError: missing or broken.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read ({error}); train again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} is not what a run holds; train again.")
    return value


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table with one header line; whole or not there. Rows are written as they come."""
    with (
        whole_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _write(path: Path, text: str) -> None:
    """The odd bytes of a file name that is no UTF-8 stand escaped, as JSON would: ``\\udcff``."""
    write_text(path, text.encode(errors="backslashreplace").decode())
