"""The memory of this machine, and how much of it this process may use."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tlcli.system.cpu import group_limits

_PROC = Path("/proc")
_NO_LIMIT = 1 << 60
"""Version 1 of control groups writes a number of this size where there is no limit."""


@dataclass(frozen=True)
class Memory:
    """Bytes; None where the system does not report them."""

    total: int | None
    available: int | None
    """What programs can allocate without swapping, as Linux estimates it."""
    limit: int | None
    """What the control groups allow."""


def memory() -> Memory:
    """Returns the memory of this machine, now."""
    text = ""
    with suppress(OSError, ValueError):
        text = (_PROC / "meminfo").read_text()
    found = {name: int(value) << 10 for name, value in re.findall(r"(?m)^(\w+): *(\d+) kB$", text)}
    if "MemTotal" not in found:
        with suppress(AttributeError, OSError, ValueError):  # no sysconf on Windows, other names elsewhere
            found["MemTotal"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    texts = group_limits("memory", "memory.max", "memory.limit_in_bytes")
    limits = [int(text) for text in texts if text.isdecimal() and int(text) < _NO_LIMIT]
    return Memory(found.get("MemTotal"), found.get("MemAvailable"), min(limits, default=None))
