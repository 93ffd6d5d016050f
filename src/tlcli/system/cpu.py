"""The processor: how many threads to use, the limits that decide it, and the instruction sets.

The number of threads is what the user asks for, at most the cores that this process may use: those it is bound to, and
no more than its control groups (a container's limits) allow.
"""

import math
import os
import platform
import random
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_VARIABLE = "TLCLI_THREADS"
_LIBRARIES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_CPUINFO = Path("/proc/cpuinfo")
_INITIAL = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
"""The cores that this process was bound to when it started."""

_INSTRUCTIONS = re.compile(r"\b(?:avx|amx|fma|asimd|sve|sme|i8mm|bf16)\w*")
"""Linux's names of the instruction sets that decide the speed of matrix products: asimd is ARM's NEON. bfloat16 without
avx512_bf16, amx_bf16 or bf16 is emulated."""


@dataclass(frozen=True)
class Processor:
    """Its name, and its instruction sets for matrix products; None where the system does not report them."""

    name: str
    instructions: list[str] | None


def threads() -> int:
    """Returns the threads to use: ``$TLCLI_THREADS`` (which ``--threads`` sets), at most :func:`cores`."""
    return min(_requested() or cores(), cores())


def cores() -> int:
    """Returns the cores this process may use: those it is bound to, at most its quota of time, rounded up."""
    bound = len(_affinity())
    return max(1, min(bound, math.ceil(quota() or bound)))


def use_threads(count: int | None = None) -> None:
    """Limits this process, the libraries it calls and the processes it starts to the threads that may be used.

    Libraries read the environment when they are imported: call this first. They know the cores, and not a container's
    quota.

    Args:
        count: what the user asks for; without it ``$TLCLI_THREADS`` holds.
    """
    if count is not None:
        os.environ[_VARIABLE] = str(count)
        with suppress(OSError, AttributeError):  # --threads overrides the binding that the variable caused
            os.sched_setaffinity(0, _INITIAL)
    used = threads()
    if _requested() and used < len(_affinity()):
        # Whatever threads anything starts share these cores; a random choice, so that two processes seldom collide.
        with suppress(OSError, AttributeError):
            os.sched_setaffinity(0, random.sample(sorted(_affinity()), used))
    if used < (os.cpu_count() or 1):
        for name in _LIBRARIES:
            os.environ[name] = str(used) if count is not None else os.environ.get(name, str(used))


def quota() -> float | None:
    """Returns the cores' worth of time that the control groups allow, version 2 or 1; None without a limit."""
    texts = group_limits("cpu", "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")
    return min(filter(None, map(_ratio, texts)), default=None)


def group_limits(controller: str, current: str, *legacy: str) -> Iterator[str]:
    """Yields the limits that this process's control groups and all above them set.

    Args:
        controller: ``cpu``, ``memory``.
        current: the file that holds the limit in version 2 of control groups.
        legacy: the file or files that hold it in version 1; their texts are joined by a space.
    """
    groups = [PurePosixPath("/")]  # inside a container often the only one
    with suppress(OSError, ValueError):
        for line in _OWN_GROUPS.read_text().splitlines():  # 0::/user.slice/user-0.slice, or 4:cpu,cpuacct:/docker/abc
            _, controllers, group = line.split(":", 2)
            if controllers == "" or controller in controllers.split(","):
                groups += [PurePosixPath(group), *PurePosixPath(group).parents]
    for path in groups:
        inner = str(path).lstrip("/")
        for files in ([_CGROUP / inner / current], [_CGROUP / controller / inner / name for name in legacy]):
            with suppress(OSError, ValueError):
                yield " ".join(file.read_text().strip() for file in files)


def processor() -> Processor:
    """Returns the first processor of this machine."""
    text = ""
    with suppress(OSError, ValueError):
        text = _CPUINFO.read_text()
    name = re.search(r"(?m)^model name[ \t]*: *(\S.*)$", text)
    flags = re.search(r"(?m)^(?:flags|Features)[ \t]*:(.*)$", text)  # x86's and ARM's name
    instructions = sorted(set(_INSTRUCTIONS.findall(flags[1]))) if flags else None
    return Processor(name[1] if name else platform.processor() or platform.machine(), instructions)


def _requested() -> int:
    wanted = os.environ.get(_VARIABLE, "")
    return int(wanted) if wanted.isdecimal() else 0


def _affinity() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _ratio(text: str) -> float | None:
    """Quota and period, microseconds."""
    try:
        allowed, period = text.split()
        return int(allowed) / int(period) if allowed != "max" and int(allowed) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None
