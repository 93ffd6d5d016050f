"""How many threads to use: as many as this process is given cores, or as the user asks for."""

import math
import os
import random
from pathlib import Path

_VARIABLE = "TLCLI_THREADS"
_LIBRARIES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
_CGROUP = Path("/sys/fs/cgroup")


def threads() -> int:
    """``$TLCLI_THREADS`` (which ``--threads`` sets), but never more than :func:`cores`."""
    return min(_asked() or cores(), cores())


def cores() -> int:
    """Cores this process may use: those it is bound to, and a container's share of their time, rounded up."""
    bound = len(_bound_to())
    return max(1, min(bound, math.ceil(_quota() or bound)))


def use_threads(count: int | None = None) -> None:
    """Holds this process, the libraries it calls and the processes it starts to the threads there are.

    Libraries read it when they are imported: call it first. They know of cores, and not of a container's share of time.

    Args:
        count: what the user asks for; without it ``$TLCLI_THREADS`` holds.
    """
    if count is not None:
        os.environ[_VARIABLE] = str(count)
    given = threads()
    if _asked() and given < len(_bound_to()) and hasattr(os, "sched_setaffinity"):
        # Whatever threads anything starts, they have these cores; any of them, so that two processes seldom share.
        os.sched_setaffinity(0, random.sample(sorted(_bound_to()), given))
    if given < (os.cpu_count() or 1):
        for name in _LIBRARIES:
            os.environ[name] = str(given) if count is not None else os.environ.get(name, str(given))


def _asked() -> int:
    wanted = os.environ.get(_VARIABLE, "")
    return int(wanted) if wanted.isdecimal() else 0


def _bound_to() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _quota() -> float | None:
    """Cores' worth of time that the control group allows, version 2 or 1; None where it sets no limit."""
    try:
        if (limit := _CGROUP / "cpu.max").is_file():
            quota, period = limit.read_text().split()
        else:
            quota, period = ((_CGROUP / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else None
    except (OSError, ValueError):
        return None
