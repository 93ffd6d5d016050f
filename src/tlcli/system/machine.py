"""Memory and file systems, as the system reports them.

Every function returns None for what the system does not report; none raises because of it.
"""

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
    """Bytes."""

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


def file_system(path: Path) -> str | None:
    """Returns the type of the file system that holds ``path``, such as ext4, overlay, tmpfs, nfs4."""
    try:
        resolved = path.resolve()
        lines = (_PROC / "self" / "mountinfo").read_text(errors="surrogateescape").splitlines()
    except (OSError, RuntimeError):
        return None
    found, longest = None, 0
    for line in lines:  # 36 35 98:0 /mnt1 /mnt/parent noatime master:1 - ext3 /dev/root rw,errors=continue
        before, _, after = line.partition(" - ")
        with suppress(IndexError):
            mount_point = re.sub(r"\\([0-7]{3})", lambda escaped: chr(int(escaped[1], 8)), before.split()[4])
            if resolved.is_relative_to(mount_point) and len(mount_point) >= longest:  # a later mount covers an earlier
                found, longest = after.split()[0], len(mount_point)
    return found
