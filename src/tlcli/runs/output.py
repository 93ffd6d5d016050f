"""A run in a directory that the user names, as Make and DVC need it: complete or as it was before, never in part."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from tlcli.errors import ModelError, ResourceError, UsageError
from tlcli.runs.files import read_json
from tlcli.system.files import disk_problem, sync_folder


class _Kind(BaseModel):
    """What run.json says of where the run was written."""

    output: bool = False


_KIND = TypeAdapter(_Kind)


@contextmanager
def output_run(folder: Path) -> Iterator[Path]:
    """Yields a new directory to fill, beside the one given; at the end it takes its place.

    An earlier run that was written in this way is replaced as a whole, by two renames: a reader finds the old run or
    the new one, or for an instant none. If the body raises, everything is as before.

    Raises:
        ResourceError: the directory cannot be made.
        UsageError: the place is taken by something else.
    """
    target = folder.resolve()
    _check_replaceable(target, folder)
    partial, old = (target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial") for _ in range(2))
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise ResourceError(
            "resource.output_not_writable", f"The directory {folder} cannot be made ({error.strerror}).",
            "Choose another one with --output.",
        ) from error  # fmt: skip
    try:
        yield partial
        sync_folder(partial)
        _check_replaceable(target, folder)  # again: training takes a while
        if target.exists():
            target.rename(old)
        try:
            partial.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        sync_folder(target.parent)
    except OSError as error:
        if problem := disk_problem(error, partial):
            raise problem from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


def _check_replaceable(target: Path, given: Path) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    try:
        if read_json(target / "run.json", _KIND).output:
            return
    except ModelError:
        pass
    raise UsageError(
        "usage.output_exists", f"{given} exists, and is no run that train --output has written.",
        "Give a new directory, or remove this one.",
    )  # fmt: skip
