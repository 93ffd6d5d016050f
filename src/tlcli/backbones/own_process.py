"""Runs slow libraries that leave memory behind, or that can be set up only once, in a separate process."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from tlcli.backbones.costs import COSTS
from tlcli.errors import DataError, ModelError, NetworkError, ResourceError, UsageError
from tlcli.system.files import format_size, free_bytes

ENOUGH_DISK = 600_000_000
"""Bytes that suffice for most networks; see :func:`disk_needed`."""


def disk_needed(name: str) -> int:
    """Bytes that suffice to convert a backbone of the catalog: its weights twice, and as much again."""
    cost = COSTS.get(name)
    return max(ENOUGH_DISK, 16 * cost.parameters if cost else 0)


def run_module(
    module: str,
    request: Mapping[str, object],
    environment: Mapping[str, str],
    doing: str,
    enough_disk: int = ENOUGH_DISK,
    on_line: Callable[[str], None] = lambda _: None,
) -> None:
    """Runs ``python -m module`` with the request as JSON, its only argument, and waits for it.

    A process that ends with the exit code of one of the errors below has written code, message and hint as a JSON list,
    its last line on stderr.

    Args:
        module: its ``main`` does what the request says.
        request: values that JSON can represent.
        environment: variables in addition to those that are set.
        doing: "Converting densenet201", for messages.
        enough_disk: bytes; a process that fails with less is reported as a full disk.
        on_line: called with every line that it writes to stdout.

    Raises:
        FileNotFoundError: the process failed, and the folder that it wrote to was deleted meanwhile.
        ResourceError: the process raised one, or failed, and its disk is nearly full.
        ModelError: the process raised one, or failed.
        DataError, NetworkError, UsageError: the process raised one.
    """
    # -P: a keras.py or json.py in the user's current folder must not be imported.
    command = [sys.executable, "-P", "-m", module, json.dumps(request)]
    with TemporaryFile("w+") as errors:
        with subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as done:
            try:
                for line in done.stdout or ():
                    on_line(line)
            except BaseException:  # interrupted
                done.kill()
                raise
        errors.seek(0)
        output = errors.read().strip()
    out = Path(str(request.get("out", "")))
    if done.returncode and not out.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(out.parent))
    for kind in (DataError, ModelError, NetworkError, ResourceError, UsageError):
        if done.returncode == kind.exit_code and (fields := _raised(output)):
            raise kind(*fields)
    if done.returncode:
        _check_free_space(out, doing, output, enough_disk)
        raise ModelError("model.process_failed", f"{doing} failed (exit {done.returncode}):\n{output[-2000:]}")


def _raised(output: str) -> list[str] | None:
    """Code, message and hint of the error that a process raised; None if its last line is none."""
    with suppress(ValueError, IndexError):
        fields = json.loads(output.splitlines()[-1])
        if isinstance(fields, list) and len(fields) == 3:
            return fields
    return None


def _check_free_space(out: Path, doing: str, output: str, enough: int) -> None:
    """OpenVINO reports 'iostream error' for a full disk and removes what it wrote: only the free space shows why."""
    if (free := free_bytes(out)) < enough:
        reason = output.splitlines()[-1] if output else "no output"
        raise ResourceError(
            "resource.disk_full",
            f"{doing} failed ({reason}), and the disk of {out} is nearly full: {format_size(free)} free, "
            f"{format_size(enough)} are enough.",
            "Free some space, or point $TLCLI_CACHE to another disk.",
        )
