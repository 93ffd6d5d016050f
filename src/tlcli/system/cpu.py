"""How many threads to use: as many as this process is given cores, or as the user asks for."""

import math
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

_VARIABLE = "TLCLI_THREADS"
_LIBRARIES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
GIVEN = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
"""The cores that this process was started with."""


def threads() -> int:
    """``$TLCLI_THREADS`` (which ``--threads`` sets), but never more than :func:`cores`."""
    return min(_asked() or cores(), cores())


def cores() -> int:
    """Cores this process may use: those it is bound to, and a container's share of their time, rounded up."""
    bound = len(_bound_to())
    return max(1, min(bound, math.ceil(quota() or bound)))


def use_threads(count: int | None = None) -> None:
    """Holds this process, the libraries it calls and the processes it starts to the threads there are.

    Libraries read it when they are imported: call it first. They know of cores, and not of a container's share of time.

    Args:
        count: what the user asks for; without it ``$TLCLI_THREADS`` holds.
    """
    if count is not None:
        os.environ[_VARIABLE] = str(count)
        with suppress(OSError, AttributeError):  # --threads counts from what was given, not from what the variable left
            os.sched_setaffinity(0, GIVEN)
    given = threads()
    if _asked() and given < len(_bound_to()):
        # Whatever threads anything starts, they have these cores; any of them, so that two processes seldom share.
        with suppress(OSError, AttributeError):
            os.sched_setaffinity(0, random.sample(sorted(_bound_to()), given))
    if given < (os.cpu_count() or 1):
        for name in _LIBRARIES:
            os.environ[name] = str(given) if count is not None else os.environ.get(name, str(given))


def _asked() -> int:
    wanted = os.environ.get(_VARIABLE, "")
    return int(wanted) if wanted.isdecimal() else 0


def _bound_to() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def quota() -> float | None:
    """Cores' worth of time that the control groups allow, version 2 or 1; None where they set no limit."""
    texts = group_limits("cpu", "cpu.max", ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    return min(filter(None, map(_share, texts)), default=None)


def group_limits(controller: str, current: str, legacy: Sequence[str]) -> Iterator[str]:
    """What this process's control groups and all above them say of a limit, those that say anything.

    Args:
        controller: ``cpu``, ``memory``.
        current: the file that holds the limit in version 2 of control groups.
        legacy: the file or files that do in version 1; their texts are joined by a space.
    """
    for group in ["", *_groups(controller)]:
        inner = group.lstrip("/")
        for files in ([_CGROUP / inner / current], [_CGROUP / controller / inner / name for name in legacy]):
            with suppress(OSError, ValueError):
                yield " ".join(file.read_text().strip() for file in files)


def _groups(controller: str) -> Iterator[str]:
    """Inside a container often the root alone."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:  # 0::/user.slice/user-0.slice, or 4:cpu,cpuacct:/docker/abc
        _, controllers, group = line.split(":", 2)
        if controllers == "" or controller in controllers.split(","):
            yield from (str(path) for path in [PurePosixPath(group), *PurePosixPath(group).parents])


def _share(text: str) -> float | None:
    """Quota and period, microseconds."""
    try:
        allowed, period = text.split()
        return int(allowed) / int(period) if allowed != "max" and int(allowed) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None
